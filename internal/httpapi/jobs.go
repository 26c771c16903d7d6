package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// jobPath names a job in a path.
type jobPath struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
}

func (p jobPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type applyInput struct {
	DryRun  bool   `query:"dryRun" doc:"Only tell what would be done."`
	File    string `query:"file" doc:"The manifest's name in messages."`
	RawBody []byte `contentType:"application/yaml"`
}

type applyBody struct {
	Results []api.ApplyResult `json:"results" nullable:"false"`
}

type jobsInput struct {
	Namespace string   `query:"namespace" doc:"Only jobs of this namespace."`
	Label     []string `query:"label,explode" doc:"KEY=VALUE that must be on the job; may be given several times."`
	Words     string   `query:"q" doc:"Words that must hold of the job, such as: last:bad -namespace:test back*" example:"last:bad paused:no"`
	Sort      string   `query:"sort" doc:"By what the jobs are ordered: name, last, running or next; after a minus the other way round. By name when not given." example:"-last"`
	Limit     int      `query:"limit" doc:"How many at most, up to 1000; all when not given."`
	Cursor    string   `query:"cursor" doc:"The nextCursor of the page before."`
	Facets    bool     `query:"facets" doc:"Count the jobs by namespace, group, state, last result and the like."`
}

// paged reports whether something is asked for that only pages have.
func (in *jobsInput) paged() bool {
	return in.Words != "" || in.Sort != "" || in.Limit != 0 || in.Cursor != "" || in.Facets
}

type jobOutput struct {
	ETag string `header:"ETag" doc:"The job's generation, for If-Match, and behind it what tells apart how it is shown."`
	Body api.Job
}

// startInput spells the path out: huma does not fill embedded fields that are
// not exported.
type startInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	Body      *startBody
}

type enableInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	Body      *orderBody
}

type startBody struct {
	By     string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept with the start."`
	Params map[string]string `json:"params,omitempty" doc:"Reach the command as variables CARILLON_PARAM_NAME."`
}

func (a *API) jobRoutes(doc huma.API) {
	apply := operation(http.MethodPost, "/v1/apply", "apply", "Apply a manifest: all of it or nothing",
		http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	apply.Description = "If-Match names the generation that the one job in it has to have: with another one it is refused (412)."
	apply.MaxBodyBytes = a.cfg.MaxApplyBytes
	huma.Register(doc, apply, func(ctx context.Context, in *applyInput) (*reply[applyBody], error) {
		results, err := a.control.Apply(ctx, in.File, in.RawBody, in.DryRun)
		return answer(applyBody{some(results)}, err)
	})

	huma.Register(doc, operation(http.MethodGet, "/v1/jobs", "list-jobs", "List jobs", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *jobsInput) (*reply[api.JobPage], error) {
			labels, err := parsePairs("label", in.Label)
			if err != nil {
				return nil, problemOf(err)
			}
			q := api.JobQuery{Namespace: in.Namespace, Labels: labels, Words: in.Words, Sort: in.Sort, Limit: in.Limit, Cursor: in.Cursor, Facets: in.Facets}
			var page api.JobPage
			if in.paged() {
				page, err = a.control.JobPage(ctx, q)
			} else {
				page.Jobs, err = a.control.Jobs(ctx, q)
				page.Total = len(page.Jobs)
			}
			page.Jobs = slices.Clone(some(page.Jobs))
			for i := range page.Jobs {
				page.Jobs[i] = shown(page.Jobs[i])
			}
			return answer(page, err)
		})

	const one = "/v1/namespaces/{ns}/jobs/{name}"
	huma.Register(doc, operation(http.MethodGet, one, "get-job", "One job", http.StatusNotFound),
		func(ctx context.Context, in *jobPath) (*jobOutput, error) {
			view, err := a.control.Job(ctx, in.key())
			if err != nil {
				return nil, problemOf(err)
			}
			return &jobOutput{ETag: strconv.Quote(strconv.FormatInt(view.Generation, 10)), Body: shown(view)}, nil
		})

	remove := operation(http.MethodDelete, one, "delete-job", "Delete a job; its runs in flight go on", http.StatusNotFound, http.StatusPreconditionFailed)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *jobPath) (*heldOutput, error) {
		return held(a.control.Delete(ctx, in.key()))
	})

	for verb, on := range map[string]bool{"enable": true, "disable": false} {
		summary := "Stop a job from running by its schedule"
		if on {
			summary = "Let a job run by its schedule again"
		}
		huma.Register(doc, operation(http.MethodPost, one+"/"+verb, verb+"-job", summary, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity),
			func(ctx context.Context, in *enableInput) (*reply[api.ApplyResult], error) {
				return answer(a.control.SetEnabled(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, on, in.Body.order()))
			})
	}

	start := operation(http.MethodPost, one+"/run", "start-job", "Start a job now",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
	start.Description = "With Idempotency-Key it starts once: the same start again, within an hour, has the same answer."
	start.DefaultStatus = http.StatusAccepted
	huma.Register(doc, start, func(ctx context.Context, in *startInput) (*reply[api.Started], error) {
		var req api.StartRequest
		if in.Body != nil {
			req = api.StartRequest{By: in.Body.By, Params: in.Body.Params}
		}
		fire, err := a.control.Start(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, req)
		return answer(api.Started{RunID: fire.RunID(), FireID: fire}, err)
	})
}

// shown makes sure that the view's empty lists are written as such.
func shown(v api.Job) api.Job {
	v.Words, v.Last = some(v.Words), listed(v.Last)
	return v
}

// parsePairs reads "k=v" pairs, and tells all that are none.
func parsePairs(name string, pairs []string) (map[string]string, error) {
	var problems []job.Problem
	labels := make(map[string]string, len(pairs))
	for i, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("%s[%d]", name, i), Message: fmt.Sprintf("%q is not a %s; want KEY=VALUE", p, name)})
			continue
		}
		labels[k] = v
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return labels, nil
}

// some makes sure that an empty list is written as one.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
