package jobstore

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
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
		d.Remove(f.db.Keys.Edge(from, key))
	}
}

// LeaveRecord adds the record by which the shard's owners know what the open
// fires of a deleted job are of.
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

// Place is where a job lies: in the shard of its group, or in its hash shard.
type Place struct {
	Shard job.ShardID
	// KV is the job as it was read; nil: there is no such job.
	KV *mvccpb.KeyValue
}

// placeTries bounds how often a job is looked for that keeps moving.
const placeTries = 20

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
	places := make([]Place, len(keys))
	open := make([]int, len(keys))
	for i := range open {
		open[i] = i
	}
	for range placeTries {
		grouped, err := f.hashed(ctx, doing, keys, open, places)
		if err != nil {
			return nil, err
		}
		if open, err = f.grouped(ctx, doing, keys, grouped, places); err != nil {
			return nil, err
		}
		if len(open) == 0 {
			return places, nil
		}
	}
	return nil, fmt.Errorf("%s: job %s keeps moving: %w", doing, keys[open[0]], job.ErrConflict)
}

// hashed fills in the places of those of the jobs that are in no group, and
// returns the key that tells the place of each other one.
func (f *Finder) hashed(ctx context.Context, doing string, keys []job.Key, open []int, places []Place) (map[int]*mvccpb.KeyValue, error) {
	grouped := map[int]*mvccpb.KeyValue{}
	for part := range slices.Chunk(open, store.MaxOps/2) {
		ops := make([]clientv3.Op, 0, 2*len(part))
		for _, i := range part {
			ops = append(ops, clientv3.OpGet(f.db.Keys.Job(f.HashShard(keys[i]), keys[i])), clientv3.OpGet(f.db.Keys.GroupedJob(keys[i])))
		}
		resp, err := f.db.Do(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if kv := store.First(resp, 2*n+1); kv != nil {
				grouped[i] = kv
				continue
			}
			places[i] = Place{Shard: f.HashShard(keys[i]), KV: store.First(resp, 2*n)}
		}
	}
	return grouped, nil
}

// grouped fills in the places of jobs in groups. It returns those that have
// moved since they were looked up.
func (f *Finder) grouped(ctx context.Context, doing string, keys []job.Key, grouped map[int]*mvccpb.KeyValue, places []Place) ([]int, error) {
	var moved, all []int
	for i := range grouped {
		all = append(all, i)
	}
	for part := range slices.Chunk(all, store.MaxOps/2) {
		ops := make([]clientv3.Op, 0, 2*len(part))
		shards := make([]job.ShardID, len(part))
		for n, i := range part {
			g, err := store.Decode[etcdkv.Grouped](grouped[i])
			if err != nil {
				return nil, fmt.Errorf("%s: place of job %s: %w", doing, keys[i], err)
			}
			shards[n] = g.Shard
			ops = append(ops, clientv3.OpGet(f.db.Keys.Job(g.Shard, keys[i])), clientv3.OpGet(f.db.Keys.GroupedJob(keys[i])))
		}
		resp, err := f.db.Do(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if now := store.First(resp, 2*n+1); now == nil || now.ModRevision != grouped[i].ModRevision {
				moved = append(moved, i)
				continue
			}
			places[i] = Place{Shard: shards[n], KV: store.First(resp, 2*n)}
		}
	}
	return moved, nil
}
