package agentpush

import (
	"container/heap"
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// registrar stores descriptions of minions in the background.
type registrar struct {
	*base
	locals   locals
	registry Registry

	wake chan struct{}

	mu sync.Mutex
	// mu guards what follows: the newest description of each minion, and how often
	// each may still be stored.
	waiting map[job.MinionID]job.Minion
	may     map[job.MinionID]*allowance
	// Of those that wait, fresh have not been looked at, and later may be stored from
	// a time on: what may be stored now is found without a search.
	fresh []job.MinionID
	later byTime
}

// byTime is a heap of minions; the one that comes first is its root.
type byTime []timedMinion

type timedMinion struct {
	id job.MinionID
	at time.Time
}

func (b byTime) Len() int           { return len(b) }
func (b byTime) Less(i, j int) bool { return b[i].at.Before(b[j].at) }
func (b byTime) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *byTime) Push(x any)        { *b = append(*b, x.(timedMinion)) } // only these are pushed
func (b *byTime) Pop() any {
	old := *b
	x := old[len(old)-1]
	*b = old[:len(old)-1]
	return x
}

// describers is how many descriptions are written at a time, and describeRetry
// the pause after one could not be.
const (
	describers    = 8
	describeRetry = time.Second
)

func newRegistrar(b *base, i *Inventory, r Registry) *registrar {
	return &registrar{base: b, locals: i.locals, registry: r, wake: make(chan struct{}, 1), waiting: map[job.MinionID]job.Minion{}, may: map[job.MinionID]*allowance{}}
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
	known, ok := r.locals.stored(m.ID)
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
	r.wait(m)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// wait notes the newest description of a minion. The caller holds mu.
func (r *registrar) wait(m job.Minion) {
	if _, listed := r.waiting[m.ID]; !listed {
		r.fresh = append(r.fresh, m.ID)
	}
	r.waiting[m.ID] = m
}

// due removes and returns the descriptions that may be stored now, and reports
// whether others have to wait.
func (r *registrar) due(now time.Time) (batch map[job.MinionID]job.Minion, later bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch = map[job.MinionID]job.Minion{}
	look := r.fresh
	r.fresh = nil
	for len(r.later) > 0 && !r.later[0].at.After(now) {
		look = append(look, heap.Pop(&r.later).(timedMinion).id) // only these are pushed
	}
	for _, id := range look {
		m, waits := r.waiting[id]
		if !waits {
			continue // stored since it was listed
		}
		a := r.may[id]
		if a == nil {
			fresh := newAllowance(describeBurst, describeEvery, now)
			a = &fresh
			r.may[id] = a
		}
		if !a.use(now) {
			heap.Push(&r.later, timedMinion{id, a.next()})
			continue
		}
		batch[id] = m
		delete(r.waiting, id)
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
		if !backoff.Sleep(ctx, describeRetry) {
			return
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
	if newer {
		r.fresh = append(r.fresh, m.ID) // it may be stored earlier now
	} else {
		r.wait(m)
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
	if m, ok := r.locals.redescribe(s.c.id, s.epoch, inv.GetLabels(), inv.GetFacts()); ok {
		r.describe(m)
	}
}
