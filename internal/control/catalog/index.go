package catalog

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/job"
)

// entry is a job in short: what lists are asked by. It is shared, and never changed.
type entry struct {
	query.Job

	at    string // its key in etcd
	uid   job.UID
	shard job.ShardID
	// from is the shard that it was moved out of last; nil: none.
	from *job.ShardID
	// passing: it was made for one run.
	passing bool
}

func entryOf(keys etcdkv.Keys, at string, value []byte) (*entry, error) {
	shard, _, err := keys.ParseJob(at)
	if err != nil {
		return nil, err
	}
	stored, err := etcdkv.Decode[etcdkv.StoredJob](at, value)
	if err != nil {
		return nil, err
	}
	return &entry{
		Job: query.Job{
			Key: stored.Key(), Labels: stored.Labels, Group: stored.Spec.Group, Enabled: stored.Spec.IsEnabled(),
			Target: query.TargetOf(&stored.Spec.Target), By: query.ByOf(&stored.Spec),
		},
		at: at, uid: stored.UID, shard: shard, from: stored.MovedFrom, passing: !stored.ExpiresAt.IsZero(),
	}, nil
}

// index keeps all jobs in short, in memory, while lists of them are asked for: a list of a
// hundred out of a hundred thousand costs no reading of them all. It is kept current by a
// watch, and dropped when nobody has asked for idleAfter.
//
//	I1  What is told has all that was acknowledged before it was asked for: the watch is
//	    asked how far it is, and the store how far that must be.
//	I2  Where the watch does not come so far in time, the store is read instead.
type index struct {
	db  *store.Store
	log *zap.Logger
	// wake has a token when somebody asks and nothing is kept.
	wake chan struct{}

	mu sync.Mutex
	// mu guards all below.
	used time.Time
	// rev is up to where all is known; 0: nothing is.
	rev   int64
	moved chan struct{} // closed at each step of rev
	jobs  map[string]*entry
	// sorted are the jobs by name; nil: it is to be made. It is never changed.
	sorted []*entry
	// runs: keep runs.
	runs bool
}

const (
	// idleAfter is for how long the index is kept that nobody uses.
	idleAfter = 10 * time.Minute
	// catchUp bounds the wait for the watch, and askEvery is how often it is asked.
	catchUp  = 5 * time.Second
	askEvery = 50 * time.Millisecond
)

func newIndex(db *store.Store, log *zap.Logger) *index {
	return &index{db: db, log: log, wake: make(chan struct{}, 1), moved: make(chan struct{})}
}

// watchAs is the context of the watch: it has a stream of its own, so that what is asked
// of it is answered by it.
func watchAs(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "carillon-view", "job-list")
}

// run keeps the index whenever somebody asks, until ctx ends.
func (ix *index) run(ctx context.Context) error {
	ix.setRuns(true)
	defer ix.setRuns(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ix.wake:
		}
		if ix.idle() {
			continue // it was asked for before it was dropped
		}
		if err := ix.keep(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// idle reports whether nobody has asked for long.
func (ix *index) idle() bool {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return time.Since(ix.used) > idleAfter
}

func (ix *index) setRuns(on bool) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.runs = on
}

// errIdle is what a watch ends with that nobody needs.
var errIdle = errors.New("nobody asks for lists of jobs")

// keep follows the jobs until nobody asks.
func (ix *index) keep(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer func() { <-done }()
	defer cancel(nil)
	go func() {
		defer close(done)
		beat := time.NewTicker(idleAfter / 10)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
			}
			if ix.idle() {
				cancel(errIdle)
			}
		}
	}()
	err := etcdkv.Follow(watchAs(ctx), ix.db.Client, ix.db.Keys.Jobs(), ix.take)
	ix.mu.Lock()
	ix.rev, ix.jobs, ix.sorted = 0, nil, nil
	ix.mu.Unlock()
	if errors.Is(err, errIdle) {
		return nil
	}
	return err
}

// take takes what has changed.
func (ix *index) take(b etcdkv.Batch) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if b.Relist {
		ix.jobs = make(map[string]*entry, len(b.Events))
	}
	if b.Relist || len(b.Events) > 0 {
		ix.sorted = nil
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Value == nil {
			delete(ix.jobs, e.Key)
			continue
		}
		one, err := entryOf(ix.db.Keys, e.Key, e.Value)
		if err != nil {
			// One damaged value must not hide all others.
			ix.log.Warn("job unreadable", zap.Error(err))
			delete(ix.jobs, e.Key)
			continue
		}
		ix.jobs[e.Key] = one
	}
	ix.rev = b.Rev
	close(ix.moved)
	ix.moved = make(chan struct{})
	return nil
}

// all returns all jobs by name.
func (ix *index) all(ctx context.Context) ([]*entry, error) {
	if ix.ask() {
		rev, err := ix.now(ctx)
		if err != nil {
			return nil, err
		}
		if found := ix.at(ctx, rev); found != nil {
			return found, nil
		}
		ix.log.Warn("the watch of jobs is behind; they are read from the store")
	}
	found := []*entry{}
	err := ix.db.List(ctx, "list jobs", ix.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		one, err := entryOf(ix.db.Keys, string(kv.Key), kv.Value)
		if err != nil {
			ix.log.Warn("job unreadable", zap.Error(err))
			return nil
		}
		found = append(found, one)
		return nil
	})
	slices.SortFunc(found, byName)
	return found, err
}

func byName(a, b *entry) int { return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.at, b.at)) }

// ask has the index kept; false: nobody can.
func (ix *index) ask() bool {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.used = time.Now()
	select {
	case ix.wake <- struct{}{}:
	default:
	}
	return ix.runs
}

// now returns the store's revision.
func (ix *index) now(ctx context.Context) (int64, error) {
	gctx, cancel := ix.db.Bounded(ctx)
	defer cancel()
	resp, err := ix.db.Client.Get(gctx, ix.db.Keys.Jobs(), clientv3.WithCountOnly())
	if err != nil {
		return 0, store.Error(ctx, "list jobs", err)
	}
	return resp.Header.Revision, nil
}

// at returns all jobs as of a revision or a later one; nil: the watch does not come so far.
func (ix *index) at(ctx context.Context, rev int64) []*entry {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	asked := clientv3.WithRequireLeader(watchAs(ctx))
	for {
		ix.mu.Lock()
		known, moved := ix.rev, ix.moved
		if known >= rev {
			if ix.sorted == nil {
				ix.sorted = make([]*entry, 0, len(ix.jobs))
				for _, e := range ix.jobs {
					ix.sorted = append(ix.sorted, e)
				}
				slices.SortFunc(ix.sorted, byName)
			}
			defer ix.mu.Unlock()
			return ix.sorted
		}
		ix.mu.Unlock()
		if known > 0 {
			_ = ix.db.Client.RequestProgress(asked) // it is asked again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-moved:
		case <-time.After(askEvery):
		}
	}
}
