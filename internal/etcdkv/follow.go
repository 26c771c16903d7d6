package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"

	"github.com/carillon-cron/carillon/internal/backoff"
)

// Event is a key that exists, was put, or was deleted.
type Event struct {
	Key string
	// Value is nil when the key was deleted, and not nil otherwise.
	Value []byte
	// CreateRevision and Lease are 0 for a deletion. ModRevision is the
	// revision of the put or of the deletion.
	CreateRevision int64
	ModRevision    int64
	Lease          int64
}

// Batch is what happened up to revision Rev. It holds whole revisions: the
// events of one transaction are never spread over two batches.
type Batch struct {
	// Rev is the revision that the consumer's view has after this batch.
	Rev int64
	// Relist: Events are all keys that exist at Rev. A key that the consumer
	// knows and that is not among them is gone.
	Relist bool
	// Events are in the order of their revisions, in a relist of their keys.
	// None: nothing happened under the prefix up to Rev; such a batch may
	// repeat the last Rev, and is a sign of life.
	Events []Event
}

const (
	// pageKeys is how many keys one page of a listing asks for.
	pageKeys = 1000
	// pageTimeout bounds one page; a listing that hangs is tried again.
	pageTimeout = 10 * time.Second

	// anewTimeout bounds it once the view was asked for anew: a member may hang, and
	// another answer.
	anewTimeout = 3 * time.Second

	// retryLeast and retryMost bound the pauses before a further try.
	retryLeast = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// errBroken is what a watch ends with that contradicts itself.
var errBroken = errors.New("watch went back in time")

// errAskedAnew is what a watch ends with when its view is to be read anew.
var errAskedAnew = errors.New("asked to read the view anew")

// errWatchEnded is what a watch ends with that was closed without a reason.
var errWatchEnded = errors.New("watch ended")

// Follow lists prefix at one revision, gives fn all that exists as the first
// batch, then watches from the next revision and gives fn what changes. Across
// batches the revisions of events rise strictly.
//
// A watch that breaks is resumed where it stopped. Where that is impossible,
// because the revision was compacted or the watch contradicted itself, the
// prefix is listed again and given as a batch with Relist set.
//
// Follow blocks, and calls fn from one goroutine at a time. It tries again for
// as long as ctx lives, and returns ctx's cause, fn's error, or an error when
// the client was closed. The prefix must not be empty. A peer that falls silent
// is noticed by the client's own keep-alive, so the client should have one.
func Follow(ctx context.Context, c *clientv3.Client, prefix string, fn func(Batch) error) error {
	return FollowAnew(ctx, c, prefix, nil, fn)
}

// Reread asks a FollowAnew to read its view anew.
type Reread chan struct{}

// NewReread returns one that has not been asked.
func NewReread() Reread { return make(Reread, 1) }

// Ask asks, once at a time. It does not block.
func (r Reread) Ask() {
	select {
	case r <- struct{}{}:
	default:
	}
}

// FollowAnew is Follow, which lists the prefix again when it is asked to, and
// watches then on a connection of its own: the one that it had may hang. The batch
// has Relist set. A nil reread never asks.
func FollowAnew(ctx context.Context, c *clientv3.Client, prefix string, reread Reread, fn func(Batch) error) error {
	if prefix == "" {
		return errors.New("follow: the prefix is empty")
	}
	f := &follower{
		client: c, reread: reread, prefix: prefix, fn: fn, log: c.GetLogger().With(zap.String("prefix", prefix)),
		retry: backoff.Backoff{Least: retryLeast, Most: retryMost},
	}
	for {
		err := f.once(ctx)
		var failed *consumerError
		switch {
		case errors.As(err, &failed):
			return failed.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.Ctx().Err() != nil:
			return fmt.Errorf("follow %s: etcd client closed: %w", prefix, c.Ctx().Err())
		case errors.Is(err, errAskedAnew):
			f.rev, f.anew = 0, f.anew+1
			continue
		case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, errBroken):
			f.rev = 0
		}
		f.log.Warn("follow interrupted, trying again", zap.Error(err), zap.Int64("rev", f.rev))
		if !f.retry.Pause(ctx) {
			return context.Cause(ctx)
		}
	}
}

// consumerError carries an error of fn through the retries.
type consumerError struct{ err error }

func (e *consumerError) Error() string { return e.err.Error() }

type follower struct {
	client *clientv3.Client
	prefix string
	fn     func(Batch) error
	log    *zap.Logger

	// rev is the revision up to which fn knows everything; 0: list first.
	rev int64
	// reread asks that all is read anew; anew counts how often it was.
	reread Reread
	anew   int
	// retry is reset by a success.
	retry backoff.Backoff
}

// once lists if need be, and watches until the watch ends.
func (f *follower) once(ctx context.Context) error {
	if f.rev == 0 {
		b, err := f.list(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if err := f.deliver(b); err != nil {
			return err
		}
	}
	// The context's end releases the watch.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	if f.anew > 0 { // watches with the same metadata share a connection
		ctx = metadata.AppendToOutgoingContext(ctx, "carillon-anew", strconv.Itoa(f.anew))
	}
	responses := f.client.Watch(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithRev(f.rev+1),
		clientv3.WithProgressNotify(), clientv3.WithFragment())
	for {
		var r clientv3.WatchResponse
		var ok bool
		select {
		case <-f.reread:
			return errAskedAnew
		case r, ok = <-responses:
		}
		if !ok {
			return errWatchEnded
		}
		if err := r.Err(); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		b, err := f.batch(&r)
		if err != nil {
			return err
		}
		if err := f.deliver(b); err != nil {
			return err
		}
	}
}

func (f *follower) deliver(b Batch) error {
	if err := f.fn(b); err != nil {
		return &consumerError{err}
	}
	f.rev = b.Rev
	f.retry.Reset()
	return nil
}

// list reads all keys at one revision.
func (f *follower) list(ctx context.Context) (Batch, error) {
	b := Batch{Relist: true}
	from, end := f.prefix, clientv3.GetPrefixRangeEnd(f.prefix)
	for {
		r, err := f.page(ctx, from, end, b.Rev)
		if err != nil {
			return Batch{}, err
		}
		if b.Rev == 0 {
			b.Rev = r.Header.Revision
			b.Events = make([]Event, 0, r.Count)
		}
		for _, kv := range r.Kvs {
			b.Events = append(b.Events, put(kv))
		}
		if !r.More || len(r.Kvs) == 0 {
			return b, nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

func (f *follower) page(ctx context.Context, from, end string, rev int64) (*clientv3.GetResponse, error) {
	limit := pageTimeout
	if f.anew > 0 {
		limit = anewTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := f.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys), clientv3.WithRev(rev))
	if err != nil {
		return nil, fmt.Errorf("from %s at revision %d: %w", from, rev, err)
	}
	return r, nil
}

// batch checks a watch response and turns it into a batch.
func (f *follower) batch(r *clientv3.WatchResponse) (Batch, error) {
	if len(r.Events) == 0 {
		// A header may be older than what other members already sent us.
		return Batch{Rev: max(f.rev, r.Header.GetRevision())}, nil
	}
	// The header tells the store's revision, not how far this watch has come:
	// when it catches up, more events at or below it may follow.
	b := Batch{Rev: r.Events[len(r.Events)-1].Kv.ModRevision, Events: make([]Event, len(r.Events))}
	last := f.rev + 1
	for i, e := range r.Events {
		if e.Kv.ModRevision < last {
			return Batch{}, fmt.Errorf("%w: event of revision %d at %s came after revision %d", errBroken, e.Kv.ModRevision, e.Kv.Key, last-1)
		}
		last = e.Kv.ModRevision
		if e.Type == clientv3.EventTypeDelete {
			b.Events[i] = Event{Key: string(e.Kv.Key), ModRevision: e.Kv.ModRevision}
			continue
		}
		b.Events[i] = put(e.Kv)
	}
	return b, nil
}

func put(kv *mvccpb.KeyValue) Event {
	value := kv.Value
	if value == nil {
		value = []byte{}
	}
	return Event{
		Key: string(kv.Key), Value: value,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: kv.Lease,
	}
}
