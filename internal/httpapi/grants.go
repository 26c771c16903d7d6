package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type rolePath struct {
	Name string `path:"name" doc:"The role's name."`
}

type bindingPath struct {
	Name string `path:"name" doc:"The binding's name."`
}

type rolesBody struct {
	Roles []api.Role `json:"roles" nullable:"false"`
}

type bindingsBody struct {
	Bindings []job.RoleBinding `json:"roleBindings" nullable:"false"`
}

func (a *API) grantRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/roles", "list-roles", "Roles, those that every cluster has first"),
		func(ctx context.Context, _ *struct{}) (*reply[rolesBody], error) {
			all, err := a.control.Roles(ctx)
			return answer(rolesBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/role-bindings", "list-role-bindings", "Who has which role"),
		func(ctx context.Context, _ *struct{}) (*reply[bindingsBody], error) {
			all, err := a.control.RoleBindings(ctx)
			return answer(bindingsBody{some(all)}, err)
		})
	remove := func(path, id, summary string) huma.Operation {
		op := operation(http.MethodDelete, path, id, summary, http.StatusNotFound, http.StatusConflict)
		op.DefaultStatus = http.StatusNoContent
		return op
	}
	huma.Register(doc, remove("/v1/roles/{name}", "delete-role", "Delete a role that no binding names"),
		func(ctx context.Context, in *rolePath) (*struct{}, error) {
			return done(a.control.DeleteRole(ctx, in.Name))
		})
	huma.Register(doc, remove("/v1/role-bindings/{name}", "delete-role-binding", "Take a role away from those whom a binding gives it"),
		func(ctx context.Context, in *bindingPath) (*struct{}, error) {
			return done(a.control.DeleteRoleBinding(ctx, in.Name))
		})
}
