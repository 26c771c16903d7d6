package cluster

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

func (v *View) onPermits() {
	entries, rev := v.permits.Snapshot()
	view := &Caps{Rev: rev, By: make(map[Cap]CapCount, len(entries))}
	for _, e := range entries {
		view.By[Cap{e.Value.Label, e.Value.Value}] = CapCount{Rev: e.ModRevision, Count: e.Value.Count()}
	}
	v.SetCaps(view)
	v.Wake()
}

// SetCaps puts counts in the place of what is in view.
func (v *View) SetCaps(c *Caps) { v.caps.Store(c) }

// Caps returns how many count under which caps.
func (v *View) Caps() *Caps { return v.caps.Load() }

// Count returns how many tasks count under a cap.
func (c *Caps) Count(k Cap) CapCount {
	if n, ok := c.By[k]; ok {
		return n
	}
	return CapCount{Rev: c.Rev}
}
