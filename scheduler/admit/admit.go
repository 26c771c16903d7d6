package admit

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// Run is a fire's run as it asks for leave to start its tasks. It belongs to one
// Admission.
type Run struct {
	ID  job.FireID
	Job job.Key
	// Seq is the number of the slot that the fire was committed in.
	Seq uint64
	// Of is what the run is of. The package only passes it on.
	Of any

	place place
	hold  hold
	// giveUp ends its waiting for the group's lock. Nil until it waits.
	giveUp context.CancelFunc
	// held tells people which bound it waits for; empty: none.
	held string
}

// Answer says whether a task may start now.
type Answer uint8

const (
	// No: not now. The run is to ask again when it may be otherwise.
	No Answer = iota
	// Asked: it is being asked for, and the task counts meanwhile as one that starts.
	// The run is to ask again when there is an answer.
	Asked
	// Yes: the task may start.
	Yes
)

// Task is a task that asks for permits: it is under bounds of the cluster. Its functions
// are called by the owner's goroutine, also later, while it asks.
type Task interface {
	Holder() Holder
	// Bounds are the bounds that it is under; none: it may not start any more.
	Bounds() map[cluster.Cap]int
	// Over reports whether it needs no permit any more: it has ended, or its run has.
	Over() bool
}

// Owner is what an Admission works for: the owner of a shard, under one token. All of
// it but Do, and Token, is called by the owner's goroutine.
type Owner struct {
	Shard job.ShardID
	Token Token
	// AskAgain has a run ask again at an instant, or earlier. Ended reports whether it has
	// ended.
	AskAgain func(r *Run, at int64)
	Ended    func(r *Run) bool
	// Open returns the ids of the shard's open runs. Capped returns their tasks that have
	// not ended and are under bounds, and has each of those runs ask again.
	Open   func() map[job.RunID]bool
	Capped func() map[Holder]struct{}
	// StoreLock has the name and the lease of the group's lock stored; then, unless nil,
	// is called once they are.
	StoreLock func(name string, lease int64, then func())
	// Fail ends the ownership because of a write that failed.
	Fail func(error)
	Now  func() int64
	// Do has fn run by the owner's goroutine; Go runs fn in another, which the owner
	// waits for at its end: ctx ends then. Spare runs fn beside the owner, if somebody
	// has time for that.
	Do    func(fn func())
	Go    func(fn func(context.Context))
	Spare func(fn func(context.Context)) bool
}

// Token proves the ownership. All goroutines may use it.
type Token interface {
	Token() lock.Token
	Key() string
	Fence() clientv3.Cmp
	Held() bool
}

// Deps is what an Admission works with.
type Deps struct {
	Client *clientv3.Client
	Keys   etcdkv.Keys
	// Caps tells how many tasks count under each bound, as far as this node sees.
	Caps   func() *cluster.Caps
	Logger *zap.Logger
	// Book is where permits are kept. Nil: in etcd.
	Book Book
}

// Admission answers for one shard whether tasks may start. It belongs to the goroutine
// of the shard's owner, but for Used.
type Admission struct {
	Gate

	lock    groupLock
	permits permits
}

// New returns the admission of a shard.
func New(o *Owner, d *Deps) *Admission {
	book := d.Book
	if book == nil {
		book = &etcdBook{shard: o.Shard, token: o.Token, d: d}
	}
	return &Admission{lock: groupLock{o: o, d: d}, permits: newPermits(o, d, book)}
}

// Ask reports whether a task may start now. It asks the gate of the group (nil: the run
// is in none), the group's lock and, unless the task is nil, the bounds of the cluster,
// in this order: what most others wait for is asked for last, so that whoever gets it
// starts. Why tells what it waits for otherwise.
func (a *Admission) Ask(r *Run, t Task, g *cluster.Group, now int64) Answer {
	switch {
	case !a.Pass(r, g):
		return No
	case t == nil:
		return Yes
	}
	return a.permits.ask(r, t, now)
}

// Pass reports whether a run may go on as far as its group goes.
func (a *Admission) Pass(r *Run, g *cluster.Group) bool {
	if g == nil {
		return true
	}
	a.Rules(&g.Spec)
	return a.enter(r) && a.lock.pass(r, g)
}

// Why tells people what a run waits for; empty: it does not. queued: it waits for its
// group, so that nothing of it has begun.
func (a *Admission) Why(r *Run) (why string, queued bool) {
	switch {
	case r == nil:
		return "", false
	case r.hold == asking:
		return a.lock.why(), true
	case r.place == before:
		return a.why(), true
	}
	return r.held, false
}

// Anew forgets which bounds a run waited for: it asks again.
func (a *Admission) Anew(r *Run) {
	r.held = ""
	delete(a.permits.waiting, r)
}

// End gives back what a run has that has ended, but for its place at the gate, which
// it leaves when its record is in history.
func (a *Admission) End(r *Run, tasks []Holder) {
	a.Anew(r)
	for _, h := range tasks {
		a.GiveBack(h)
	}
	a.lock.free(r)
}

// Tend does what is due: it keeps the group's lock (nil: the shard is of no group that
// there is), and has the runs ask again that a change of the group may have let in.
func (a *Admission) Tend(g *cluster.Group, now int64) {
	if g == nil {
		return
	}
	for _, r := range a.changed(&g.Spec, g.Rev) {
		a.lock.o.AskAgain(r, now)
	}
	a.lock.tend(g, now)
}
