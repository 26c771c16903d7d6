package scheduler

import (
	"hash/maphash"
	"maps"
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// pick returns those of the minions that match which an attempt is for, as the target's
// spread says. Neighbours among shares get different ones where there are enough.
func (c *chooser) pick(f *fire, found []job.MinionID, target job.Target, attempt int) []job.MinionID {
	if len(found) == 0 {
		return nil
	}
	base := f.id
	base.Share = 0
	turn := maphash.Comparable(c.seed, base) + uint64(f.id.Share&shareSpread) + uint64(attempt) // an attempt is positive
	switch target.EffectiveRun() {
	case job.SpreadAll:
		return found
	case job.SpreadAny:
		if len(found) < target.Count {
			return nil
		}
		return c.take(turn, found, target.Prefer, target.Count)
	case job.SpreadEach:
		var out []job.MinionID
		by := c.byValue(found, target.By)
		for _, value := range slices.Sorted(maps.Keys(by)) {
			out = append(out, c.take(turn, by[value], target.Prefer, 1)...)
		}
		slices.Sort(out)
		return out
	case job.SpreadOne:
	}
	return c.take(turn, found, target.Prefer, 1)
}

// take returns so many of the minions, of which there are enough: from that on whose turn
// it is, and those that are preferred first.
func (c *chooser) take(turn uint64, found []job.MinionID, prefer string, want int) []job.MinionID {
	if prefer == "" {
		return rotated(turn, found, want)
	}
	liked := c.minions.Match(job.Target{Match: prefer})
	var first, others []job.MinionID
	for _, m := range found {
		if _, is := slices.BinarySearch(liked, m); is {
			first = append(first, m)
		} else {
			others = append(others, m)
		}
	}
	out := rotated(turn, first, min(want, len(first)))
	return append(out, rotated(turn, others, want-len(out))...)
}

// rotated returns so many of the minions, from that on whose turn it is.
func rotated(turn uint64, found []job.MinionID, want int) []job.MinionID {
	if want == 0 {
		return nil
	}
	rest := found[turn%uint64(len(found)):]
	if len(rest) >= want {
		return rest[:want:want]
	}
	return append(slices.Clone(rest), found[:want-len(rest)]...)
}

// byValue returns the minions by their values of a label; those without are left out.
func (c *chooser) byValue(found []job.MinionID, label string) map[string][]job.MinionID {
	out := map[string][]job.MinionID{}
	for _, m := range found {
		if v := c.minions.Value(m, label); v != "" {
			out[v] = append(out[v], m)
		}
	}
	return out
}

// eachAway returns one minion of each value of the label of which none gets orders.
func (c *chooser) eachAway(ready []job.MinionID, away []job.Uncontrollable, label string) []job.Uncontrollable {
	told := c.byValue(ready, label)
	var out []job.Uncontrollable
	for _, u := range away {
		v := c.minions.Value(u.Minion, label)
		if _, is := told[v]; v != "" && !is {
			told[v] = nil
			out = append(out, u)
		}
	}
	return out
}
