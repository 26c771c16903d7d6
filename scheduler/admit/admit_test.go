package admit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// asked is a task under a bound.
type asked struct {
	holder Holder
	bounds map[cluster.Cap]int
	over   bool
}

func (a *asked) Holder() Holder              { return a.holder }
func (a *asked) Bounds() map[cluster.Cap]int { return a.bounds }
func (a *asked) Over() bool                  { return a.over }

// counter is an owner without a shard, and a book without etcd: each round is done at
// once, and what is to be told of it waits in told.
type counter struct {
	*Admission

	now     int64
	asksAt  map[*Run]int64
	ended   map[*Run]bool
	open    map[Holder]struct{}
	stored  map[cluster.Cap]*etcdkv.Permits
	rounds  int
	told    []func()
	failed  error
	refuses error
}

var rack = cluster.Cap{Label: "rack", Value: "a"}

func newCounter() *counter {
	c := &counter{asksAt: map[*Run]int64{}, ended: map[*Run]bool{}, open: map[Holder]struct{}{}, stored: map[cluster.Cap]*etcdkv.Permits{rack: {}}, now: 1}
	c.Admission = New(&Owner{
		Shard:    1,
		AskAgain: func(r *Run, at int64) { c.asksAt[r] = at },
		Ended:    func(r *Run) bool { return c.ended[r] },
		Capped:   func() map[Holder]struct{} { return c.open },
		Fail:     func(err error) { c.failed = err },
		Now:      func() int64 { return c.now },
		Do:       func(fn func()) { c.told = append(c.told, fn) },
		Go:       func(fn func(context.Context)) { fn(context.Background()) },
		Spare:    func(func(context.Context)) bool { return false },
	}, &Deps{Caps: func() *cluster.Caps { return &cluster.Caps{} }, Logger: zap.NewNop(), Book: c})
	return c
}

func (c *counter) Do(_ context.Context, r *Round) error {
	c.rounds++
	r.Decide(c.stored)
	r.Seen = map[cluster.Cap]cluster.CapCount{rack: {Rev: int64(c.rounds), Count: c.stored[rack].Count()}}
	return c.refuses
}

func (c *counter) Read(context.Context) (map[Holder][]cluster.Cap, error) {
	out := map[Holder][]cluster.Cap{}
	for _, h := range c.stored[rack].Holders {
		for _, m := range h.Minions {
			out[Holder{h.Fire, m}] = []cluster.Cap{rack}
		}
	}
	return out, c.refuses
}

func (*counter) Collect(context.Context, cluster.Cap) error { return nil }

// tend does rounds until there is no more to do.
func (c *counter) tend() {
	for range 10 {
		c.TendPermits(false)
		told := c.told
		c.told = nil
		for _, fn := range told {
			fn()
		}
	}
}

// task returns a task of a run on a minion, at most so many of which may be under way.
func (c *counter) task(r *Run, m job.MinionID, most int) *asked {
	return &asked{holder: Holder{r.ID, m}, bounds: map[cluster.Cap]int{rack: most}}
}

// I18: a task gets leave to start once its permit is stored, and not before; who is
// refused asks again when there is room.
func TestI18_LeaveComesWithThePermit(t *testing.T) {
	t.Parallel()
	c := newCounter()
	r, o := at(1), at(2)
	one, two := c.task(r, "m1", 1), c.task(o, "m2", 1)
	if a := c.Ask(r, one, nil, c.now); a != No {
		t.Errorf("%d before what earlier owners have left is read", a)
	}
	c.tend()
	if a := c.Ask(r, one, nil, c.now); a != Asked || c.stored[rack].Count() != 0 {
		t.Errorf("%d, and %d are stored", a, c.stored[rack].Count())
	}
	if a := c.Ask(o, two, nil, c.now); a != No || c.asksAt[o] <= c.now {
		t.Errorf("%d while another asks, to ask again at %d", a, c.asksAt[o])
	}
	if why, queued := c.Why(o); !strings.Contains(why, `where rack is "a"; its clusterMaxPer is 1`) || queued {
		t.Errorf("told %q, queued: %v", why, queued)
	}
	c.now++
	c.tend()
	if a := c.Ask(r, one, nil, c.now); a != Yes || c.asksAt[r] != c.now || c.stored[rack].Count() != 1 {
		t.Errorf("%d, to ask again at %d, and %d are stored", a, c.asksAt[r], c.stored[rack].Count())
	}
	c.now++
	one.over, c.ended[r] = true, true
	c.End(r, []Holder{one.holder})
	c.tend()
	if c.stored[rack].Count() != 0 || c.asksAt[o] != c.now {
		t.Errorf("%d count once it has ended, and the other asks again at %d", c.stored[rack].Count(), c.asksAt[o])
	}
	c.Anew(o)
	if why, _ := c.Why(o); why != "" || c.Ask(o, two, nil, c.now) != Asked {
		t.Errorf("the other does not get its turn; told %q", why)
	}
}

// A task that has ended while it asked gives its permit back; one of which another
// attempt has taken the place asks for none.
func TestWhatIsOverWantsNoPermit(t *testing.T) {
	t.Parallel()
	c := newCounter()
	c.Sweep()
	c.tend()
	r := at(1)
	one, two, gone := c.task(r, "m1", 5), c.task(r, "m2", 5), &asked{holder: Holder{r.ID, "m3"}}
	if c.Ask(r, one, nil, 1) != Asked || c.Ask(r, two, nil, 1) != Asked || c.Ask(r, gone, nil, 1) != No {
		t.Fatal("not asked for")
	}
	one.over = true
	c.TendPermits(false) // the round is done, and its outcome not known yet
	two.over = true
	c.tend()
	if n := c.stored[rack].Count(); n != 0 || c.IsFirst(one.holder) || c.IsFirst(two.holder) {
		t.Errorf("%d count, and nothing is to start", n)
	}
}

// A permit of an earlier owner is that of its task, and those of others are given back;
// a failure ends the ownership.
func TestI18_WhatEarlierOwnersHaveLeft(t *testing.T) {
	t.Parallel()
	c := newCounter()
	r := at(1)
	goes, over := Holder{r.ID, "m1"}, Holder{r.ID, "m2"}
	c.stored[rack].Add(r.ID, 1, goes.Minion)
	c.stored[rack].Add(r.ID, 1, over.Minion)
	c.open[goes] = struct{}{}
	c.Sweep()
	c.tend()
	if !c.Used() || !c.Holds(goes) || c.Holds(over) || c.stored[rack].Count() != 1 {
		t.Errorf("used: %v; held: %v, %v; %d count", c.Used(), c.Holds(goes), c.Holds(over), c.stored[rack].Count())
	}
	c.refuses = errors.New("gone")
	c.GiveBack(goes)
	c.tend()
	if !errors.Is(c.failed, c.refuses) {
		t.Errorf("failed: %v", c.failed)
	}
}

// Who has to wait for its group asks for no permit, and is told of the group.
func TestGroupComesBeforeThePermit(t *testing.T) {
	t.Parallel()
	c := newCounter()
	c.Sweep()
	c.tend()
	g := &cluster.Group{Spec: job.GroupSpec{Ordered: true}}
	first, second := at(1), at(2)
	c.Join(first)
	c.Join(second)
	if a := c.Ask(second, c.task(second, "m", 1), g, 1); a != No || c.IsFirst(Holder{second.ID, "m"}) {
		t.Errorf("%d behind another, and asked for a permit: %v", a, c.IsFirst(Holder{second.ID, "m"}))
	}
	if why, queued := c.Why(second); !strings.Contains(why, "the group is ordered") || !queued {
		t.Errorf("told %q, queued: %v", why, queued)
	}
	if a := c.Ask(first, nil, g, 1); a != Yes {
		t.Errorf("%d of one that is under no bound", a)
	}
	if why, _ := c.Why(nil); why != "" {
		t.Errorf("who has not asked waits: %q", why)
	}
}

// The group's lock is asked for once its lease is stored: the next owner knows of
// every hold then. A name that has changed is taken up when no run holds the old one.
func TestLockIsAskedForOnceItsLeaseIsStored(t *testing.T) {
	t.Parallel()
	var stored []string
	var then func()
	var ran int
	o := &Owner{
		Now: func() int64 { return int64(time.Hour) }, Go: func(func(context.Context)) { ran++ },
		Ended:     func(*Run) bool { return false },
		AskAgain:  func(*Run, int64) {},
		StoreLock: func(name string, _ int64, fn func()) { stored, then = append(stored, name), fn },
	}
	a := New(o, &Deps{Logger: zap.NewNop()})
	g := &cluster.Group{Spec: job.GroupSpec{Mutex: "m"}}
	first, second := at(1), at(2)
	a.Join(first)
	a.Join(second)
	if a.Pass(first, g) || ran != 1 {
		t.Fatalf("%d began, want the grant of a lease", ran)
	}
	a.lock.set("m", 7)
	if a.Pass(second, g); ran != 1 {
		t.Error("the lock is asked for, and its lease is not stored yet")
	}
	if why, queued := a.Why(second); why != "waiting for the lock m of its group" || !queued {
		t.Errorf("told %q, queued: %v", why, queued)
	}
	then()
	if ran != 3 || !slices.Equal(stored, []string{"m"}) {
		t.Errorf("%d began, want the lock to be asked for twice; stored: %v", ran, stored)
	}
	a.lock.got(first)
	g.Spec.Mutex = "other"
	third := at(3)
	a.Join(third)
	if a.Pass(third, g); ran != 4 || a.lock.name != "m" || !a.Pass(first, g) {
		t.Errorf("%d began, the lock is %s: the old name is held still", ran, a.lock.name)
	}
	a.End(first, nil)
	if first.hold != nothing || ran != 5 {
		t.Errorf("the lock is not given back: %d began", ran)
	}
}
