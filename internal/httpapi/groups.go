package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// groupPath names a group in a path.
type groupPath struct {
	Namespace string `path:"ns" doc:"The group's namespace."`
	Name      string `path:"name" doc:"The group's name."`
}

func (p groupPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type groupsInput struct {
	Namespace string `query:"namespace" doc:"Only groups of this namespace."`
}

type groupsBody struct {
	Groups []api.Group `json:"groups" nullable:"false"`
}

func (a *API) groupRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/groups", "list-groups", "Groups, and who holds them"),
		func(ctx context.Context, in *groupsInput) (*reply[groupsBody], error) {
			groups, err := a.control.Groups(ctx, in.Namespace)
			return answer(groupsBody{some(groups)}, err)
		})

	const one = "/v1/namespaces/{ns}/groups/{name}"
	huma.Register(doc, operation(http.MethodGet, one, "get-group", "One group", http.StatusNotFound),
		func(ctx context.Context, in *groupPath) (*reply[api.Group], error) {
			group, err := a.control.Group(ctx, in.key())
			return answer(group, err)
		})

	remove := operation(http.MethodDelete, one, "delete-group", "Delete a group that has no jobs",
		http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *groupPath) (*struct{}, error) {
		return done(a.control.DeleteGroup(ctx, in.key()))
	})
}

// hostGroupPath names a group of hosts in a path.
type hostGroupPath struct {
	Name string `path:"name" doc:"The name of the group of hosts."`
}

type hostGroupsBody struct {
	HostGroups []job.HostGroup `json:"hostGroups" nullable:"false"`
}

func (a *API) hostGroupRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/host-groups", "list-host-groups", "Saved groups of hosts"),
		func(ctx context.Context, _ *struct{}) (*reply[hostGroupsBody], error) {
			groups, err := a.control.HostGroups(ctx)
			return answer(hostGroupsBody{some(groups)}, err)
		})
	remove := operation(http.MethodDelete, "/v1/host-groups/{name}", "delete-host-group", "Delete a group of hosts that no other names",
		http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *hostGroupPath) (*struct{}, error) {
		return done(a.control.DeleteHostGroup(ctx, in.Name))
	})
}

// done turns what control returned into an answer without a body.
func done(err error) (*struct{}, error) {
	if err != nil {
		return nil, problemOf(err)
	}
	return nil, nil // huma's form of "no body"
}
