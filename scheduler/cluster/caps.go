package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Cap is a bound of the whole cluster: a label, and a value of it.
type Cap struct{ Label, Value string }

// CapCount is how many tasks count under a cap, as of a revision.
type CapCount struct {
	Rev   int64
	Count int
}

// Caps are the counts of all caps that somebody counts under, as of Rev. They are
// never changed: there are new ones after each change.
type Caps struct {
	Rev int64
	By  map[Cap]CapCount
}

// caps are how many hold permits; counts is made anew at every change.
type caps struct {
	wake    func()
	permits *etcdkv.Map[etcdkv.Permits]
	counts  atomic.Pointer[Caps]
}

func (c *caps) follow(f *feed, keys etcdkv.Keys) {
	c.wake = f.Wake
	c.counts.Store(&Caps{})
	c.permits = follow(f, keys.Permits(), etcdkv.Decode[etcdkv.Permits], c.onPermits)
}

func (c *caps) onPermits() {
	entries, rev := c.permits.Snapshot()
	view := &Caps{Rev: rev, By: make(map[Cap]CapCount, len(entries))}
	for _, e := range entries {
		view.By[Cap{e.Value.Label, e.Value.Value}] = CapCount{Rev: e.ModRevision, Count: e.Value.Count()}
	}
	c.SetCaps(view)
	c.wake()
}

// SetCaps puts counts in the place of what is in view.
func (c *caps) SetCaps(counts *Caps) { c.counts.Store(counts) }

// Caps returns how many count under which caps.
func (c *caps) Caps() *Caps { return c.counts.Load() }

// Count returns how many tasks count under a cap.
func (c *Caps) Count(k Cap) CapCount {
	if n, ok := c.By[k]; ok {
		return n
	}
	return CapCount{Rev: c.Rev}
}
