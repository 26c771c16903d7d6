package queues

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// owner is the owner of a shard of jobs that sends occurrences to the queue of a cluster.
type owner struct {
	*cluster
	fires *Fires
	uid   job.UID
	at    int64
	token job.Token

	mu    sync.Mutex
	heard map[job.TaskID][]job.Report
}

const jobsShard = 9

func (c *cluster) owner() *owner {
	c.t.Helper()
	uid, err := job.NewUID()
	if err != nil {
		c.t.Fatal(err)
	}
	o := &owner{cluster: c, uid: uid, heard: map[job.TaskID][]job.Report{}}
	o.fires, err = NewFires(Config{Keys: c.keys}, Deps{Client: c.client, Logger: zaptest.NewLogger(c.t)}, func(reports []job.Report) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, r := range reports {
			o.heard[r.Task] = append(o.heard[r.Task], r)
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = o.fires.Run(ctx) }()
	c.t.Cleanup(func() { cancel(); <-done })
	o.own()
	return o
}

// own makes it the owner under a new token.
func (o *owner) own() {
	o.t.Helper()
	resp, err := o.client.Put(context.Background(), o.keys.Owner(jobsShard), "n1")
	if err != nil {
		o.t.Fatal(err)
	}
	o.token = job.Token{Epoch: 1, Revision: resp.Header.Revision}
}

// fire returns the order of a new occurrence.
func (o *owner) fire(payload string) job.Order {
	o.at++
	return job.Order{
		Task:  job.TaskID{Fire: job.FireID{Job: o.uid, At: o.at, Trigger: job.TriggerSchedule}, Minion: o.queue.Key().AsMinion(), Attempt: 1},
		Shard: jobsShard, Token: o.token, Term: 1, Key: job.Key{Namespace: "team", Name: "nightly"}, NotAfter: time.Now().Add(time.Hour),
		Item: &job.OrderItem{Priority: 2, Payload: payload}, Subject: "alice", Author: "fred",
	}
}

func (o *owner) ref(x job.Order) job.Ref {
	return job.Ref{Task: x.Task, Shard: x.Shard, Token: o.token, Term: 7}
}

// hears waits for a report of a task.
func (o *owner) hears(x job.Order, what string, is func(*job.Report) bool) job.Report {
	o.t.Helper()
	var found job.Report
	await.Missing(o.t, func() string {
		o.mu.Lock()
		defer o.mu.Unlock()
		for i := range o.heard[x.Task] {
			if found = o.heard[x.Task][i]; is(&found) {
				return ""
			}
		}
		return fmt.Sprintf("%s was not heard; but %+v", what, o.heard[x.Task])
	})
	return found
}

func (o *owner) ends(x job.Order, state job.State, reason string) job.Report {
	o.t.Helper()
	return o.hears(x, string(state)+" "+reason, func(r *job.Report) bool { return r.State == state && strings.Contains(r.Reason, reason) })
}

func isWaiting(r *job.Report) bool {
	return r.Known && r.State == job.StateRunning && r.StartedAt.IsZero()
}

func TestD7D8_OccurrenceIsDoneOnce(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	o := c.owner()
	x := o.fire(`{"a":1}`)
	o.fires.Send([]job.Order{x, x})
	o.hears(x, "that it waits", isWaiting)
	item := c.order(x.Task.ItemID(), 1)
	if item.Env[job.EnvPayload] != `{"a":1}` || item.Env[job.EnvItemJob] != "team/nightly" || item.Env[job.EnvItemFire] != x.Task.Fire.String() {
		t.Errorf("order of the item: %v", item.Env)
	}
	if item.Subject != "alice" || item.Author != "ada" || item.JobAuthor != "fred" {
		t.Errorf("behind the item stand %q, %q and %q", item.Subject, item.Author, item.JobAuthor)
	}
	c.m.Reports([]job.Report{{Task: item.Task, Shard: item.Shard, Known: true, State: job.StateRunning, StartedAt: time.Now()}})
	began := o.hears(x, "that it runs", func(r *job.Report) bool { return !r.StartedAt.IsZero() })
	if began.Item == nil || *began.Item != (job.TaskItem{Queue: "report", ID: x.Task.ItemID(), Minion: "m1", Attempt: 1, RunID: item.RunID}) {
		t.Errorf("it runs: %+v", began.Item)
	}
	c.answer(item, job.StateSucceeded, 0)
	end := o.ends(x, job.StateSucceeded, "")
	if !end.Spooled || end.Stdout.Head != "out" || end.Item.Minion != "m1" || end.Shard != jobsShard {
		t.Errorf("end: %+v", end)
	}
	c.acked(item)
	c.stats(queue.Stats{})

	// The next owner asks, and then orders it as one that knows nothing would: nothing is
	// put, before and after the run is in history.
	o.own()
	again := x
	again.Token = o.token
	for range 2 {
		o.mu.Lock()
		clear(o.heard)
		o.mu.Unlock()
		o.fires.Ask([]job.Ref{o.ref(x)})
		o.ends(x, job.StateSucceeded, "")
		o.fires.Send([]job.Order{again})
		o.hears(x, "the answer to the order", func(r *job.Report) bool { return r.Term == again.Term && r.State == job.StateSucceeded })
		o.fires.Ack([]job.TaskID{x.Task})
	}
	c.stats(queue.Stats{})
	if n := len(c.minions.of(x.Task.ItemID())); n != 1 {
		t.Errorf("ordered %d times, want once", n)
	}
	run, _ := c.history.get(item.RunID)
	if want := "item " + x.Task.ItemID() + " of queue team/report, run " + string(x.Task.Fire.RunID()) + " of job team/nightly"; run.Cause != want {
		t.Errorf("the item's run says %q, want %q", run.Cause, want)
	}
}

// An owner that has lost its shard puts nothing, and what it has put is found by the next.
func TestD7_PutIsTheOwners(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, nil)
	o := c.owner()
	x, y := o.fire("{}"), o.fire("{}")
	o.fires.Send([]job.Order{x})
	o.hears(x, "that it waits", isWaiting)
	o.own()
	o.fires.Send([]job.Order{y}) // under the token before
	o.fires.Ask([]job.Ref{o.ref(x), o.ref(y)})
	o.hears(x, "the answer", func(r *job.Report) bool { return isWaiting(r) && r.Term == 7 })
	o.hears(y, "that it is not known", func(r *job.Report) bool { return !r.Known && r.Term == 7 })
	c.stats(queue.Stats{Waiting: 1})
}

func TestHowOccurrencesEnd(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{Retry: job.Retry{Attempts: 2, Backoff: job.Duration(time.Millisecond)}, PayloadSchema: `{"type":"object"}`, MaxItems: 5}, nil)
	o := c.owner()
	send := func(payload string) job.Order {
		x := o.fire(payload)
		o.fires.Send([]job.Order{x})
		return x
	}
	waiting := func() job.Order {
		x := send("{}")
		o.hears(x, "that it waits", isWaiting)
		return x
	}
	o.ends(send("text"), job.StateRejected, "queue team/report does not take the payload: is not JSON")
	late := o.fire("{}")
	late.NotAfter = time.Now().Add(-time.Second)
	o.fires.Send([]job.Order{late})
	o.ends(late, job.StateExpired, "too late")

	// Cancelled by its run, by its queue, and with all that wait.
	x := waiting()
	o.fires.Cancel([]job.Ref{o.ref(x)}, "by ann")
	o.ends(x, job.StateCancelled, "by ann")
	x = waiting()
	v, err := c.q.Find(t.Context(), x.Task.ItemID())
	if err != nil || v.Origin == nil || v.Origin.Fire != x.Task.Fire || v.Priority != 2 {
		t.Fatalf("item %+v, %v", v, err)
	}
	if _, err := c.q.Cancel(t.Context(), &v, "by bob"); err != nil {
		t.Fatal(err)
	}
	o.ends(x, job.StateCancelled, "by bob")
	x = waiting()
	if v, err = c.q.Find(t.Context(), x.Task.ItemID()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.q.Remove(t.Context(), []queue.View{v}, "purged"); err != nil {
		t.Fatal(err)
	}
	o.ends(x, job.StateCancelled, "purged")

	// Given up after its attempts; a dead letter that is redriven is nobody's occurrence.
	x = waiting()
	c.minions.mu.Lock()
	c.minions.offers = map[job.MinionID]string{"m1": me + "5"}
	c.minions.mu.Unlock()
	for n := range 2 {
		c.answer(c.order(x.Task.ItemID(), n+1), job.StateFailed, 3)
	}
	if r := o.ends(x, job.StateFailed, "dead letter after 2 attempts: failed: because"); r.Exit == nil || r.Exit.Code != 3 || r.Item.Attempt != 2 {
		t.Errorf("dead letter: %+v", r)
	}
	await.Until(t, "the dead letter", func() bool { return c.q.Redrive(t.Context(), 2, x.Task.ItemID()) == nil })
	if v, err = c.q.Find(t.Context(), x.Task.ItemID()); err != nil || v.Origin != nil || v.JobAuthor != "fred" {
		t.Errorf("redriven: %+v, %v", v, err)
	}

	// Claimed, and cancelled: its minion is told.
	x = send("{}")
	item := c.order(x.Task.ItemID(), 1)
	o.fires.Cancel([]job.Ref{o.ref(x)}, "by eve")
	await.Until(t, "the minion's order to cancel", func() bool {
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.cancel[item.Task] == "by eve"
	})
	c.answer(item, job.StateCancelled, -1)
	o.ends(x, job.StateCancelled, "because")

	// Draining, and gone.
	c.describe(&etcdkv.QueueHold{Draining: true})
	o.ends(send("{}"), job.StateRejected, "queue team/report is draining")
	if _, err := c.client.Delete(t.Context(), c.keys.QueueType(c.queue.Key())); err != nil {
		t.Fatal(err)
	}
	o.ends(send("{}"), job.StateRejected, "queue team/report does not exist")
}

func TestOccurrenceExpiresOrIsTooMany(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{ExpireAfter: job.Duration(100 * time.Millisecond), MaxItems: 1}, nil)
	o := c.owner()
	x := o.fire("{}")
	o.fires.Send([]job.Order{x})
	o.hears(x, "that it waits", isWaiting)
	y := o.fire("{}")
	o.fires.Send([]job.Order{y})
	o.ends(y, job.StateRejected, "is full: it has 1 items, and takes 1 (maxItems)")
	o.ends(x, job.StateExpired, "before a worker had it")
}

// What is in history for long enough is forgotten; what is not, stays.
func TestRecordedEndsAreForgotten(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, nil)
	o := c.owner()
	x, y := o.fire("{}"), o.fire("{}")
	for _, z := range []job.Order{x, y} {
		o.fires.Send([]job.Order{z})
		o.hears(z, "that it waits", isWaiting)
		o.fires.Cancel([]job.Ref{o.ref(z)}, "enough")
		o.ends(z, job.StateCancelled, "enough")
	}
	o.fires.Ack([]job.TaskID{x.Task})
	o.fires.forget(t.Context()) // not yet
	if v, err := o.fires.found(t.Context(), x.Task); v == nil || v.End == nil || err != nil {
		t.Fatalf("forgotten at once: %+v, %v", v, err)
	}
	o.fires.mu.Lock()
	o.fires.recorded[o.fires.name(x.Task)] = time.Now().Add(-rememberFor - time.Second)
	o.fires.mu.Unlock()
	o.fires.forget(t.Context())
	await.Until(t, "that it is forgotten", func() bool {
		o.fires.Ask([]job.Ref{o.ref(x), o.ref(y)})
		o.mu.Lock()
		defer o.mu.Unlock()
		n := len(o.heard[x.Task])
		return n > 0 && !o.heard[x.Task][n-1].Known
	})
	if v, err := o.fires.found(t.Context(), y.Task); v == nil || v.End == nil || err != nil {
		t.Errorf("the other: %+v, %v", v, err)
	}
}
