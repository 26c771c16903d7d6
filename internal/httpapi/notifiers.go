package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type notifiersInput struct {
	Namespace string `query:"namespace" doc:"Only notifiers of this namespace."`
}

type notifiersBody struct {
	Notifiers []api.Notifier `json:"notifiers" nullable:"false"`
}

type notifierPath struct {
	Namespace string `path:"ns" doc:"The notifier's namespace."`
	Name      string `path:"name" doc:"The notifier's name."`
}

func (p notifierPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type notifierOrderInput struct {
	Namespace string `path:"ns" doc:"The notifier's namespace."`
	Name      string `path:"name" doc:"The notifier's name."`
	Body      *orderBody
}

type alertOrderInput struct {
	Namespace string `path:"ns" doc:"The notifier's namespace."`
	Name      string `path:"name" doc:"The notifier's name."`
	ID        string `path:"id" maxLength:"64" doc:"The alert's id."`
	Body      *orderBody
}

func (a *API) notifierRoutes(doc huma.API) {
	const one = "/v1/namespaces/{ns}/notifiers/{name}"
	huma.Register(doc, operation(http.MethodGet, "/v1/notifiers", "list-notifiers", "List notifiers"),
		func(ctx context.Context, in *notifiersInput) (*reply[notifiersBody], error) {
			all, err := a.control.Notifiers(ctx, in.Namespace)
			return answer(notifiersBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, one, "get-notifier", "Show a notifier, and what became of its alerts", http.StatusNotFound),
		func(ctx context.Context, in *notifierPath) (*reply[api.NotifierDetail], error) {
			v, err := a.control.Notifier(ctx, in.key())
			return answer(v, err)
		})
	remove := operation(http.MethodDelete, one, "delete-notifier", "Delete a notifier, and what it had to tell", http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *notifierPath) (*struct{}, error) {
		return done(a.control.DeleteNotifier(ctx, in.key()))
	})
	try := operation(http.MethodPost, one+"/test", "test-notifier", "Send a sample to a notifier's receiver", http.StatusNotFound, http.StatusConflict)
	try.DefaultStatus = http.StatusNoContent
	huma.Register(doc, try, func(ctx context.Context, in *notifierOrderInput) (*struct{}, error) {
		return done(a.control.TestNotifier(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.Body.order()))
	})
	again := operation(http.MethodPost, one+"/alerts/{id}/send", "send-alert-again", "Send an alert again that was settled", http.StatusNotFound, http.StatusConflict)
	again.DefaultStatus = http.StatusNoContent
	huma.Register(doc, again, func(ctx context.Context, in *alertOrderInput) (*struct{}, error) {
		return done(a.control.SendAgain(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.ID, in.Body.order()))
	})
}
