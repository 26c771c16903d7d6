package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// words are what may be said of a task of which its owner knows nothing, and
// which is so only for whom it is said to.
func words(id job.TaskID) map[string]job.Report {
	base := job.Report{Task: id, Shard: 1, Known: true}
	with := func(change func(*job.Report)) job.Report {
		r := base
		change(&r)
		return r
	}
	return map[string]job.Report{
		"never accepted":   with(func(r *job.Report) { r.Known = false }),
		"given back":       with(func(r *job.Report) { r.Known, r.Returned = false, true }),
		"did not arrive":   with(func(r *job.Report) { r.State = job.StateDeliveryTimeout }),
		"pushed out":       with(func(r *job.Report) { r.State = job.StateDropped }),
		"nobody knows":     with(func(r *job.Report) { r.State = job.StateIndeterminate }),
		"cannot be stored": with(func(r *job.Report) { r.State = job.StateRejected }),
	}
}

// TestI24_AnswersToOthersAreNotBelieved: what is said to an earlier owner, or to an
// earlier term of the same, says nothing to this one: the order may have come after
// it was said.
func TestI24_AnswersToOthersAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name := range words(job.TaskID{}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			f := d.fire(d.job(job.Spec{}), fire{})
			asked := words(f.taskID(f.tasks[0]))[name]
			asked.Term = d.term
			next, f := d.taken(f)
			next.onReport(&asked)
			next.step()
			next.wantSent()
			if len(next.runs) > 0 || f.tasks[0].phase != phase.Unknown {
				t.Fatalf("the answer to an earlier owner was believed: %+v", next.runs)
			}
			ours := words(f.taskID(f.tasks[0]))[name]
			ours.Term = next.term
			next.onReport(&ours)
			next.step()
			if len(next.runs) == 0 && next.sent["m00"] != 1 {
				t.Error("nothing came of the answer to this owner")
			}
		})
	}
}

// TestI24_FactsAreBelievedWhoeverAsked: what a minion has done is so.
func TestI24_FactsAreBelievedWhoeverAsked(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]job.Report{
		"ended":              {Known: true, State: job.StateFailed, Spooled: true},
		"refused":            {Known: true, State: job.StateExpired, Spooled: true},
		"acknowledged":       {Known: true, State: job.StateSucceeded},
		"cancelled":          {Known: true, State: job.StateCancelled},
		"ended, before told": {Known: true, State: job.StateIndeterminate, Spooled: true},
	} {
		d := newDesk(t, 1)
		f := d.fire(d.job(job.Spec{}), fire{})
		before := d.term
		next, f := d.taken(f)
		running := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Known: true, State: job.StateRunning, Term: before}
		next.onReport(&running)
		if !f.tasks[0].phase.AtMinion() {
			t.Errorf("%s: it is not known to run", name)
		}
		r.Task, r.Shard, r.Term = running.Task, 1, before
		next.onReport(&r)
		next.answered()
		if len(next.runs) != 1 || next.runs[0].State != r.State {
			t.Errorf("%s: recorded %+v", name, next.runs)
		}
	}
}

// TestI12_AnOvertakenDenialEndsNothing: that a task was never accepted, or that nobody
// knows of a copy of its order, may have been said before its minion said that it has
// the task, and come later. It is asked about anew, and only the answer to that very
// question is believed: so in an ordered group the next run does not start beside it.
func TestI12_AnOvertakenDenialEndsNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"never accepted", "nobody knows"} {
		for _, inherited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, inherited %v", name, inherited), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t, 1)
				d.grouped(job.GroupSpec{Mode: "failover", Ordered: true})
				spec := job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadOne}, Overlap: job.OverlapAllow}
				key := job.Key{Namespace: "t", Name: "j"}
				d.jobNamed(key, job.UID{1}, spec)
				orders := map[job.FireID]int{}
				d.ordered = func(o *job.Order) { orders[o.Task.Fire]++ }
				ids := []job.FireID{{Job: job.UID{1}, At: d.clock - 2}, {Job: job.UID{1}, At: d.clock - 1}}
				for i := range ids {
					ids[i].Trigger = job.TriggerSchedule
					d.commitAll(&fire{id: ids[i], e: d.jobs[key]})
				}
				if inherited {
					before := d
					d = d.successor(map[job.Key]job.Spec{key: spec}, func(n *desk) {
						n.grouped(job.GroupSpec{Mode: "failover", Ordered: true})
						n.ordered = before.ordered
					})
				}
				f := d.fires[ids[0]]
				denial := words(f.taskID(f.tasks[0]))[name]
				denial.Term = d.term
				d.says(f, "m00", job.StateRunning)
				d.questions = nil
				asked := func() (times int, last uint32) {
					for _, q := range d.questions {
						if q.Task == denial.Task {
							times, last = times+1, q.Term
						}
					}
					return times, last
				}
				overtaken := func(want int) {
					t.Helper()
					d.onReport(&denial)
					d.onReport(&denial)
					d.step()
					d.wantNoRun("an earlier word")
					if n, number := asked(); n != want || number == d.term {
						t.Fatalf("asked %d times, under %d, want %d under another number than %d", n, number, want, d.term)
					}
				}
				overtaken(1)
				_, first := asked()
				d.pass(askAfter) // the answer is lost
				overtaken(2)
				d.says(f, "m00", job.StateRunning)
				d.pass(askAfter)
				if n, _ := asked(); n != 2 {
					t.Errorf("asked %d times, though its minion has said that it has it", n)
				}
				overtaken(3)
				denial.Term = first
				overtaken(3)
				if orders[ids[1]] > 0 {
					t.Error("the next run was started beside it")
				}
				_, denial.Term = asked()
				d.onReport(&denial)
				d.answered()
				if len(d.runs) != 1 || d.runs[0].State != job.StateIndeterminate {
					t.Errorf("recorded %+v, want that nobody knows", d.runs)
				}
			})
		}
	}
}

// TestI24_GivenBackToAnother: a task waits at its minion, which tells the new owner
// that it has it, and then gives it back by the order that it had of the earlier one.
// The new owner asks anew, and does not take the answer for a lost journal.
func TestI24_GivenBackToAnother(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	before := d.term
	next, f := d.taken(f)
	next.says(f, "m00", job.StateRunning)
	next.asked = 0
	next.onReport(&job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Returned: true, Term: before})
	next.step()
	if next.asked != 1 || f.tasks[0].phase.AtMinion() {
		t.Fatalf("%d questions are asked once it was given back", next.asked)
	}
	next.says(f, "m00", "")
	next.wantSent("m00")
	next.says(f, "m00", job.StateRunning)
	next.says(f, "m00", job.StateSucceeded)
	next.wantRun(job.StateSucceeded, "")
}

// TestI24_EarlierReleases: a minion of an earlier release does not tell whom it
// answers. What it has not accepted it is sent again, and counts as under way until
// it says what became of it; nothing else is concluded.
func TestI24_EarlierReleases(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{Misfire: job.MisfireAll}), fire{})
	next, f := d.taken(f)
	for name, r := range words(f.taskID(f.tasks[0])) {
		if r.Known {
			next.onReport(&r)
			next.step()
			if next.wantSent(); len(next.runs) > 0 {
				t.Fatalf("%s: recorded %+v", name, next.runs)
			}
		}
	}
	word := words(f.taskID(f.tasks[0]))["never accepted"]
	next.onReport(&word)
	next.step()
	next.wantSent("m00")
	if f.tasks[0].phase != phase.Unknown {
		t.Error("it no longer counts as under way")
	}
	next.says(f, "m00", job.StateRunning)
	next.says(f, "m00", job.StateSucceeded)
	next.wantRun(job.StateSucceeded, "")

	// Too late to begin, and perhaps begun.
	late := newDesk(t, 1)
	g := late.fire(late.job(job.Spec{Misfire: job.MisfireSkip}), fire{})
	late.clock += int64(late.cfg.MisfireGrace + time.Second)
	heir, g := late.taken(g)
	word = words(g.taskID(g.tasks[0]))["never accepted"]
	heir.onReport(&word)
	heir.step()
	if heir.wantSent(); len(heir.runs) > 0 {
		t.Errorf("recorded %+v", heir.runs)
	}
	heir.says(g, "m00", "")
	heir.wantRun(job.StateMissed, "")

	// In a rollout each task waits for its turn.
	spread := newDesk(t, 2)
	h := spread.fire(spread.job(job.Spec{Rollout: job.Rollout{Batch: "1"}}), fire{})
	after, h := spread.taken(h)
	for i := range h.tasks {
		word = words(h.taskID(h.tasks[i]))["never accepted"]
		after.onReport(&word)
	}
	after.step()
	after.wantSent("m00")
}

// TestI24_EarlierReleasesKeepTheOrder: in an ordered group, only the oldest is sent
// again.
func TestI24_EarlierReleasesKeepTheOrder(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	spec := job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadOne}}
	key := job.Key{Namespace: "t", Name: "j"}
	d.grouped(job.GroupSpec{Mode: "failover"}) // both are sent: the group gets its order then
	d.jobNamed(key, job.UID{1}, spec)
	var ids []job.FireID
	for i := range 2 {
		id := job.FireID{Job: job.UID{1}, At: d.clock - int64(time.Second)*int64(2-i), Trigger: job.TriggerSchedule}
		ids = append(ids, id)
		d.commitAll(&fire{id: id, e: d.jobs[key]})
	}
	var sent []job.FireID
	next := d.successor(map[job.Key]job.Spec{key: spec}, func(n *desk) {
		n.grouped(job.GroupSpec{Mode: "failover", Ordered: true})
		n.ordered = func(o *job.Order) { sent = append(sent, o.Task.Fire) }
	})
	for _, id := range []job.FireID{ids[1], ids[0]} {
		f := next.fires[id]
		word := words(f.taskID(f.tasks[0]))["never accepted"]
		next.onReport(&word)
		next.step()
	}
	if len(sent) != 1 || sent[0] != ids[0] {
		t.Errorf("ordered %v, want the oldest of %v", sent, ids)
	}
}

// TestI24_ADenialSaidTwiceIsBelievedOnce: that a task was never accepted may be said
// twice, as an owner asks until it is answered. The second copy may come when the order
// has been sent and accepted, and says nothing of that: a run that is ended then is not
// recorded before its minion has said what became of it.
func TestI24_ADenialSaidTwiceIsBelievedOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d, f := d.taken(d.fire(d.job(job.Spec{}), fire{}))
	denial := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Term: d.term}
	for i := range 2 {
		d.onReport(&denial)
		d.step()
		if got := f.tasks[0].phase; got != phase.Sent {
			t.Fatalf("denied %d times: the task is %s, want %s", i+1, got, phase.Sent)
		}
	}
	d.wantSent("m00")
	d.questions = nil
	f.endWhy = "it is to end"
	d.cancel(f, d.clock)
	d.pass(askAfter)
	if len(d.runs) > 0 {
		t.Fatalf("recorded as %s, and nobody has asked whether it runs", d.runs[0].State)
	}
	if len(d.questions) == 0 || d.questions[0].Term == d.term {
		t.Fatalf("the questions are %v, want one with a number of its own", d.questions)
	}
	denial.Term = d.questions[0].Term
	d.onReport(&denial)
	d.step()
	d.wantRun(job.StateCancelled, "it is to end")
}

// TestLostOrderIsAskedAboutWhenItsMinionIsBack: questions that got lost while a minion was
// on its way from one node to another put the next one off, but not beyond its return.
func TestLostOrderIsAskedAboutWhenItsMinionIsBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{Timeout: job.Duration(time.Minute), Misfire: job.MisfireLatest}), fire{})
	d.wait(20 * time.Second)
	d.leaves("m00")
	d.wait(5 * time.Second)
	d.left = nil
	before := d.asked
	d.wait(askAfter)
	if d.asked == before {
		t.Fatalf("the minion is back for %v, and was not asked", askAfter)
	}
	d.says(f, "m00", "")
	d.wait(time.Second)
	if d.sent["m00"] != 2 {
		t.Errorf("the order that was lost was sent %d times", d.sent["m00"])
	}
}

// TestLostOrderIsAskedAboutToTheEnd: an order that has expired is asked about again and
// again before it is given up: a question may be lost, too.
func TestLostOrderIsAskedAboutToTheEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{Timeout: job.Duration(time.Minute)}), fire{})
	expires := time.Unix(0, f.tasks[0].notAfter)
	var after []time.Duration
	for len(d.runs) == 0 && len(after) < 100 {
		before := d.asked
		d.wait(time.Second)
		if now := time.Unix(0, d.clock); d.asked > before && !now.Before(expires) {
			after = append(after, now.Sub(expires))
		}
	}
	if len(after) < 4 || after[0] > time.Second || after[len(after)-1] < silentAfter-askAfter-time.Second {
		t.Errorf("asked %v after the order had expired", after)
	}
	d.wantRun(job.StateIndeterminate, "has not said whether it accepted the order")
	if d.clock > expires.Add(silentAfter+time.Second).UnixNano() {
		t.Errorf("given up %v after the order had expired, want %v", time.Unix(0, d.clock).Sub(expires), silentAfter)
	}
}
