package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type fireInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	At        string `path:"at" doc:"The instant, as in 2027-01-31T09:00:00Z."`
}

type upcomingInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	After     string `query:"after" doc:"Only instants after this one, as in 2027-01-31T09:00:00Z; now when not given."`
	Count     int    `query:"count" default:"5" minimum:"1" maximum:"10000" doc:"How many at most."`
}

type backfillInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	Body      backfillBody
}

type backfillBody struct {
	From    time.Time         `json:"from" doc:"Instants after this one are run."`
	To      time.Time         `json:"to" doc:"Instants up to and with this one are run."`
	Overlap bool              `json:"overlap,omitempty" doc:"Runs may go on beside one another; else one at a time."`
	Every   string            `json:"every,omitempty" doc:"The least time between two starts, as in 30s."`
	Params  map[string]string `json:"params,omitempty" doc:"Reach the command as variables CARILLON_PARAM_NAME."`
	By      string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason  string            `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type backfillsBody struct {
	Backfills []api.Backfill `json:"backfills" nullable:"false"`
}

type endBackfillInput struct {
	ID   string `path:"id" doc:"The backfill's id."`
	Body *orderBody
}

func (a *API) fireRoutes(doc huma.API) {
	const one = "/v1/namespaces/{ns}/jobs/{name}"
	huma.Register(doc, operation(http.MethodGet, one+"/fires/{at}", "get-fire", "What became of an instant of a job, and why",
		http.StatusNotFound, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *fireInput) (*reply[api.Fire], error) {
			at, err := time.Parse(time.RFC3339Nano, in.At)
			if err != nil {
				return nil, problemOf(&job.InvalidError{Problems: []job.Problem{{
					Path: "at", Message: fmt.Sprintf("%q is not an instant such as 2027-01-31T09:00:00Z", in.At),
				}}})
			}
			v, err := a.control.Fire(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, at)
			v.Why, v.Runs = some(v.Why), listed(v.Runs)
			return answer(v, err)
		})

	huma.Register(doc, operation(http.MethodGet, one+"/next", "get-next", "The next instants of a job, with those that are skipped, and why",
		http.StatusNotFound, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *upcomingInput) (*reply[api.Upcoming], error) {
			after := time.Now()
			if in.After != "" {
				var err error
				if after, err = time.Parse(time.RFC3339Nano, in.After); err != nil {
					return nil, problemOf(&job.InvalidError{Problems: []job.Problem{{
						Path: "after", Message: fmt.Sprintf("%q is not an instant such as 2027-01-31T09:00:00Z", in.After),
					}}})
				}
			}
			v, err := a.control.Upcoming(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, after, in.Count)
			return answer(v, err)
		})

	backfill := operation(http.MethodPost, one+"/backfill", "backfill-job", "Run the instants of a window of the schedule again",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
	backfill.DefaultStatus = http.StatusAccepted
	huma.Register(doc, backfill, func(ctx context.Context, in *backfillInput) (*reply[api.Backfill], error) {
		b := &in.Body
		req := api.BackfillRequest{
			From: b.From, To: b.To, Overlap: b.Overlap, Params: b.Params, Order: api.Order{By: b.By, Reason: b.Reason},
		}
		if b.Every != "" {
			every, err := time.ParseDuration(b.Every)
			if err != nil {
				return nil, problemOf(&job.InvalidError{Problems: []job.Problem{{
					Path: "every", Message: fmt.Sprintf("%q is not a duration such as 30s or 5m", b.Every),
				}}})
			}
			req.Every = every
		}
		return answer(a.control.Backfill(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, req))
	})
	huma.Register(doc, operation(http.MethodGet, "/v1/backfills", "list-backfills", "Backfills that go on, and records of those that have ended"),
		func(ctx context.Context, _ *struct{}) (*reply[backfillsBody], error) {
			all, err := a.control.Backfills(ctx)
			return answer(backfillsBody{some(all)}, err)
		})
	end := operation(http.MethodPost, "/v1/backfills/{id}/end", "end-backfill", "End a backfill; its run under way goes on",
		http.StatusNotFound, http.StatusConflict)
	end.DefaultStatus = http.StatusNoContent
	huma.Register(doc, end, func(ctx context.Context, in *endBackfillInput) (*struct{}, error) {
		return done(a.control.EndBackfill(ctx, in.ID, in.Body.order()))
	})
}
