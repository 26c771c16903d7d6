package clock

import (
	"cmp"
	"slices"
	"time"
)

// Others are the clocks that ours is compared with.
type Others struct {
	Nodes, Minions []Reading
}

// within returns those readings that are worth something beside a bound.
func within(rs []Reading, bound time.Duration) []Reading {
	return slices.DeleteFunc(slices.Clone(rs), func(r Reading) bool { return r.Err > bound/2 })
}

// jury returns who is asked besides the node itself: see the package's table.
func (o Others) jury(bound time.Duration) (jury []Reading, nodes int) {
	jury = within(o.Nodes, bound)
	nodes = len(jury)
	if nodes >= 2 {
		return jury, nodes
	}
	if all := append(slices.Clone(jury), within(o.Minions, bound)...); len(all) >= 2 {
		return all, nodes
	}
	return jury, nodes
}

// apart returns how far the only minion's clock is ahead of an origin for sure; 0: it
// may be as far, or there is none.
func (o Others) apart(origin int64, bound time.Duration) (by time.Duration, paired bool) {
	minions := within(o.Minions, bound)
	if len(minions) != 1 {
		return 0, false
	}
	by = off(origin, minions[0])
	if minions[0].Origin < origin {
		by = -by
	}
	return by, true
}

// most returns the clock of most: an instant has come when more than half of them
// say so. There must be one at least.
func most(clocks []Reading) Reading {
	sorted := slices.SortedFunc(slices.Values(clocks), func(a, b Reading) int { return cmp.Compare(a.Origin, b.Origin) })
	return sorted[(len(sorted)-1)/2]
}

// agree counts the clocks that differ from one by no more than a bound.
func agree(clocks []Reading, with Reading, bound time.Duration) int {
	n := 0
	for _, c := range clocks {
		if off(c.Origin, with) <= bound {
			n++
		}
	}
	return n
}

// off returns how far an origin is from a reading for sure, either way.
func off(origin int64, from Reading) time.Duration {
	return max(time.Duration(max(origin-from.Origin, from.Origin-origin))-from.Err, 0)
}

// slack is how far a clock may be off the clock of most, besides the error, before
// it is corrected: less is not worth a jump.
const slack = int64(10 * time.Millisecond)

// toward moves an origin as near to a reading as is known that it must be.
func toward(origin int64, r Reading) int64 {
	e := int64(r.Err) + slack
	if origin >= r.Origin-e && origin <= r.Origin+e {
		return origin
	}
	return r.Origin
}
