package mode

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// The cluster of a simulation: what etcd would hold, and its nodes.
type cluster struct {
	t    *testing.T
	mode Mode

	mu sync.Mutex
	// mu guards all below.
	spec  job.GroupSpec
	nodes map[job.NodeID]*simNode
	owner job.NodeID
	line  []Place
	mem   map[job.NodeID]*Memory
	since int64 // of the owner
	due   int64 // of what fires next
	fired []firing
	moves []move
	// changed is when the membership changed last; events counts that.
	changed int64
	events  int
	lost    job.NodeID // the owner whose lease ended last
}

// simNode is a node: its lease lives until expires, when it has crashed.
type simNode struct {
	Node

	crashed bool
	stuck   bool
	expires int64
	stop    chan struct{}
}

type firing struct {
	at, done int64
	by       job.NodeID // empty: skipped
	stable   bool       // the membership had not changed for a while
}

type move struct {
	at       int64
	from, to job.NodeID
	healthy  int64 // of the new owner, at the time
	holdOff  time.Duration
}

const (
	simTTL = 3 * time.Second
	// simTick is a tenth of the shortest time that matters: looks are most of what a
	// simulation costs.
	simTick = 100 * time.Millisecond
	// period is how often something is due.
	period = time.Second
)

// everyNode are the nodes that come and go, in order.
func everyNode() [5]job.NodeID { return [...]job.NodeID{"a", "b", "c", "d", "e"} }

func newCluster(t *testing.T, spec job.GroupSpec) *cluster {
	m, ok := Find(spec.Mode)
	if !ok {
		t.Fatalf("no mode %q", spec.Mode)
	}
	return &cluster{t: t, mode: m, spec: spec, nodes: map[job.NodeID]*simNode{}, mem: map[job.NodeID]*Memory{}, due: time.Now().Add(period).UnixNano()}
}

func (c *cluster) join(id job.NodeID, priority int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	n := &simNode{Node: Node{ID: id, Priority: priority, Capacity: 1, Healthy: now}, stop: make(chan struct{})}
	c.nodes[id] = n
	c.toTail(id, now)
	c.changed, c.events = now, c.events+1
	go c.run(n)
}

// leave ends a node in good order: what it holds goes on at once.
func (c *cluster) leave(id job.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[id]
	close(n.stop)
	delete(c.nodes, id)
	c.offLine(id)
	c.changed, c.events = time.Now().UnixNano(), c.events+1
	if c.owner == id {
		c.owner = ""
		s := c.situation(id)
		c.give(c.mode.Holder(&s).Holder)
	}
}

// crash ends a node without a word: its lease ends later.
func (c *cluster) crash(id job.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[id]
	close(n.stop)
	n.crashed, n.Healthy, n.expires = true, 0, time.Now().Add(simTTL).UnixNano()
	c.changed, c.events = time.Now().UnixNano(), c.events+1
}

// expire frees what lies on ended leases. The caller holds mu.
func (c *cluster) expire(now int64) {
	for id, n := range c.nodes {
		if n.crashed && now >= n.expires {
			delete(c.nodes, id)
			c.offLine(id)
			c.changed = now
			if c.owner == id {
				c.owner, c.lost = "", id
			}
		}
	}
}

func (c *cluster) toTail(id job.NodeID, now int64) {
	c.offLine(id)
	c.line = append(c.line, Place{Node: id, Since: now})
}

func (c *cluster) offLine(id job.NodeID) {
	c.line = slices.DeleteFunc(c.line, func(p Place) bool { return p.Node == id })
}

// situation is what a node sees. The caller holds mu.
func (c *cluster) situation(id job.NodeID) Situation {
	s := Situation{Shard: job.FirstGroupShard, Spec: &c.spec, Now: time.Now().UnixNano(), Owner: c.owner, Line: slices.Clone(c.line)}
	s.Nodes = make([]Node, 0, len(c.nodes))
	for _, id := range everyNode() {
		if n := c.nodes[id]; n != nil {
			s.Nodes = append(s.Nodes, n.Node)
		}
	}
	if c.owner != "" {
		s.Due, s.Since = c.due, c.since
	}
	if id == c.owner || c.owner == "" {
		for _, m := range c.mem {
			s.Memory = append(s.Memory, *m)
		}
	}
	return s
}

// give makes a node the owner. The caller holds mu.
func (c *cluster) give(to job.NodeID) {
	if to == "" || c.nodes[to] == nil {
		return
	}
	s := c.situation(c.owner)
	c.moves = append(c.moves, move{at: s.Now, from: c.owner, to: to, healthy: c.nodes[to].Healthy, holdOff: s.holdOff(to)})
	if c.owner != "" && c.mode.Lined {
		c.toTail(c.owner, s.Now)
	}
	c.owner, c.since = to, s.Now
}

func (c *cluster) run(n *simNode) {
	tick := time.NewTicker(simTick)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
			c.look(n)
		}
	}
}

// look is what a node does now and then.
func (c *cluster) look(n *simNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	c.expire(now)
	if n.stuck || n.crashed || c.nodes[n.ID] != n {
		return
	}
	if n.ID != c.owner && !slices.ContainsFunc(c.line, func(p Place) bool { return p.Node == n.ID }) {
		c.toTail(n.ID, now)
	}
	s := c.situation(n.ID)
	v := c.mode.Holder(&s)
	if v.Holder != "" && c.nodes[v.Holder] == nil {
		c.t.Errorf("M1: the verdict is %s, which is not there", v.Holder)
	}
	switch {
	case v.Seize && c.owner != v.Holder && v.Holder == n.ID:
		if s.Now < max(s.Due, s.Since)+int64(c.spec.EffectiveGrace()) {
			c.t.Errorf("M6: %s seizes before the grace", n.ID)
		}
		stuck := c.owner
		c.give(n.ID)
		c.offLine(stuck) // until it is well
	case c.owner == "" && v.Holder == n.ID:
		if c.lost != "" {
			m := c.mem[c.lost]
			if m == nil {
				m = &Memory{Node: c.lost}
				c.mem[c.lost] = m
			}
			m.Flaps = Flaps(*m, c.spec.EffectiveHoldOff(), now) + 1
			m.LastFlap, c.lost = now, ""
		}
		c.give(n.ID)
	case c.owner == n.ID && v.Holder != n.ID && !v.Seize:
		c.give(v.Holder)
	}
	if c.owner == n.ID {
		c.fire(n, now)
	}
}

// fire commits what is due. The caller holds mu.
func (c *cluster) fire(n *simNode, now int64) {
	for c.due <= now && c.owner == n.ID {
		s := c.situation(n.ID)
		f := firing{at: c.due, done: now, by: n.ID, stable: now-c.changed > int64(2*period)}
		if c.mode.Fires != nil {
			turn := c.mode.Fires(&s, c.due)
			if turn.Node != "" && turn.Node != n.ID {
				return
			}
			f.by = turn.Node
		}
		c.fired = append(c.fired, f)
		c.due += int64(period)
		if c.mode.Passes != nil {
			if next := c.mode.Passes(&s); next != "" {
				c.give(next)
			}
		}
	}
}

// simulate lets nodes come and go for a while, and returns what happened.
func simulate(t *testing.T, seed uint64, spec job.GroupSpec, stuck bool) *cluster {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newCluster(t, spec)
	all := everyNode()
	for i, id := range all[:3] {
		c.join(id, 10-i)
	}
	for range 60 {
		time.Sleep(time.Duration(1+rnd.IntN(12)) * time.Second)
		i := rnd.IntN(len(all))
		id := all[i]
		c.mu.Lock()
		n, alive := c.nodes[id], 0
		for _, o := range c.nodes {
			if !o.crashed && !o.stuck {
				alive++
			}
		}
		c.mu.Unlock()
		switch {
		case n == nil:
			c.join(id, 10-i)
		case n.crashed:
		case stuck && n.stuck:
			c.mu.Lock()
			n.stuck = false
			c.mu.Unlock()
		case alive < 2:
		case stuck && rnd.IntN(2) == 0:
			c.mu.Lock()
			n.stuck, c.changed = true, time.Now().UnixNano()
			c.mu.Unlock()
		case rnd.IntN(2) == 0:
			c.leave(id)
		default:
			c.crash(id)
		}
	}
	time.Sleep(time.Minute) // everything settles
	c.mu.Lock()
	for _, n := range c.nodes {
		if !n.crashed {
			close(n.stop)
		}
	}
	c.mu.Unlock()
	synctest.Wait()
	return c
}

// overRuns runs a simulation per seed, each with a clock of its own.
func overRuns(t *testing.T, spec job.GroupSpec, stuck bool, check func(*testing.T, *cluster)) {
	t.Helper()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := simulate(t, seed, spec, stuck)
				// At most one firer per occurrence, and none missing.
				for i, f := range c.fired {
					if i > 0 && f.at != c.fired[i-1].at+int64(period) {
						t.Errorf("%d follows %d", f.at, c.fired[i-1].at)
					}
				}
				if behind := time.Duration(time.Now().UnixNano() - c.due); behind > 2*period {
					t.Errorf("what was due %v ago has not fired; owner %q", behind, c.owner)
				}
				check(t, c)
			})
		})
	}
}

// quietly is how late anything may be when nodes crash: the owner's lease has to
// end, and those of the nodes that were to follow it and have crashed too.
const quietly = 3*simTTL + 2*period

func checkLateness(t *testing.T, c *cluster, most time.Duration) {
	t.Helper()
	for _, f := range c.fired {
		if late := time.Duration(f.done - f.at); late > most {
			t.Errorf("an occurrence fired %v late, at most %v are allowed", late, most)
		}
	}
}

func TestM2M3_Failover(t *testing.T) {
	t.Parallel()
	overRuns(t, job.GroupSpec{Mode: "failover"}, false, func(t *testing.T, c *cluster) {
		checkLateness(t, c, quietly)
		for _, m := range c.moves {
			if m.from != "" {
				t.Errorf("M3: the lock went from %s, which lived, to %s", m.from, m.to)
			}
		}
	})
}

func TestM3_FailbackWaits(t *testing.T) {
	t.Parallel()
	spec := job.GroupSpec{Mode: "failback", HoldOff: job.Duration(7 * time.Second)}
	overRuns(t, spec, false, func(t *testing.T, c *cluster) {
		checkLateness(t, c, quietly)
		for _, m := range c.moves {
			if m.from != "" && m.at-m.healthy < int64(m.holdOff) {
				t.Errorf("M3: %s got the lock back after %v, its hold-off is %v", m.to, time.Duration(m.at-m.healthy), m.holdOff)
			}
		}
		if most := 2*c.events + 1; len(c.moves) > most {
			t.Errorf("M2: %d moves at %d events", len(c.moves), c.events)
		}
	})
}

func TestM3_HoldOffDoubles(t *testing.T) {
	t.Parallel()
	spec := job.GroupSpec{Mode: "failback", HoldOff: job.Duration(10 * time.Second)}
	s := Situation{Spec: &spec, Now: 1e18}
	for flaps, want := range []time.Duration{10, 10, 20, 40, 80} {
		s.Memory = []Memory{{Node: "a", Flaps: flaps, LastFlap: s.Now}}
		if got := s.holdOff("a"); got != want*time.Second {
			t.Errorf("after %d flaps the hold-off is %v, want %v", flaps, got, want*time.Second)
		}
	}
	s.Memory[0].LastFlap = s.Now - int64(350*time.Second) // three quiet times
	if got := s.holdOff("a"); got != 10*time.Second {
		t.Errorf("after quiet times the hold-off is %v, want it to decay", got)
	}
}

func TestM2_PreemptByPriority(t *testing.T) {
	t.Parallel()
	overRuns(t, job.GroupSpec{Mode: "preempt", Grace: job.Duration(2 * time.Second)}, false, func(t *testing.T, c *cluster) {
		checkLateness(t, c, quietly)
		if most := 2*c.events + 1; len(c.moves) > most {
			t.Errorf("M2: %d moves at %d events", len(c.moves), c.events)
		}
		best := job.NodeID("")
		for id, n := range c.nodes {
			if best == "" || n.Priority > c.nodes[best].Priority {
				best = id
			}
		}
		if c.owner != best {
			t.Errorf("after a minute %s holds the lock, want %s of the highest priority", c.owner, best)
		}
	})
}

// checkTurns holds the turns of quiet times against a ring.
func checkTurns(t *testing.T, c *cluster) {
	t.Helper()
	var turns []job.NodeID
	check := func() {
		seen := map[job.NodeID]int{}
		for _, id := range turns {
			seen[id]++
		}
		n := len(seen)
		for i := n; i < len(turns); i++ {
			if turns[i] != turns[i-n] {
				t.Errorf("M4: turn %d is of %s, that of a round before of %s (%v)", i, turns[i], turns[i-n], turns)
				break
			}
		}
		turns = nil
	}
	for _, f := range c.fired {
		if !f.stable {
			check()
			continue
		}
		turns = append(turns, f.by)
	}
	check()
}

func TestM4_RoundRobin(t *testing.T) {
	t.Parallel()
	overRuns(t, job.GroupSpec{Mode: "roundrobin"}, false, func(t *testing.T, c *cluster) {
		checkLateness(t, c, quietly)
		checkTurns(t, c)
	})
}

func TestM6_RoundRobinPreempt(t *testing.T) {
	t.Parallel()
	spec := job.GroupSpec{Mode: "roundrobin-preempt", Grace: job.Duration(2 * time.Second)}
	overRuns(t, spec, false, func(t *testing.T, c *cluster) {
		checkLateness(t, c, quietly)
		checkTurns(t, c)
	})
	overRuns(t, spec, true, func(t *testing.T, c *cluster) {
		checkLateness(t, c, 2*time.Minute) // stuck nodes come one after another, and add up
	})
}

func TestM5_Timeslice(t *testing.T) {
	t.Parallel()
	for _, onLoss := range []job.Loss{job.LossTakeover, job.LossSkip} {
		ring := []job.NodeID{"a", "b", "c", "d", "e"}
		spec := job.GroupSpec{Mode: "timeslice", Slice: job.Duration(4 * time.Second), Nodes: ring, OnLoss: onLoss}
		overRuns(t, spec, false, func(t *testing.T, c *cluster) {
			checkLateness(t, c, quietly)
			for _, f := range c.fired {
				want := ring[f.at/int64(4*time.Second)%5]
				if onLoss == job.LossSkip && f.by != want && f.by != "" {
					t.Errorf("M5: %s fired in the slice of %s", f.by, want)
				}
			}
			// In the end, with nothing changing, the ring alone decides.
			for _, f := range c.fired[len(c.fired)-20:] {
				want := ring[f.at/int64(4*time.Second)%5]
				if c.nodes[want] != nil && f.by != want {
					t.Errorf("M5: %s fired in the slice of %s, which lives", f.by, want)
				}
			}
		})
	}
}

func TestM7_Shares(t *testing.T) {
	t.Parallel()
	spec := job.GroupSpec{Mode: "parallel"}
	m, _ := Find("parallel")
	s := Situation{Spec: &spec, Nodes: []Node{{ID: "a", Site: "x", Priority: 1}, {ID: "b", Site: "x", Priority: 2}, {ID: "c", Site: "y"}, {ID: "d"}}}
	if got := m.Shares(&s); !slices.Equal(got, []job.NodeID{"a", "b", "c", "d"}) {
		t.Errorf("shares of %v, want every node's", got)
	}
	spec.Spread = "site"
	if got := m.Shares(&s); !slices.Equal(got, []job.NodeID{"b", "c"}) {
		t.Errorf("shares of %v, want one per site: the first choice of each", got)
	}
}
