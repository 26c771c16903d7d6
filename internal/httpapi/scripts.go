package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type scriptsInput struct {
	Namespace string `query:"namespace" doc:"Only scripts of this namespace."`
}

type scriptsBody struct {
	Scripts []job.SavedScript `json:"scripts" nullable:"false"`
}

type scriptPath struct {
	Namespace string `path:"ns" doc:"The script's namespace."`
	Name      string `path:"name" doc:"The script's name."`
}

type scriptInput struct {
	Namespace string `path:"ns" doc:"The script's namespace."`
	Name      string `path:"name" doc:"The script's name."`
	Version   int    `query:"version" minimum:"0" doc:"Which version; 0 is the newest."`
}

func (a *API) scriptRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/scripts", "list-scripts", "List the newest versions of the library's scripts"),
		func(ctx context.Context, in *scriptsInput) (*reply[scriptsBody], error) {
			all, err := a.control.Scripts(ctx, in.Namespace)
			return answer(scriptsBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/namespaces/{ns}/scripts/{name}", "get-script", "Show a script with its versions and the jobs that name it", http.StatusNotFound),
		func(ctx context.Context, in *scriptInput) (*reply[api.ScriptDetail], error) {
			v, err := a.control.Script(ctx, job.ScriptRef{Key: job.Key{Namespace: in.Namespace, Name: in.Name}, Version: in.Version})
			return answer(v, err)
		})
	remove := operation(http.MethodDelete, "/v1/namespaces/{ns}/scripts/{name}", "delete-script", "Delete a script that no job names, with all its versions",
		http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *scriptPath) (*struct{}, error) {
		return done(a.control.DeleteScript(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}))
	})
}
