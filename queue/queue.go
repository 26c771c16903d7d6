package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// maxTxnBytes bounds the payloads of one transaction, with what bounds them; etcd takes 1.5 MiB.
const maxTxnBytes = 512 << 10

// Config configures a Queue. Zero values mean the defaults.
type Config struct {
	Keys etcdkv.Keys
	// Namespace and Type name the queue. They are needed.
	Namespace string
	Type      string
	// Visibility is how long a worker keeps an item without Extend. It is
	// counted from when the dispatcher sees the claim. Default 30 s.
	Visibility time.Duration
	// Retry says how often an item is tried, 5 times by default, and how long
	// one that failed waits. One whose worker was lost does not wait.
	Retry job.Retry
	// Aging is how long an item has to wait to be as good as one that was put then and
	// has one more priority. 0: priorities never change.
	Aging time.Duration
	// DedupWindow is how long a de-duplication key counts. 0: items have none.
	DedupWindow time.Duration
	// Timeout bounds a request to etcd. Default 5 s.
	Timeout time.Duration
}

// Deps are what a Queue works with. Metrics may be nil.
type Deps struct {
	Client  *clientv3.Client
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// Queue is one typed queue. All methods may be called by many goroutines.
type Queue struct {
	cfg     Config
	client  *clientv3.Client
	keys    etcdkv.QueueKeys
	log     *zap.Logger
	metrics *metrics

	// mu guards what follows.
	mu sync.Mutex
	// here is the dispatcher that runs now, or nil.
	here *dispatcher
}

// New returns a Queue. Without Run it can do all but Claim.
func New(cfg Config, deps Deps) (*Queue, error) {
	if deps.Client == nil || deps.Logger == nil {
		return nil, errors.New("queue: a client and a logger are needed")
	}
	if err := job.CheckName(cfg.Namespace); err != nil {
		return nil, fmt.Errorf("queue namespace: %w", err)
	}
	if err := job.CheckName(cfg.Type); err != nil {
		return nil, fmt.Errorf("queue type: %w", err)
	}
	if cfg.Keys == (etcdkv.Keys{}) {
		cfg.Keys = etcdkv.NewKeys("")
	}
	if cfg.Visibility <= 0 {
		cfg.Visibility = 30 * time.Second
	}
	if cfg.Retry.Attempts <= 0 {
		cfg.Retry.Attempts = 5
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	m, err := newMetrics(deps.Metrics, cfg.Namespace, cfg.Type)
	if err != nil {
		return nil, fmt.Errorf("queue %s/%s: %w", cfg.Namespace, cfg.Type, err)
	}
	return &Queue{
		cfg: cfg, client: deps.Client, keys: cfg.Keys.QueueOf(cfg.Namespace, cfg.Type), metrics: m,
		log: deps.Logger.Named("queue").With(zap.String("namespace", cfg.Namespace), zap.String("type", cfg.Type)),
	}, nil
}

// Added tells of an item that was put.
type Added struct {
	ID string `json:"id"`
	// Duplicate: it was there, by its ID or by its de-duplication key.
	Duplicate bool `json:"duplicate,omitempty"`
	// Open: an error came before it was known whether it was added.
	Open bool `json:"-"`
}

// Put adds items and returns their IDs. Items whose ID is in the queue already, at
// another priority or as dead letters perhaps, are left alone (Q8). After an error some
// items may have been added; it is safe to put all of them again with the IDs returned.
func (q *Queue) Put(ctx context.Context, items ...Item) ([]string, error) {
	added, err := q.Add(ctx, items, Along{})
	ids := make([]string, len(added))
	for i := range added {
		ids[i] = added[i].ID
	}
	return ids, err
}

// Along goes with what is put: Guards, at most MaxGuards, have to hold whenever something is
// added, else Add ends with ErrChanged; Ops are done in the transaction that adds the
// first items.
type Along struct {
	Guards []clientv3.Cmp
	Ops    []clientv3.Op
	// Together: one transaction adds all of the items, with Ops, or Add ends with ErrApart
	// and has added none.
	Together bool
}

// MaxGuards is how many compares may go along with what is put.
const MaxGuards = 8

// ErrChanged is returned by Add when its guard does not hold.
var ErrChanged = fmt.Errorf("the queue was changed meanwhile: %w", job.ErrConflict)

// ErrApart is returned by Add for items that go together and cannot: one is in the queue
// already, or they are too large for one transaction.
var ErrApart = fmt.Errorf("the items cannot be added together: %w", job.ErrConflict)

// Add is Put, and tells which items were there.
func (q *Queue) Add(ctx context.Context, items []Item, along Along) ([]Added, error) {
	fresh := make([]newItem, len(items))
	added := make([]Added, len(items))
	var problems []job.Problem
	for i := range items {
		fresh[i].Item = items[i]
		it := &fresh[i]
		problems = append(problems, it.check(fmt.Sprintf("items[%d]", i))...)
		if it.Dedup != "" && q.cfg.DedupWindow <= 0 {
			problems = append(problems, job.Problem{
				Path: fmt.Sprintf("items[%d].dedup", i), Message: "the queue has no window for de-duplication keys (dedupWindow)",
			})
		}
		if it.ID == "" {
			id, err := newID()
			if err != nil {
				return nil, err
			}
			it.ID, it.unheard = id, true
		}
		added[i].ID, added[i].Open = it.ID, true
	}
	if len(along.Guards) > MaxGuards {
		return nil, fmt.Errorf("put items into queue: %d guards are given; at most %d are allowed", len(along.Guards), MaxGuards)
	}
	if problems != nil {
		return nil, &job.InvalidError{Problems: problems}
	}
	for at := 0; at < len(fresh); {
		n, bytes, cmps := 0, 0, 0
		for at+n < len(fresh) && n < MaxClaim {
			it := &fresh[at+n]
			bytes, cmps = bytes+len(it.Payload)+it.Bounds.Size(), cmps+len(q.unknown(it))
			if n > 0 && (bytes > maxTxnBytes || cmps > maxPutCmps) {
				break
			}
			n++
		}
		if along.Together && n < len(fresh) {
			return added, ErrApart
		}
		if err := q.put(ctx, fresh[at:at+n], added[at:at+n], along); err != nil {
			return added, fmt.Errorf("put %d items into queue: %w", n, err)
		}
		if slices.ContainsFunc(added[at:at+n], func(a Added) bool { return !a.Duplicate }) {
			along.Ops = nil
		}
		at += n
	}
	return added, nil
}

// newItem is an item that is to be put.
type newItem struct {
	Item
	// unheard: its ID was made here, and nobody else can have put it at another priority.
	unheard bool
}

// maxPutCmps bounds the compares of a transaction that puts, the guards excepted: etcd
// takes 128.
const maxPutCmps = 128 - MaxGuards

// unknown returns the compares that hold if the queue has no item with the ID (Q8). The
// priority is part of an item's keys, so there are two for each.
func (q *Queue) unknown(it *newItem) []clientv3.Cmp {
	from, to := 0, MaxPriority
	if it.unheard {
		from, to = it.Priority, it.Priority
	}
	var cmps []clientv3.Cmp
	for p := from; p <= to; p++ {
		cmps = append(cmps, absent(q.keys.Item(p, it.ID)), absent(q.keys.DeadItem(p, it.ID)))
	}
	return cmps
}

// put adds a few items at once, or one by one when some are there already.
func (q *Queue) put(ctx context.Context, items []newItem, added []Added, along Along) error {
	cmps := slices.Clone(along.Guards)
	ops := slices.Clone(along.Ops)
	seen := map[string]bool{}
	for i := range items {
		it := &items[i]
		if it.Dedup != "" && len(items) > 1 {
			if along.Together {
				return ErrApart
			}
			return q.putEach(ctx, items, added, along)
		}
		if seen[it.ID] {
			added[i].Duplicate = true
			continue
		}
		seen[it.ID] = true
		value, err := etcdkv.Encode(etcdkv.QueueItem{
			Schema: etcdkv.Schema, Payload: it.Payload, NotBefore: it.NotBefore, PutAt: time.Now().UTC(), Key: it.Key, ExpiresAt: it.ExpiresAt, Bounds: it.Bounds, Origin: it.Origin, Subject: it.Subject, JobAuthor: it.JobAuthor,
		})
		if err != nil {
			return err
		}
		cmps = append(cmps, q.unknown(it)...)
		ops = append(ops, clientv3.OpPut(q.keys.Item(it.Priority, it.ID), value))
	}
	if len(items) == 1 && items[0].Dedup != "" {
		return q.putOnce(ctx, &items[0], &added[0], along, cmps, ops)
	}
	resp, err := q.txn(ctx, cmps, ops)
	if err != nil {
		return err
	}
	if resp.Succeeded {
		for i := range added {
			added[i].Open = false
		}
		return nil
	}
	if err := q.guarded(ctx, along); err != nil {
		return err
	}
	switch {
	case along.Together && len(items) > 1:
		return ErrApart
	case len(items) == 1:
		added[0].Duplicate, added[0].Open = true, false
		return nil
	}
	return q.putEach(ctx, items, added, along)
}

func (q *Queue) putEach(ctx context.Context, items []newItem, added []Added, along Along) error {
	for i := range items {
		if err := q.put(ctx, items[i:i+1], added[i:i+1], along); err != nil {
			return err
		}
		if !added[i].Duplicate {
			along.Ops = nil
		}
	}
	return nil
}

// guarded returns ErrChanged when one of the guards does not hold.
func (q *Queue) guarded(ctx context.Context, along Along) error {
	if len(along.Guards) == 0 {
		return nil
	}
	resp, err := q.txn(ctx, along.Guards, nil)
	if err == nil && !resp.Succeeded {
		err = ErrChanged
	}
	return err
}

// dedupTries is how often an item is put anew whose de-duplication key changes meanwhile.
const dedupTries = 20

// putOnce adds an item that has a de-duplication key, unless another one has it (Q10).
func (q *Queue) putOnce(ctx context.Context, it *newItem, added *Added, along Along, cmps []clientv3.Cmp, ops []clientv3.Op) error {
	key := q.keys.Dedup(it.Dedup)
	for range dedupTries {
		resp, err := q.txn(ctx, q.unknown(it), []clientv3.Op{clientv3.OpGet(key)}, clientv3.OpGet(key))
		if err != nil {
			return err
		}
		rev := int64(0)
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			d, err := etcdkv.Decode[etcdkv.QueueDedup](key, kvs[0].Value)
			if err == nil && time.Now().Before(d.Until) {
				added.ID, added.Duplicate, added.Open = d.ID, true, false
				return nil
			}
			rev = kvs[0].ModRevision
		}
		if !resp.Succeeded {
			added.Duplicate, added.Open = true, false
			return nil
		}
		value, err := etcdkv.Encode(etcdkv.QueueDedup{
			Schema: etcdkv.Schema, ID: it.ID, Priority: it.Priority, Until: time.Now().Add(q.cfg.DedupWindow).UTC(),
		})
		if err != nil {
			return err
		}
		done, err := q.txn(ctx, append(slices.Clone(cmps), unchanged(key, rev)), append(slices.Clone(ops), clientv3.OpPut(key, value)))
		if err != nil {
			return err
		}
		if done.Succeeded {
			added.Open = false
			return nil
		}
		if err := q.guarded(ctx, along); err != nil {
			return err
		}
	}
	return fmt.Errorf("item %s: others put items with the same de-duplication key: %w", it.ID, job.ErrConflict)
}

func absent(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

func unchanged(key string, modRev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", modRev)
}

func created(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", rev)
}

// txn runs a transaction; orElse is what it does when a compare fails.
func (q *Queue) txn(ctx context.Context, cmps []clientv3.Cmp, then []clientv3.Op, orElse ...clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	resp, err := q.client.Txn(ctx).If(cmps...).Then(then...).Else(orElse...).Commit()
	if err != nil {
		return nil, etcdkv.Unavailable(err)
	}
	return resp, nil
}

// Stats counts the items of a queue.
type Stats struct {
	// Waiting counts items that nobody works on, those that wait for their
	// time included.
	Waiting  int64 `json:"waiting"`
	InFlight int64 `json:"inFlight"`
	Dead     int64 `json:"dead"`
}

// Stats returns the counts at one revision. It can be asked on any node.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	count := func(prefix string) clientv3.Op {
		return clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	}
	resp, err := q.txn(ctx, nil, []clientv3.Op{count(q.keys.Items()), count(q.keys.Markers()), count(q.keys.Dead())})
	if err != nil {
		return Stats{}, fmt.Errorf("count items of queue: %w", err)
	}
	n := func(i int) int64 { return resp.Responses[i].GetResponseRange().GetCount() }
	return Stats{Waiting: n(0) - n(1), InFlight: n(1), Dead: n(2)}, nil
}
