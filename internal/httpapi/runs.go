package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type runsInput struct {
	Namespace string    `query:"namespace" doc:"Only runs of this namespace."`
	Job       string    `query:"job" doc:"Only runs of this job; without a namespace, of the default one."`
	State     job.State `query:"state" doc:"Only runs in this state."`
	Words     string    `query:"q" doc:"Words that must hold of the run, such as: state:bad since:24h minion:db*" example:"state:bad since:24h"`
	Limit     int       `query:"limit" doc:"How many at most; 50 when not given."`
	Cursor    string    `query:"cursor" doc:"The nextCursor of the page before."`
	Count     bool      `query:"count" doc:"Tell how many there are in all, and how many the state leaves out."`
}

type runPath struct {
	RunID job.RunID `path:"runId" doc:"The run's id."`
}

func (a *API) runRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/runs", "list-runs", "Runs in flight and ended, newest first", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *runsInput) (*reply[api.RunPage], error) {
			page, err := a.control.Runs(ctx, api.RunQuery{
				Namespace: in.Namespace, Job: in.Job, State: in.State, Words: in.Words, Limit: in.Limit, Cursor: in.Cursor, Count: in.Count,
			})
			page.Runs = listed(page.Runs)
			return answer(page, err)
		})

	huma.Register(doc, operation(http.MethodGet, "/v1/runs/{runId}", "get-run", "One run", http.StatusNotFound),
		func(ctx context.Context, in *runPath) (*reply[job.Run], error) {
			run, err := a.control.Run(ctx, in.RunID)
			run.Tasks = some(run.Tasks)
			return answer(run, err)
		})
}

// listed makes sure that empty lists, of runs and of their tasks, are written
// as such.
func listed(runs []job.Run) []job.Run {
	runs = slices.Clone(some(runs))
	for i := range runs {
		runs[i].Tasks = some(runs[i].Tasks)
	}
	return runs
}
