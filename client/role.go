package client

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Roles are what may be done, by name.
type Roles struct{ c *conn }

// List returns all of them: those that every cluster has first.
func (r Roles) List(ctx context.Context) ([]api.Role, error) {
	var out struct {
		Roles []api.Role `json:"roles"`
	}
	err := r.c.get(ctx, &out, nil, "roles")
	return out.Roles, err
}

// Delete deletes one that no binding names.
func (r Roles) Delete(ctx context.Context, name string) error {
	return r.c.remove(ctx, "roles", name)
}

// RoleBindings say who has which role.
type RoleBindings struct{ c *conn }

// List returns all of them.
func (r RoleBindings) List(ctx context.Context) ([]job.RoleBinding, error) {
	var out struct {
		Bindings []job.RoleBinding `json:"roleBindings"`
	}
	err := r.c.get(ctx, &out, nil, "role-bindings")
	return out.Bindings, err
}

// Delete deletes one.
func (r RoleBindings) Delete(ctx context.Context, name string) error {
	return r.c.remove(ctx, "role-bindings", name)
}
