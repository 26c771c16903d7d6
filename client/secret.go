package client

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Secrets are the cluster's secrets: values that minions alone can open. They are made
// with Jobs.Apply, of a manifest whose value is sealed already.
type Secrets struct{ c *conn }

// List returns the secrets of a namespace; of all when that is empty.
func (s Secrets) List(ctx context.Context, namespace string) ([]job.Secret, error) {
	var out struct{ Secrets []job.Secret }
	err := s.c.get(ctx, &out, where("namespace", namespace), "secrets")
	return out.Secrets, err
}

// Get returns a secret, and what uses it.
func (s Secrets) Get(ctx context.Context, k job.Key) (api.SecretDetail, error) {
	var out api.SecretDetail
	err := s.c.get(ctx, &out, nil, "namespaces", k.Namespace, "secrets", k.Name)
	return out, err
}

// Delete deletes a secret that no job and no queue names.
func (s Secrets) Delete(ctx context.Context, k job.Key) error {
	return s.c.remove(ctx, "namespaces", k.Namespace, "secrets", k.Name)
}
