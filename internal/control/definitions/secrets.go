package definitions

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Secrets returns the secrets of a namespace, or of all when it is empty, ordered by
// name. They are sealed.
func (lib *Set) Secrets(ctx context.Context, namespace string) ([]job.Secret, error) {
	prefix := lib.db.Keys.JobSecrets()
	if namespace != "" {
		prefix += namespace + "/"
	}
	out, err := store.ListAs(ctx, lib.db, "list secrets", prefix, func(s *etcdkv.StoredSecret) job.Secret { return s.Secret })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b job.Secret) int { return a.Key().Compare(b.Key()) })
	return out, nil
}

// Secret returns a secret, sealed, with the jobs and queues that name it.
func (lib *Set) Secret(ctx context.Context, key job.Key) (api.SecretDetail, error) {
	doing := "read secret " + key.String()
	kv, err := lib.db.Get(ctx, doing, lib.db.Keys.JobSecret(key))
	if err != nil {
		return api.SecretDetail{}, err
	}
	if kv == nil {
		return api.SecretDetail{}, fmt.Errorf("secret %s: %w", key, job.ErrNotFound)
	}
	stored, err := store.Decode[etcdkv.StoredSecret](kv)
	if err != nil {
		return api.SecretDetail{}, err
	}
	v := api.SecretDetail{Secret: stored.Secret}
	v.Jobs, v.Queues, err = lib.secretUsers(ctx, doing, key)
	return v, err
}

// secretUsers returns the jobs and queues that name a secret, but for jobs that were made
// for one run.
func (lib *Set) secretUsers(ctx context.Context, doing string, key job.Key) (jobs, queues []job.Key, err error) {
	jobs, queues = []job.Key{}, []job.Key{}
	uses := func(namespace string, env map[string]job.EnvValue) bool {
		return namespace == key.Namespace && slices.Contains(job.SecretNames(env), key.Name)
	}
	err = lib.db.List(ctx, doing, lib.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err == nil && stored.ExpiresAt.IsZero() && uses(stored.Namespace, stored.Spec.Env) {
			jobs = append(jobs, stored.Key())
		}
		return nil // one that cannot be read keeps nothing
	})
	if err != nil {
		return nil, nil, err
	}
	err = lib.db.List(ctx, doing, lib.db.Keys.QueueTypes(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredQueue](kv)
		if err == nil && uses(stored.Namespace, stored.Spec.Env) {
			queues = append(queues, stored.Key())
		}
		return nil
	})
	slices.SortFunc(jobs, job.Key.Compare)
	slices.SortFunc(queues, job.Key.Compare)
	return jobs, queues, err
}

// DeleteSecret removes a secret. One that a job or a queue names is kept: the error wraps
// job.ErrConflict then.
func (lib *Set) DeleteSecret(ctx context.Context, key job.Key) error {
	doing := "delete secret " + key.String()
	kv, err := lib.db.Get(ctx, doing, lib.db.Keys.JobSecret(key))
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("secret %s: %w", key, job.ErrNotFound)
	}
	jobs, queues, err := lib.secretUsers(ctx, doing, key)
	if err != nil {
		return err
	}
	if len(jobs)+len(queues) > 0 {
		return &UsedError{Thing: "secret " + key.String(), By: jobs, Queues: queues}
	}
	var d store.Txn
	d.SameAs(lib.db.Keys.JobSecret(key), kv.ModRevision)
	d.Remove(lib.db.Keys.JobSecret(key))
	if err := lib.audit.AddDelete(ctx, &d, "secret", key.String(), kv); err != nil {
		return err
	}
	ok, err := lib.db.Commit(ctx, doing, &d)
	if err == nil && !ok {
		err = fmt.Errorf("secret %s was changed meanwhile; try again: %w", key, job.ErrConflict)
	}
	if err == nil {
		lib.log.Info("secret deleted", zap.Stringer("secret", key))
	}
	return err
}
