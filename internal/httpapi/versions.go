package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type versionsBody struct {
	Versions []job.Former `json:"versions" nullable:"false"`
}

type rollBackInput struct {
	Namespace  string `path:"ns" doc:"The job's namespace."`
	Name       string `path:"name" doc:"The job's name."`
	Generation int64  `path:"generation" minimum:"1" doc:"The generation that it is to be as."`
	Body       *orderBody
}

func (a *API) versionRoutes(doc huma.API) {
	const all = "/v1/namespaces/{ns}/jobs/{name}/versions"
	huma.Register(doc, operation(http.MethodGet, all, "list-versions", "What a job was before its last edits", http.StatusNotFound),
		func(ctx context.Context, in *jobPath) (*reply[versionsBody], error) {
			found, err := a.control.Versions(ctx, in.key())
			return answer(versionsBody{some(found)}, err)
		})
	back := operation(http.MethodPost, all+"/{generation}/restore", "roll-back-job", "Make a job again what it was", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
	back.Description = "The former version is applied, as a new one. Its labels and annotations come back with it."
	huma.Register(doc, back, func(ctx context.Context, in *rollBackInput) (*reply[api.ApplyResult], error) {
		return answer(a.control.RollBack(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.Generation, in.Body.order()))
	})
}
