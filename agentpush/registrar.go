package agentpush

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// registrar stores descriptions of minions in the background.
type registrar struct {
	*base
	inventory *Inventory
	registry  Registry

	wake chan struct{}

	mu sync.Mutex
	// mu guards what follows: the newest description of each minion, and how often
	// each may still be stored.
	waiting map[job.MinionID]job.Minion
	may     map[job.MinionID]*allowance
}

// describers is how many descriptions are written at a time, and describeRetry
// the pause after one could not be.
const (
	describers    = 8
	describeRetry = time.Second
)

func newRegistrar(b *base, i *Inventory, r Registry) *registrar {
	return &registrar{base: b, inventory: i, registry: r, wake: make(chan struct{}, 1), waiting: map[job.MinionID]job.Minion{}, may: map[job.MinionID]*allowance{}}
}

// describe has the minion stored if the cluster's state says otherwise of it.
func (r *registrar) describe(m job.Minion) {
	if r.isDescribed(&m) {
		return
	}
	r.put(m)
}

// isDescribed reports whether the cluster's state describes the minion so. If
// it does not, m gets what is known of its past.
func (r *registrar) isDescribed(m *job.Minion) bool {
	known, ok := r.inventory.stored(m.ID)
	if !ok {
		return false
	}
	if !known.Since.IsZero() {
		m.Since = known.Since
	}
	return maps.Equal(known.Labels, m.Labels) && maps.Equal(known.Facts, m.Facts) && known.Version == m.Version
}

func (r *registrar) put(m job.Minion) {
	r.mu.Lock()
	r.waiting[m.ID] = m
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// due removes and returns the descriptions that may be stored now, and reports
// whether others have to wait.
func (r *registrar) due(now time.Time) (batch map[job.MinionID]job.Minion, later bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch = map[job.MinionID]job.Minion{}
	for id, m := range r.waiting {
		a := r.may[id]
		if a == nil {
			fresh := newAllowance(describeBurst, describeEvery, now)
			a = &fresh
			r.may[id] = a
		}
		if a.use(now) {
			batch[id] = m
			delete(r.waiting, id)
		}
	}
	return batch, len(r.waiting) > 0
}

// forget drops the allowances that are as new ones.
func (r *registrar) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, a := range r.may {
		if a.full(now) {
			delete(r.may, id)
		}
	}
}

// run stores descriptions until ctx is done.
func (r *registrar) run(ctx context.Context) {
	tick := time.NewTicker(describeRetry)
	defer tick.Stop()
	bytes := rate.NewLimiter(describeRate, describeAhead)
	later := false
	forgotten := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case now := <-tick.C:
			if now.Sub(forgotten) >= describeEvery {
				forgotten = now
				r.forget(now)
			}
			if !later {
				continue
			}
		}
		var batch map[job.MinionID]job.Minion
		batch, later = r.due(time.Now())
		var failed sync.Map
		var g errgroup.Group
		g.SetLimit(describers)
		for _, m := range batch {
			if bytes.WaitN(ctx, min(weight(&m), describeAhead)) != nil {
				break // ctx is done
			}
			g.Go(func() error {
				if err := r.registry.Describe(ctx, m); err != nil {
					failed.Store(m.ID, m)
					return err
				}
				return nil
			})
		}
		err := g.Wait()
		if err == nil {
			continue
		}
		r.log.Warn("minions not stored, will be tried again", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(describeRetry):
		}
		failed.Range(func(_, v any) bool {
			m, _ := v.(job.Minion)
			r.retry(m)
			return true
		})
	}
}

// weight is about what a description takes where it is stored.
func weight(m *job.Minion) int {
	n := 256
	for _, of := range []map[string]string{m.Labels, m.Facts} {
		for k, v := range of {
			n += len(k) + len(v) + 8
		}
	}
	return n
}

// retry puts a description back, unless a newer one waits.
func (r *registrar) retry(m job.Minion) {
	r.mu.Lock()
	_, newer := r.waiting[m.ID]
	if !newer {
		r.waiting[m.ID] = m
	}
	if a := r.may[m.ID]; a != nil {
		a.left++ // nothing was stored
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *registrar) redescribe(s *session, inv *agentpb.Inventory) {
	if m, ok := r.inventory.redescribe(s.c.id, s.epoch, inv.GetLabels(), inv.GetFacts()); ok {
		r.describe(m)
	}
}
