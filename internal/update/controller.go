package update

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

// Minions knows the minions of the cluster.
type Minions interface {
	// Minions returns all that are known, ordered by id; Node is empty for one
	// that is not connected.
	Minions() []job.Minion
	// HostGroups returns the saved groups of hosts.
	HostGroups() target.Groups
}

// Tell has minions told of a release, now and in each session that they
// open at this node later, until it is called again. Release 0: nobody is told.
// It is called by one goroutine at a time, and must not block.
type Tell func(release int64, signed []byte, minions []job.MinionID)

// Config says how a Controller works. Keys must be set.
type Config struct {
	Keys etcdkv.Keys
	// Every is how often minions are looked at while some are told or waited for;
	// otherwise it is a tenth as often. Zero: DefaultEvery.
	Every time.Duration
	// Timeout bounds one write to etcd. Zero: DefaultTimeout.
	Timeout time.Duration
}

// idleTicks is how many times less often minions are looked at while nobody is
// told or waited for: there may be very many of them.
const idleTicks = 10

// Defaults of Config.
const (
	DefaultEvery   = 2 * time.Second
	DefaultTimeout = 5 * time.Second
)

// Deps are what a Controller stands on. All but Now, Logger and Metrics must be set.
type Deps struct {
	Client  *clientv3.Client
	Minions Minions
	// Ready reports whether Minions knows all that etcd does (U4).
	Ready func() bool
	// Mine reports whether this node looks after the plan: one is enough.
	Mine func() bool
	Tell Tell
	// Now is the clock. Nil: time.Now.
	Now    func() time.Time
	Logger *zap.Logger
	// Metrics is where the controller's are registered. Nil: nowhere.
	Metrics prometheus.Registerer
}

// Controller follows the plan. Use New.
type Controller struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	wake chan struct{}
	// metrics are shown by Run's goroutine.
	metrics *metrics

	mu sync.Mutex
	// mu guards what follows: the two keys as they were seen last.
	plan  entry[etcdkv.UpdatePlan]
	state entry[etcdkv.UpdateState]
}

// entry is a key as it was seen last; revision 0: there is none.
type entry[T any] struct {
	value    T
	revision int64
}

// New returns a Controller that does nothing until Run.
func New(cfg Config, deps Deps) (*Controller, error) {
	switch {
	case cfg.Keys == etcdkv.Keys{}:
		return nil, errors.New("update: Config.Keys is not set")
	case deps.Client == nil || deps.Minions == nil || deps.Ready == nil || deps.Mine == nil || deps.Tell == nil:
		return nil, errors.New("update: Client, Minions, Ready, Mine and Tell must be set")
	}
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	c := &Controller{cfg: cfg, deps: deps, log: deps.Logger.Named("update"), wake: make(chan struct{}, 1)}
	var err error
	c.metrics, err = newMetrics(deps.Metrics, c)
	return c, err
}

// Run follows the plan until ctx ends, and returns nil then.
func (c *Controller) Run(ctx context.Context) error {
	var following sync.WaitGroup
	var followed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	following.Go(func() {
		followed = etcdkv.Follow(ctx, c.deps.Client, c.cfg.Keys.Updates(), func(b etcdkv.Batch) error {
			c.take(b)
			return nil
		})
		cancel()
	})
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for rest := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-tick.C:
			rest--
		case <-c.wake:
			rest = 0
		}
		if ctx.Err() != nil || rest > 0 {
			continue
		}
		if !c.deps.Mine() {
			c.metrics.show(nil)
			continue
		}
		if !c.deps.Ready() {
			continue
		}
		status, err := c.step(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("plan does not go on yet", zap.Error(err))
		}
		if rest = 0; status != release.StatusRunning {
			rest = idleTicks
		}
	}
	following.Wait()
	if errors.Is(followed, context.Canceled) {
		return nil
	}
	return followed
}

// take sees changes of the keys, and has minions told by them.
func (c *Controller) take(b etcdkv.Batch) {
	c.mu.Lock()
	if b.Relist {
		c.plan, c.state = entry[etcdkv.UpdatePlan]{}, entry[etcdkv.UpdateState]{}
	}
	for i := range b.Events {
		switch e := &b.Events[i]; e.Key {
		case c.cfg.Keys.UpdatePlan():
			see(c, &c.plan, e)
		case c.cfg.Keys.UpdateState():
			see(c, &c.state, e)
		}
	}
	p, s := c.plan, c.state
	c.mu.Unlock()
	if len(b.Events) > 0 || b.Relist {
		c.tell(p, s)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// see takes one change. What cannot be read, as it is of a newer release, is as
// if it was not there: this node tells nobody then. It writes nothing over it
// either, because there is a key where it compares with none.
func see[T any](c *Controller, to *entry[T], e *etcdkv.Event) {
	*to = entry[T]{}
	if e.Value == nil {
		return
	}
	v, err := etcdkv.Decode[T](e.Key, e.Value)
	if err != nil {
		c.log.Error("value left out", zap.Error(err))
		return
	}
	*to = entry[T]{v, e.ModRevision}
}

// tell has this node's minions told that are under way by the durable state (U1).
func (c *Controller) tell(p entry[etcdkv.UpdatePlan], s entry[etcdkv.UpdateState]) {
	if p.revision == 0 || p.value.Off || s.revision == 0 || s.value.Release != p.value.Release || s.value.Hold {
		c.deps.Tell(0, nil, nil)
		return
	}
	c.deps.Tell(p.value.Release, p.value.Signed, slices.Sorted(maps.Keys(s.value.Since)))
}

// known returns the two keys as they were seen last.
func (c *Controller) known() (entry[etcdkv.UpdatePlan], entry[etcdkv.UpdateState]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan, c.state
}

// step works out what is next, and makes it durable. The keys' followers tell.
// It returns where the plan is; empty: there is none.
func (c *Controller) step(ctx context.Context) (release.Status, error) {
	p, s := c.known()
	if p.revision == 0 || p.value.Off {
		c.metrics.show(nil)
		return "", nil
	}
	out, err := Next(&p.value, s.value, c.deps.Minions.Minions(), c.deps.Minions.HostGroups(), c.deps.Now())
	if err != nil {
		return "", err
	}
	c.metrics.show(out.Groups)
	status := out.Step.Status
	value, err := etcdkv.Encode(&out.State)
	if err != nil {
		return status, err
	}
	if was, err := etcdkv.Encode(&s.value); err != nil || was == value && s.revision != 0 {
		return status, err
	}
	keys := c.cfg.Keys
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, err := c.deps.Client.Txn(bounded).If( // U2
		clientv3.Compare(clientv3.ModRevision(keys.UpdatePlan()), "=", p.revision),
		clientv3.Compare(clientv3.ModRevision(keys.UpdateState()), "=", s.revision),
	).Then(clientv3.OpPut(keys.UpdateState(), value)).Commit()
	if err != nil {
		return release.StatusRunning, err // again soon
	}
	if resp.Succeeded && (len(out.Step.Tell) > 0 || out.State.Hold && !s.value.Hold) {
		c.log.Info("minions update", zap.Int64("release", p.value.Release), zap.String("group", out.Step.Group),
			zap.Int("told", len(out.Step.Tell)), zap.String("status", string(status)), zap.String("reason", out.Step.Reason))
	}
	return status, nil
}
