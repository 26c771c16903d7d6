package agentpush

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/job"
)

// maxMatches bounds each cache of what targets admit.
const maxMatches = 4096

// match returns the connected minions that the target admits, sorted. The
// result is shared and must not be changed.
func (i *Inventory) match(t job.Target) []job.MinionID {
	key := targetKey(t)
	i.mu.RLock()
	found, ok := i.matches[key]
	i.mu.RUnlock()
	if ok {
		return found
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return cached(&i.matches, key, func() []job.MinionID { return i.admitted(i.matcher(t)) })
}

// reach returns besides the minions that the target admits and that get no orders,
// sorted, by the same look: each minion is among one of the two. The results are
// shared and must not be changed.
func (i *Inventory) reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable) {
	key := targetKey(t)
	i.mu.RLock()
	ready, known := i.matches[key]
	away, ok := i.others[key]
	i.mu.RUnlock()
	if known && ok {
		return ready, away
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	admits := i.matcher(t)
	ready = cached(&i.matches, key, func() []job.MinionID { return i.admitted(admits) })
	return ready, cached(&i.others, key, func() []job.Uncontrollable { return i.excluded(admits) })
}

// admitted returns the minions that get orders and are admitted. mu is held.
func (i *Inventory) admitted(admits func(*job.Minion) bool) (ids []job.MinionID) {
	if i.sorted == nil {
		for id, e := range i.entries {
			if _, is := i.uncontrollable(id, e); !is {
				i.sorted = append(i.sorted, id)
			}
		}
		slices.Sort(i.sorted)
	}
	for _, id := range i.sorted {
		m := i.entries[id].described()
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
func (i *Inventory) excluded(admits func(*job.Minion) bool) (out []job.Uncontrollable) {
	for id, e := range i.entries {
		if u, is := i.uncontrollable(id, e); is && e.described() != nil && admits(e.described()) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b job.Uncontrollable) int { return strings.Compare(string(a.Minion), string(b.Minion)) })
	return out
}

// cached returns what a cache holds for a target, or what is found, and keeps that.
// The inventory's mu is held.
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

// uncontrollable tells whether a minion gets no orders, and why.
func (i *Inventory) uncontrollable(id job.MinionID, e *entry) (job.Uncontrollable, bool) {
	at := i.whereabouts(e)
	switch {
	case i.isOut(e):
		return job.Uncontrollable{Minion: id, Reason: "its certificate was revoked", Since: e.revoked}, true
	case at.node == "":
		return job.Uncontrollable{Minion: id, Reason: "not connected", Since: e.left.UTC()}, true
	}
	return job.Uncontrollable{Minion: id, Reason: at.trouble, Since: at.since}, at.trouble != ""
}

// matcher returns whether a target admits a minion. mu is held for as long as it
// is used. An expression that cannot be read admits none, and neither does one
// whose groups are not known: it was refused when its job was applied, so it was
// written by a version that reads more, or the groups have changed since.
func (i *Inventory) matcher(t job.Target) func(*job.Minion) bool {
	if t.Match == "" {
		return func(m *job.Minion) bool { return t.Matches(m.ID, m.Labels) }
	}
	expr, err := target.Parse(t.Match)
	if err != nil {
		return func(*job.Minion) bool { return false }
	}
	bound, err := expr.Bind(i.groups)
	if err != nil {
		return func(*job.Minion) bool { return false }
	}
	names := i.names()
	return func(m *job.Minion) bool {
		if !t.Matches(m.ID, m.Labels) {
			return false
		}
		host := target.HostOf(m, names)
		return bound.Match(&host).Matched
	}
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

// SetHostGroup saves a group of hosts, in place of an earlier one of that name.
// One that cannot be read is as if it was not there.
func (i *Inventory) SetHostGroup(name, match string) error {
	expr, err := target.Parse(match)
	if err != nil {
		i.RemoveHostGroup(name)
		return fmt.Errorf("group of hosts %s: %w", name, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.groups == nil {
		i.groups = target.Groups{}
	}
	i.groups[name], i.matches, i.others = expr, nil, nil
	return nil
}

// RemoveHostGroup forgets a saved group of hosts. What names it admits no minion
// from then on.
func (i *Inventory) RemoveHostGroup(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.groups, name)
	i.matches, i.others = nil, nil
}

// HostGroups returns the saved groups of hosts.
func (i *Inventory) HostGroups() target.Groups {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return maps.Clone(i.groups)
}
