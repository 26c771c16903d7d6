package agentpush

import (
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/job"
)

// maxMatches bounds each cache of what targets admit.
const maxMatches = 4096

// found caches what targets admit. The roster's mu guards it.
type found struct {
	// ready and away are, by target, who gets orders and who does not; sorted is who
	// gets orders at all. Every change that matters empties them.
	ready  map[string][]job.MinionID
	away   map[string][]job.Uncontrollable
	sorted []job.MinionID
	// labelled are the names of labels that some minion has been granted; nil: to be
	// found out.
	labelled map[string]struct{}
}

// targetsChanged forgets what targets admit.
func (f *found) targetsChanged() { f.ready, f.away = nil, nil }

// minionsChanged forgets that, and who gets orders.
func (f *found) minionsChanged() { f.ready, f.away, f.sorted = nil, nil, nil }

// cached returns what a cache holds for a target, or what is found, and keeps that.
func cached[T any](cache *map[string][]T, key string, find func() []T) []T {
	if found, ok := (*cache)[key]; ok {
		return found
	}
	found := find()
	if *cache == nil || len(*cache) >= maxMatches {
		*cache = map[string][]T{}
	}
	(*cache)[key] = found
	return found
}

// targets tells which minions targets admit.
type targets struct {
	*roster
	// groups are the saved groups of hosts, which targets name. mu guards them.
	groups target.Groups
}

// match returns the connected minions that the target admits, sorted. The
// result is shared and must not be changed.
func (ts *targets) match(t job.Target) []job.MinionID {
	key := targetKey(t)
	ts.mu.RLock()
	ready, ok := ts.found.ready[key]
	ts.mu.RUnlock()
	if ok {
		return ready
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return cached(&ts.found.ready, key, func() []job.MinionID { return ts.admitted(ts.matcher(t)) })
}

// reach returns besides the minions that the target admits and that get no orders,
// sorted, by the same look: each minion is among one of the two. The results are
// shared and must not be changed.
func (ts *targets) reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable) {
	key := targetKey(t)
	ts.mu.RLock()
	ready, known := ts.found.ready[key]
	away, ok := ts.found.away[key]
	ts.mu.RUnlock()
	if known && ok {
		return ready, away
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	admits := ts.matcher(t)
	ready = cached(&ts.found.ready, key, func() []job.MinionID { return ts.admitted(admits) })
	return ready, cached(&ts.found.away, key, func() []job.Uncontrollable { return ts.excluded(admits) })
}

// value returns a minion's value of a label or, failing that, of a fact that has
// no label's name.
func (ts *targets) value(id job.MinionID, key string) string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	e := ts.entries[id]
	if e == nil || e.view == nil {
		return ""
	}
	if v, ok := e.view.Labels[key]; ok {
		return v
	}
	if _, label := ts.names()[key]; label && !target.IsHostFact(key) {
		return ""
	}
	return e.view.Facts[key]
}

// names returns the names of labels that some minion has been granted. mu is held.
func (ts *targets) names() map[string]struct{} {
	if ts.found.labelled == nil {
		ts.found.labelled = map[string]struct{}{}
		for _, e := range ts.entries {
			for k := range e.granted {
				ts.found.labelled[k] = struct{}{}
			}
			if ts.trusting && e.view != nil {
				for k := range e.view.Labels {
					ts.found.labelled[k] = struct{}{}
				}
			}
		}
	}
	return ts.found.labelled
}

// admitted returns the minions that get orders and are admitted. mu is held.
func (ts *targets) admitted(admits func(*job.Minion) bool) (ids []job.MinionID) {
	if ts.found.sorted == nil {
		for id, e := range ts.entries {
			if _, is := e.uncontrollable(id); !is {
				ts.found.sorted = append(ts.found.sorted, id)
			}
		}
		slices.Sort(ts.found.sorted)
	}
	for _, id := range ts.found.sorted {
		m := ts.entries[id].view
		if m == nil {
			m = &job.Minion{ID: id}
		}
		if admits(m) {
			ids = append(ids, id)
		}
	}
	return slices.Clip(ids)
}

// excluded returns the minions that get no orders and are admitted. mu is held.
func (ts *targets) excluded(admits func(*job.Minion) bool) (out []job.Uncontrollable) {
	for id, e := range ts.entries {
		if u, is := e.uncontrollable(id); is && e.view != nil && admits(e.view) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b job.Uncontrollable) int { return strings.Compare(string(a.Minion), string(b.Minion)) })
	return out
}

// matcher returns whether a target admits a minion. mu is held for as long as it
// is used. An expression that cannot be read admits none, and neither does one
// whose groups are not known: it was refused when its job was applied, so it was
// written by a version that reads more, or the groups have changed since.
func (ts *targets) matcher(t job.Target) func(*job.Minion) bool {
	if t.Match == "" {
		return func(m *job.Minion) bool { return t.Matches(m.ID, m.Labels) }
	}
	expr, err := target.Parse(t.Match)
	if err != nil {
		return func(*job.Minion) bool { return false }
	}
	bound, err := expr.Bind(ts.groups)
	if err != nil {
		return func(*job.Minion) bool { return false }
	}
	names := ts.names()
	return func(m *job.Minion) bool {
		if !t.Matches(m.ID, m.Labels) {
			return false
		}
		host := target.HostOf(m, names)
		return bound.Match(&host).Matched
	}
}

// setGroup saves a group of hosts, in place of an earlier one of that name.
func (ts *targets) setGroup(name string, expr *target.Expr) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.groups == nil {
		ts.groups = target.Groups{}
	}
	ts.groups[name] = expr
	ts.found.targetsChanged()
}

// removeGroup forgets a saved group of hosts.
func (ts *targets) removeGroup(name string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.groups, name)
	ts.found.targetsChanged()
}

func targetKey(t job.Target) string {
	var b strings.Builder
	b.WriteString(t.Match + "\x00")
	for _, n := range t.Names {
		b.WriteString(n + "\x00")
	}
	b.WriteByte(1)
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		b.WriteString(k + "\x00" + t.Labels[k] + "\x00")
	}
	return b.String()
}
