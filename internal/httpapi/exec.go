package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type execInput struct {
	File         string   `query:"file" doc:"The manifest's name in messages."`
	By           string   `query:"by" maxLength:"256" doc:"Who asks; kept with the run."`
	Param        []string `query:"param,explode" doc:"NAME=VALUE that reaches the command as CARILLON_PARAM_NAME; may be given several times."`
	AllowMissing bool     `query:"allowMissing" doc:"Names that the target spells out need not be known; else such a request is refused with the names."`
	RawBody      []byte   `contentType:"application/yaml"`
}

// runOrderInput spells the path out: huma does not fill embedded fields that are
// not exported.
type runOrderInput struct {
	RunID job.RunID `path:"runId" doc:"The run's id."`
	Body  *orderBody
}

type redoInput struct {
	RunID job.RunID `path:"runId" doc:"The run's id."`
	Body  *redoBody
}

type redoBody struct {
	Only   []api.RedoPart `json:"only,omitempty" doc:"On which of the run's minions: failed, not-started, indeterminate, succeeded. Not given: on all."`
	By     string         `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string         `json:"reason,omitempty" maxLength:"1024" doc:"Why; shown to others and kept in the audit record."`
}

func (a *API) execRoutes(doc huma.API, mux *routes) {
	exec := operation(http.MethodPost, "/v1/exec", "exec", "Run a command once on the minions that a target matches; the body is the manifest of a job, whose name is not used",
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	exec.MaxBodyBytes, exec.DefaultStatus = a.cfg.MaxApplyBytes, http.StatusAccepted
	huma.Register(doc, exec, func(ctx context.Context, in *execInput) (*reply[api.Exec], error) {
		params, err := parsePairs("param", in.Param)
		if err != nil {
			return nil, problemOf(err)
		}
		v, err := a.control.Exec(ctx, in.File, in.RawBody, api.StartRequest{By: in.By, Params: params, AllowMissing: in.AllowMissing})
		return answer(v, err)
	})

	order := func(path, id, summary string, status int) huma.Operation {
		op := operation(http.MethodPost, "/v1/runs/{runId}/"+path, id, summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		op.DefaultStatus = status
		return op
	}
	huma.Register(doc, order("cancel", "cancel-run", "Cancel a run: end it, with the process trees of its commands", http.StatusAccepted),
		func(ctx context.Context, in *runOrderInput) (*struct{}, error) {
			return done(a.control.Cancel(ctx, in.RunID, in.Body.order()))
		})
	huma.Register(doc, order("promote", "promote-run", "Continue the rollout of a run after its canaries", http.StatusAccepted),
		func(ctx context.Context, in *runOrderInput) (*struct{}, error) {
			return done(a.control.Promote(ctx, in.RunID, in.Body.order()))
		})
	huma.Register(doc, order("redo", "redo-run", "Do a run again that has ended, on all of its minions or on some", http.StatusAccepted),
		func(ctx context.Context, in *redoInput) (*reply[api.Redo], error) {
			var only []api.RedoPart
			var o api.Order
			if in.Body != nil {
				only, o = in.Body.Only, api.Order{By: in.Body.By, Reason: in.Body.Reason}
			}
			v, err := a.control.Redo(ctx, in.RunID, only, o)
			return answer(v, err)
		})

	const results = "/v1/runs/{runId}/results"
	mux.HandleFunc("GET "+results, a.results)
	text := &huma.Schema{Type: huma.TypeString}
	describe(doc, results, &huma.Operation{
		OperationID: "follow-results", Summary: "What becomes of a run until it has ended, as newline-delimited JSON",
		Parameters: []*huma.Param{{Name: "runId", In: "path", Required: true, Schema: text}},
		Responses: map[string]*huma.Response{
			"200": {Description: "One JSON object per line: task, once for each that has ended; progress; at the end run, without its tasks; error in the last one of a stream that is not complete.",
				Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: text}}},
			"default": {Description: "Error", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}}},
		},
	})
}

// results streams what becomes of a run.
func (a *API) results(w http.ResponseWriter, r *http.Request) {
	s := a.stream(w, "application/x-ndjson")
	encoder := json.NewEncoder(s)
	err := a.control.Results(r.Context(), job.RunID(r.PathValue("runId")), func(res api.Result) error { return encoder.Encode(res) })
	s.end(r, encoder, err)
}
