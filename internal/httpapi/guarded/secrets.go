package guarded

import (
	"context"
	"fmt"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

func (c *Control) needSecret(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Secrets, key.Namespace, c.labelsOf(rights.Secrets, key), hidden("secret", key))
}

// Secrets lists the secrets that the caller may read, sealed.
func (c *Control) Secrets(ctx context.Context, namespace string) ([]job.Secret, error) {
	all, err := c.behind.Secrets(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Secrets, all, func(v *job.Secret) (string, map[string]string) { return v.Namespace, v.Labels })
}

// Secret shows a secret, sealed, with those of the jobs and queues that name it which the
// caller may read.
func (c *Control) Secret(ctx context.Context, key job.Key) (api.SecretDetail, error) {
	if err := c.needSecret(ctx, rights.Read, key); err != nil {
		return api.SecretDetail{}, err
	}
	v, err := c.behind.Secret(ctx, key)
	if err != nil {
		return v, err
	}
	l := c.labelsOfJobs(ctx)
	if v.Jobs, err = shown(ctx, c, rights.Jobs, v.Jobs, func(k *job.Key) (string, map[string]string) { return k.Namespace, l(*k) }); err != nil {
		return v, err
	}
	v.Queues, err = c.shownKeys(ctx, rights.Queues, v.Queues)
	return v, err
}

// shownKeys are those of some objects of a kind that the caller may read.
func (c *Control) shownKeys(ctx context.Context, kind rights.Kind, keys []job.Key) ([]job.Key, error) {
	return shown(ctx, c, kind, keys, func(k *job.Key) (string, map[string]string) {
		l, err := c.labelsOf(kind, *k)(ctx)
		if err != nil {
			return k.Namespace, nil
		}
		return k.Namespace, l
	})
}

// DeleteSecret deletes a secret.
func (c *Control) DeleteSecret(ctx context.Context, key job.Key) error {
	if err := c.needSecret(ctx, rights.Delete, key); err != nil {
		return err
	}
	return c.used(ctx, c.behind.DeleteSecret(ctx, key))
}

// needSecrets wants the right to use each secret that an object names: who writes what has
// the value in its environment can have it written out. It does not count that the object
// named the secret before, or that the secret is in the same file: but for an object that
// stays as it is.
func (c *Control) needSecrets(ctx context.Context, s policy.Sight, o *manifest.Object) error {
	env := o.Spec.Env
	if o.Kind == job.KindQueue {
		env = o.Queue.Env
	}
	for _, name := range job.SecretNames(env) {
		key := job.Key{Namespace: o.Metadata.Namespace, Name: name}
		r := rights.Request{Verb: rights.Use, Kind: rights.Secrets, Namespace: key.Namespace}
		if s.May(r) {
			continue
		}
		same, err := c.staysAsItIs(ctx, o)
		if same || err != nil {
			return err
		}
		// The answer is the same whether there is such a secret or not.
		if s.Sees(rights.Use, rights.Secrets, key.Namespace) {
			if r.Labels, err = c.labelsOf(rights.Secrets, key)(ctx); gone(err) != nil {
				return err
			}
		}
		if err := s.Need(r, nil); err != nil {
			return fmt.Errorf("%s %s names the secret %s: %w", strings.ToLower(o.Kind), o.Metadata.Key(), key, err)
		}
	}
	return nil
}

// staysAsItIs reports whether a job or a queue is stored as a manifest has it.
func (c *Control) staysAsItIs(ctx context.Context, o *manifest.Object) (bool, error) {
	if o.Metadata.Name == "" {
		return false, nil // it is made for one run
	}
	if o.Kind == job.KindQueue {
		q, err := c.behind.Queue(ctx, o.Metadata.Key())
		if err != nil {
			return false, gone(err)
		}
		return store.SameJSON(q.Spec, o.Queue)
	}
	stored, _, err := c.behind.Stored(ctx, o.Metadata.Key())
	if err != nil {
		return false, gone(err)
	}
	return store.SameJSON(stored.Spec, o.Spec)
}
