package jobstore

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Deps is what a Finder stands on. All must be set.
type Deps struct {
	Store     *store.Store
	Schedules *schedule.Cache
	Logger    *zap.Logger
}

// Finder finds jobs. Use New. It may be used by many goroutines at once.
type Finder struct {
	db        *store.Store
	schedules *schedule.Cache
	log       *zap.Logger
}

// New returns a Finder.
func New(deps Deps) *Finder {
	return &Finder{
		db:        deps.Store,
		schedules: deps.Schedules,
		log:       deps.Logger,
	}
}

// Unchain takes back all that a deleted job waited for.
func (f *Finder) Unchain(d *store.Txn, key job.Key, spec *job.Spec) {
	for _, from := range spec.After.Keys(key.Namespace) {
		d.Remove(f.db.Keys.Dependency(from, key))
	}
}

// LeaveRecord adds the record by which the shard's owners know what the open
// fires of a deleted job are of, and takes back what its runs have shared.
// The key must be as it was read: the record says what was due of the job.
func (f *Finder) LeaveRecord(d *store.Txn, at Place, j *etcdkv.StoredJob) error {
	record, err := etcdkv.Encode(etcdkv.DeletedJob{
		Schema: etcdkv.Schema, Job: j.Job, At: f.db.Now().UTC(), Created: at.KV.CreateRevision, Earlier: j.Earlier,
	})
	if err != nil {
		return err
	}
	d.SameAs(string(at.KV.Key), at.KV.ModRevision)
	d.Put(f.db.Keys.DeletedJob(at.Shard, j.UID), record)
	d.Remove(f.db.Keys.SharedJob(j.UID))
	return nil
}

// Stored reads one job, and where it lies.
func (f *Finder) Stored(ctx context.Context, key job.Key) (etcdkv.StoredJob, Place, error) {
	at, err := f.Locate(ctx, key)
	if err != nil {
		return etcdkv.StoredJob{}, at, err
	}
	if at.KV == nil {
		return etcdkv.StoredJob{}, at, NoJob(key)
	}
	stored, err := store.Decode[etcdkv.StoredJob](at.KV)
	if err != nil {
		return etcdkv.StoredJob{}, at, fmt.Errorf("read job %s: %w", key, err)
	}
	return stored, at, nil
}

// NoJob is the error where there is no such job; it wraps job.ErrNotFound.
func NoJob(key job.Key) error { return fmt.Errorf("job %s: %w", key, job.ErrNotFound) }

// SetOf returns the job's schedules.
func (f *Finder) SetOf(j *job.Job) (schedule.Set, error) {
	return f.schedules.ParseSet(j.Spec.Schedules, schedule.OptionsOf(j.Key(), &j.Spec))
}

// Place is where a job lies.
type Place = etcdkv.JobPlace

// HashShard returns the shard of a job that is in no group.
func (f *Finder) HashShard(key job.Key) job.ShardID { return etcdkv.ShardOf(key, f.db.Meta.Shards) }

// Locate finds one job.
func (f *Finder) Locate(ctx context.Context, key job.Key) (Place, error) {
	places, err := f.LocateAll(ctx, "find job "+key.String(), []job.Key{key})
	if err != nil {
		return Place{}, err
	}
	return places[0], nil
}

// LocateAll finds jobs, in the order given. Where a job lies, and the key that
// tells it, are read at one moment.
func (f *Finder) LocateAll(ctx context.Context, doing string, keys []job.Key) ([]Place, error) {
	find := etcdkv.Locator{Keys: f.db.Keys, Shards: f.db.Meta.Shards, Read: func(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
		return f.db.Do(ctx, doing, nil, ops)
	}}
	return find.Locate(ctx, doing, keys)
}
