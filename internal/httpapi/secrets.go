package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type secretsInput struct {
	Namespace string `query:"namespace" doc:"Only secrets of this namespace."`
}

type secretsBody struct {
	Secrets []job.Secret `json:"secrets" nullable:"false"`
}

type secretPath struct {
	Namespace string `path:"ns" doc:"The secret's namespace."`
	Name      string `path:"name" doc:"The secret's name."`
}

func (p secretPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

func (a *API) secretRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/secrets", "list-secrets", "List the secrets of the cluster, sealed"),
		func(ctx context.Context, in *secretsInput) (*reply[secretsBody], error) {
			all, err := a.control.Secrets(ctx, in.Namespace)
			return answer(secretsBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/namespaces/{ns}/secrets/{name}", "get-secret", "Show a secret, sealed, with what uses it", http.StatusNotFound),
		func(ctx context.Context, in *secretPath) (*reply[api.SecretDetail], error) {
			v, err := a.control.Secret(ctx, in.key())
			return answer(v, err)
		})
	remove := operation(http.MethodDelete, "/v1/namespaces/{ns}/secrets/{name}", "delete-secret", "Delete a secret that no job and no queue names",
		http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *secretPath) (*struct{}, error) {
		return done(a.control.DeleteSecret(ctx, in.key()))
	})
}
