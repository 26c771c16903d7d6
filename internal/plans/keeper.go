package plans

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Config says which node this is, in which cluster. Node, Keys and Shards must be set.
type Config struct {
	Node   job.NodeID
	Keys   etcdkv.Keys
	Shards int
	// Window is how many tasks of a plan and type are in a queue at once. Zero: 1000.
	Window int
	// Keep is how long a plan is kept that has ended. Zero: DefaultKeep.
	Keep time.Duration
	// CallAgain is the pause after a callback that was not taken; it doubles each time. Zero:
	// 5 s.
	CallAgain time.Duration
	// Timeout bounds a request to etcd. Zero: 5 s.
	Timeout time.Duration
}

// DefaultKeep is how long a plan is kept that has ended.
const DefaultKeep = 7 * 24 * time.Hour

// maxCalls is how many callbacks are on their way at once.
const maxCalls = 16

// Deps is what a Keeper works with. Client, Caller and Logger must be set.
type Deps struct {
	Client *clientv3.Client
	// Caller makes callbacks.
	Caller Caller
	// Open opens what is sealed in a value of etcd. Nil: it is in the clear.
	Open   func(key string, value []byte) ([]byte, error)
	Logger *zap.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Keeper runs the plans whose shards this node owns. Use New. All methods may be called by many
// goroutines.
type Keeper struct {
	cfg    Config
	client *clientv3.Client
	log    *zap.Logger
	now    func() time.Time
	caller Caller
	open   func(key string, value []byte) ([]byte, error)
	// calls has an element for each callback on its way.
	calls chan struct{}
	plans *etcdkv.Map[etcdkv.StoredPlan]
	types *etcdkv.Map[etcdkv.StoredQueue]

	mu sync.Mutex
	// mu guards changed, which is closed, and made anew, when plans or queues have changed.
	changed chan struct{}
}

// New returns a Keeper. It works once Run is called.
func New(cfg Config, deps Deps) (*Keeper, error) {
	if cfg.Node == "" || cfg.Keys == (etcdkv.Keys{}) || cfg.Shards <= 0 || deps.Client == nil || deps.Caller == nil || deps.Logger == nil {
		return nil, errors.New("plans: Node, Keys, Shards, Client, Caller and Logger must be set")
	}
	if cfg.Window <= 0 {
		cfg.Window = 1000
	}
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.CallAgain <= 0 {
		cfg.CallAgain = 5 * time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	k := &Keeper{cfg: cfg, client: deps.Client, caller: deps.Caller, open: deps.Open, calls: make(chan struct{}, maxCalls), log: deps.Logger.Named("plans"), now: deps.Now, changed: make(chan struct{})}
	k.plans = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredPlan], k.onChange)
	k.types = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredQueue], k.onChange)
	return k, nil
}

// ShardOf returns the shard to which a plan belongs.
func ShardOf(p *etcdkv.StoredPlan, shards int) job.ShardID {
	return etcdkv.ShardOf(job.Key{Namespace: p.Namespace, Name: p.Upstream + "/" + p.ID}, shards)
}

// Run keeps the views of plans and queues current, and removes what is left of plans that are
// none, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { k.sweepAll(ctx) })
	wg.Go(func() { _ = k.types.Run(ctx, k.client, k.cfg.Keys.QueueTypes()) }) // it ends with ctx only
	return k.plans.Run(ctx, k.client, k.cfg.Keys.Plans())
}

func (k *Keeper) onChange() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *Keeper) change() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed
}

// plan returns a plan as it was seen last.
func (k *Keeper) plan(key string) (etcdkv.Entry[etcdkv.StoredPlan], bool) {
	all, _ := k.plans.Snapshot()
	e, ok := all[key]
	return e, ok
}

// Hold runs the plans of a shard until ctx ends, which is when the shard's lock is lost or
// passed on, and returns when all has ended.
func (k *Keeper) Hold(ctx context.Context, id job.ShardID, fence queue.Fence) {
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	here := map[job.UID]*running{}
	defer func() {
		for _, r := range here {
			r.stop()
		}
		for _, r := range here {
			<-r.done
		}
	}()
	for {
		changed := k.change()
		wanted := map[job.UID]string{}
		all, _ := k.plans.Snapshot()
		for key, e := range all {
			if (e.Value.EndedAt.IsZero() || e.Value.Untold) && ShardOf(&e.Value, k.cfg.Shards) == id {
				wanted[e.Value.UID] = key
			}
		}
		for uid, r := range here {
			if wanted[uid] == "" {
				r.stop()
				<-r.done
				delete(here, uid)
			}
		}
		for uid, key := range wanted {
			if here[uid] != nil {
				continue
			}
			own, stop := context.WithCancel(ctx)
			r := &running{stop: stop, done: make(chan struct{})}
			here[uid] = r
			go func() {
				defer close(r.done)
				defer stop()
				var wg sync.WaitGroup
				defer wg.Wait()
				p := all[key].Value
				if p.Untold {
					wg.Go(func() { k.tellPlan(own, uid, key, fence) })
				}
				if p.EndedAt.IsZero() {
					k.runPlan(own, uid, key, fence)
				}
			}()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// beginAnew is the pause before a plan is read anew whose runner ended with an error.
const beginAnew = 500 * time.Millisecond

// runPlan runs one plan until ctx ends, or the plan.
func (k *Keeper) runPlan(ctx context.Context, uid job.UID, key string, fence queue.Fence) {
	for ctx.Err() == nil && fence.Held() {
		r := newRunner(k, uid, key, fence)
		err := r.run(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, errAmended):
			continue
		}
		r.log.Warn("plan stopped, and is read anew", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(beginAnew):
		}
	}
}

// txn runs a transaction.
func (k *Keeper) txn(ctx context.Context, cmps []clientv3.Cmp, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	resp, err := k.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	return resp, etcdkv.Unavailable(err)
}

// pageKeys is how many keys are read at once.
const pageKeys = 50

// list calls fn with all keys under a prefix, in their order.
func list(ctx context.Context, c *clientv3.Client, timeout time.Duration, prefix string, fn func(key string, value []byte) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		ask, cancel := context.WithTimeout(ctx, timeout)
		resp, err := c.Get(ask, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
		cancel()
		if err != nil {
			return etcdkv.Unavailable(err)
		}
		for _, kv := range resp.Kvs {
			if err := fn(string(kv.Key), kv.Value); err != nil {
				return err
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
