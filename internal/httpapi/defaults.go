package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/job"
)

type defaultsInput struct {
	Namespace string `query:"namespace" doc:"Only the defaults of this namespace."`
}

type defaultsBody struct {
	Defaults []job.Defaults `json:"defaults" nullable:"false"`
}

type defaultsPath struct {
	Namespace string `path:"ns" doc:"The namespace whose defaults they are."`
	Name      string `path:"name" doc:"The name of defaults: defaults."`
}

func (a *API) defaultsRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/defaults", "list-defaults", "List the defaults of namespaces"),
		func(ctx context.Context, in *defaultsInput) (*reply[defaultsBody], error) {
			all, err := a.control.Defaults(ctx, in.Namespace)
			return answer(defaultsBody{some(all)}, err)
		})
	remove := operation(http.MethodDelete, "/v1/namespaces/{ns}/defaults/{name}", "delete-defaults", "Delete the defaults of a namespace; jobs keep what they have of them", http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *defaultsPath) (*struct{}, error) {
		return done(a.control.DeleteDefaults(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}))
	})
}
