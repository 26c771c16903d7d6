package scheduler

import (
	"cmp"
	"hash/maphash"
	"math/rand/v2"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

// chooser says which minions a fire is for, and in which order its tasks start.
type chooser struct {
	minions Minions
	// roles say what bounds come to now. Nil: what they were.
	roles Roles
	// held is what bounds the fires of jobs, by what is planned of these, as of a version
	// of the roles.
	held        map[*plan.Optional]*held
	heldVersion uint64
	// seed spreads fires over minions.
	seed maphash.Seed
}

// shareSpread is as much of a share's number as moves it to another minion.
const shareSpread = 0xff

// reach returns which minions of those that are to run a fire get orders, and which do
// not: those that it is for, or that the target matches. Where it is not to run on all
// of these, nobody asks for the others.
func (c *chooser) reach(f *fire, target job.Target) (ready []job.MinionID, away []job.Uncontrollable) {
	if isQueue(target) {
		return c.minions.Match(target), nil
	}
	target = c.within(f, target)
	switch {
	case len(f.hosts) > 0:
		return c.hosts(f)
	case target.EffectiveRun() == job.SpreadEach:
		ready, away = c.minions.Reach(target)
		return ready, c.eachAway(ready, away, target.By)
	case target.EffectiveRun() != job.SpreadAll:
		return c.minions.Match(target), nil
	}
	return c.minions.Reach(target)
}

// isQueue reports whether a target is a queue in the place of a minion.
func isQueue(t job.Target) bool { return len(t.Names) == 1 && job.MinionID(t.Names[0]).IsQueue() }

// hosts returns which of the minions that a fire is for get orders, and which do not.
func (c *chooser) hosts(f *fire) (ready []job.MinionID, away []job.Uncontrollable) {
	all, others := c.minions.Reach(c.within(f, job.Target{}))
	why := make(map[job.MinionID]job.Uncontrollable, len(others))
	for _, u := range others {
		why[u.Minion] = u
	}
	for _, h := range f.hosts {
		if _, ok := slices.BinarySearch(all, h); ok {
			ready = append(ready, h)
			continue
		}
		u, ok := why[h]
		if !ok {
			u = job.Uncontrollable{Minion: h, Reason: "not known to the cluster"}
			if f.isBounded() {
				u.Reason += ", or not one that this may be started on"
			}
		}
		away = append(away, u)
	}
	return ready, away
}

// choose returns the minions for an attempt: all that match, or one of them,
// spread evenly by the fire's identity.
func (c *chooser) choose(f *fire, target job.Target, attempt int) []job.MinionID {
	if !isQueue(target) {
		target = c.within(f, target)
	}
	return c.pick(f, c.minions.Match(target), target, attempt)
}

// away returns the minions that a fire is for and that take no orders.
func (c *chooser) away(f *fire, t job.Target) []job.Uncontrollable {
	if len(f.hosts) > 0 {
		_, away := c.hosts(f)
		return away
	}
	ready, away := c.minions.Reach(c.within(f, t))
	if t.EffectiveRun() == job.SpreadEach {
		return c.eachAway(ready, away, t.By)
	}
	return away
}

// arrange puts the tasks of a fire into the rollout's order, canaries first, and
// returns how many of these there are.
func (c *chooser) arrange(tasks []*task, r *job.Rollout) int {
	byName := func(a, b *task) int { return job.CompareNames(string(a.minion), string(b.minion)) }
	switch r.Order {
	case job.OrderShuffle:
		rand.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	case job.OrderLabel:
		values := make(map[job.MinionID]string, len(tasks))
		for _, t := range tasks {
			values[t.minion] = c.minions.Value(t.minion, r.OrderBy)
		}
		slices.SortStableFunc(tasks, func(a, b *task) int {
			return cmp.Or(job.CompareNames(values[a.minion], values[b.minion]), byName(a, b))
		})
	default:
		slices.SortStableFunc(tasks, byName)
	}
	if r.Canary == "" && r.CanaryCount == 0 {
		return 0
	}
	first := c.isCanary(r) // asked once: minions come and go
	var canaries, others []*task
	for _, t := range tasks {
		if first(t) {
			canaries = append(canaries, t)
		} else {
			others = append(others, t)
		}
	}
	copy(tasks, append(canaries, others...))
	if r.CanaryCount > 0 {
		return min(len(canaries), r.CanaryCount)
	}
	return len(canaries)
}

// isCanary returns what tells the tasks that may be canaries.
func (c *chooser) isCanary(r *job.Rollout) func(*task) bool {
	if r.Canary == "" {
		return func(t *task) bool { return t.report == nil }
	}
	found := c.minions.Match(job.Target{Match: r.Canary})
	return func(t *task) bool {
		_, ok := slices.BinarySearch(found, t.minion)
		return ok && t.report == nil
	}
}
