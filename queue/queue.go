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

// maxTxnBytes bounds the payloads of one transaction; etcd takes 1.5 MiB.
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

// Put adds items and returns their IDs. Items that are in the queue already, as
// dead letters perhaps, are left alone (Q8). After an error some items may have
// been added; it is safe to put all of them again with the IDs returned.
func (q *Queue) Put(ctx context.Context, items ...Item) ([]string, error) {
	items = slices.Clone(items)
	ids := make([]string, len(items))
	var problems []job.Problem
	for i := range items {
		problems = append(problems, items[i].check(fmt.Sprintf("items[%d]", i))...)
		if items[i].ID == "" {
			id, err := newID()
			if err != nil {
				return nil, err
			}
			items[i].ID = id
		}
		ids[i] = items[i].ID
	}
	if problems != nil {
		return nil, &job.InvalidError{Problems: problems}
	}
	for len(items) > 0 {
		n, bytes := 0, 0
		for n < len(items) && n < MaxClaim && (n == 0 || bytes+len(items[n].Payload) <= maxTxnBytes) {
			bytes += len(items[n].Payload)
			n++
		}
		if err := q.put(ctx, items[:n]); err != nil {
			return ids, fmt.Errorf("put %d items into queue: %w", n, err)
		}
		items = items[n:]
	}
	return ids, nil
}

// put adds a few items at once, or one by one when some are there already.
func (q *Queue) put(ctx context.Context, items []Item) error {
	var cmps []clientv3.Cmp
	var ops []clientv3.Op
	seen := map[string]bool{}
	for i := range items {
		it := &items[i]
		key, dead := q.keys.Item(it.Priority, it.ID), q.keys.DeadItem(it.Priority, it.ID)
		if seen[key] {
			continue
		}
		seen[key] = true
		value, err := etcdkv.Encode(etcdkv.QueueItem{
			Schema: etcdkv.Schema, Payload: it.Payload, NotBefore: it.NotBefore, PutAt: time.Now().UTC(),
		})
		if err != nil {
			return err
		}
		cmps = append(cmps, absent(key), absent(dead))
		ops = append(ops, clientv3.OpPut(key, value))
	}
	resp, err := q.txn(ctx, cmps, ops)
	if err != nil || resp.Succeeded || len(items) == 1 {
		return err
	}
	for i := range items {
		if err := q.put(ctx, items[i:i+1]); err != nil {
			return err
		}
	}
	return nil
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
