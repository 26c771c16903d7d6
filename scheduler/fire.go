package scheduler

import (
	"math"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/admit"
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/phase"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// fire is a committed occurrence that is not closed yet.
type fire struct {
	id   job.FireID
	e    *entry
	slot *slot
	// phase is how far it has come; was the phase before it was orphaned, or ended: what
	// its slot stores of it follows from that. Only proceed changes them, besides who
	// makes the fire.
	phase, was phase.Fire
	// share is the node whose share it is, when id.Share is not zero.
	share job.NodeID
	// asks is the fire as it asks for leave to start. Nil: it has not had to.
	asks *admit.Run
	// cause and params are of a fire that was asked for.
	cause  string
	params map[string]string
	// sensitive are parameters whose values are in orders, and told nowhere.
	sensitive map[string]string
	// bounds are what who asked for it may have started; held is what they and those of
	// its job say. Nil: not looked up yet, or there are none.
	bounds job.Bounds
	held   *held
	// subject is who asked for it. Empty: nobody did, or it is not known. author is who had
	// applied the job when its last order was made; empty: none was, by this owner.
	subject string
	author  string
	// after is the run whose end has started it. Nil: none has, or it is not known.
	after *etcdkv.AfterRun
	// work is what its minions are told to do; nil: not worked out yet. awaits is
	// since when a script is awaited; 0: none is.
	work   *work
	awaits int64
	// vars are the variables of the spec that it was last dispatched by.
	vars variables
	// redo is the run that it does again, on hosts.
	redo  job.RunID
	hosts []job.MinionID
	// notBefore, when not 0, is when a fire may start that was missed.
	notBefore int64
	// alerts are what people are to be told of; toldLate and toldDeadline say
	// that they have been.
	alerts                 []string
	toldLate, toldDeadline bool
	// toldLong says that people were told that it goes on for long; crowded that it did not
	// start because the job still ran.
	toldLong, crowded bool
	// overdue: it is cancelled because it has not ended by its deadline. It tells how the
	// end is judged, also if somebody wants it ended besides.
	overdue bool
	// reason, count and until belong to skipped and missed occurrences.
	reason string
	count  int64
	until  int64

	tasks []*task
	// attempts are those that later ones have replaced, and leftOut how many older
	// ones are not kept.
	attempts []job.Attempt
	leftOut  int
	// decoded is the job's spec, where there are many tasks. Nil: not read yet.
	decoded *job.Spec
	// places finds tasks by their minions, where there are many. Nil: not made yet.
	places map[job.MinionID]int
	// firstOpen: no task before it is open.
	firstOpen int
	// rollout is nil until the fire is looked at; rules, canaries, promoted and
	// stopped are stored. Edits of the job do not change the rules.
	rollout  *admit.Rollout
	rules    *job.Rollout
	canaries int
	promoted bool // by hand, before or after its canaries have ended
	stopped  string
	// recovered: an earlier owner committed it, and may have sent its orders. It is
	// where the fire comes from, whatever its phase.
	recovered bool
	// doubtful: it was recovered, and nobody has said yet that it was begun. It is what
	// is not known of a fire, not how far that has come.
	doubtful     bool
	committedAt  int64
	dispatchedAt int64
	// endAt, when not 0, is when the run is ended because endWhy.
	endAt  int64
	endWhy string
	// withdrawn: somebody wants it ended, and does not wait for minions that are gone.
	// It is one of the reasons for an end, and there may be several.
	withdrawn bool
	// lostAfter is the job's; 0: not looked up yet.
	lostAfter time.Duration
	// giveUp is when a fire that no minion can be found for ends.
	giveUp int64
	// run is its record; nil until it has ended. named is its id; empty: not worked out yet.
	run   *job.Run
	named job.RunID
	// ends are whom to tell of the end.
	ends []etcdkv.Ended
	// wake is when the fire wants attention next, as it stands in wakeups, or since
	// when it has waited for its turn.
	wake   int64
	wakeup timers.Wakeup[*fire]
	turn   fair.Item[*fire]
	// counted: it is part of the node's load, which it may be in any phase but the last.
	counted bool
	// place is its place in its slot.
	place int
}

// task is a run's share on one minion.
type task struct {
	minion job.MinionID
	// share is the node whose share of the fire it is; empty: the fire is not
	// shared out, or is a share itself.
	share     job.NodeID
	attempt   int
	notBefore int64
	// saved: minion and attempt stand in the stored slot.
	saved bool
	// phase is how far it has come, endedFrom the phase in which it ended. Only become
	// changes them, besides who makes the task.
	phase, endedFrom phase.Task
	// inherited: an earlier owner, or an earlier term of this one, may have sent
	// orders of it. Only then an answer may be to somebody else's question.
	inherited bool
	sentAt    int64
	// ordered: we have sent an order of it. returned counts how often its minion
	// has given it back, or has not taken it.
	ordered  bool
	returned int
	// notAfter is the order's.
	notAfter int64
	// checkAt is when the minion is asked about the task, if nothing is heard until
	// then; asked counts the questions without an answer.
	checkAt int64
	asked   int
	// answerBy is when an answer is due of a minion that is asked about the order
	// of an earlier owner; 0: it is connected to no node.
	answerBy int64
	// started is when it was started, by its minion's word, or heard first to be
	// there.
	started time.Time
	// heldBy is the process of its minion that has said last that it has it, and
	// heardAt when that was, of a task that is not started.
	heldBy  string
	heardAt int64
	// question is the number of the question whose answer tells whether the minion
	// has lost the task that it had, or its order never came; 0: that is not in doubt.
	question uint32
	// report is the final one; nil until it has ended.
	report *job.Report
	// item is that of a queue in the minion's place, as told last. Nil: nothing was.
	item *job.TaskItem
}

func (t *task) final() bool { return t.phase == phase.Ended }

// mayHaveBegun reports whether a minion may have started the task, or may have had
// when it ended, by an order of which this owner knows or of an earlier one.
func (t *task) mayHaveBegun() bool {
	was := t.phase
	if t.final() {
		was = t.endedFrom
	}
	return was == phase.Unknown || was.AtMinion()
}

// become has a task go into another phase. One that may not follow is a mistake in
// this program: tests stop there, and a node tells so in its log and goes on.
func (s *shard) become(t *task, next phase.Task) {
	if !t.phase.MayBecome(next) {
		s.log.DPanic("a task has gone into a phase that may not follow", zap.String("minion", string(t.minion)),
			zap.Stringer("phase", t.phase), zap.Stringer("next", next))
	}
	if next == phase.Ended {
		t.endedFrom = t.phase
	}
	t.phase = next
}

func (f *fire) ended() bool { return f.phase == phase.FireEnded }

// isOpen reports whether the fire is to be run, or runs.
func (f *fire) isOpen() bool { return f.phase.IsOpen() }

// entryState is what the slot says of the fire, which it does also when that has ended,
// until it leaves the slot.
func (f *fire) entryState() etcdkv.EntryState {
	p := f.phase
	if p == phase.FireEnded || p == phase.FireOrphaned {
		p = f.was
	}
	switch p {
	case phase.FireHeldBack:
		return etcdkv.EntryQueued
	case phase.FireSkipped:
		return etcdkv.EntrySkipped
	case phase.FireMissed:
		return etcdkv.EntryMissed
	case phase.FireDue, phase.FireStarted, phase.FireEnding, phase.FireDropped, phase.FireOrphaned, phase.FireEnded:
	}
	return etcdkv.EntryOpen
}

// storedPhase is how far a fire has come of which its slot says this. It is false for
// what this release does not know.
func storedPhase(s etcdkv.EntryState) (phase.Fire, bool) {
	switch s {
	case etcdkv.EntryOpen:
		return phase.FireDue, true
	case etcdkv.EntryQueued:
		return phase.FireHeldBack, true
	case etcdkv.EntrySkipped:
		return phase.FireSkipped, true
	case etcdkv.EntryMissed:
		return phase.FireMissed, true
	}
	return phase.FireDue, false
}

// proceed has a fire go into another phase. One that may not follow is a mistake in
// this program, as with become.
func (s *shard) proceed(f *fire, next phase.Fire) {
	if !f.phase.MayBecome(next) {
		s.log.DPanic("a fire has gone into a phase that may not follow", zap.Stringer("fire", f.id),
			zap.Stringer("phase", f.phase), zap.Stringer("next", next))
	}
	if (next == phase.FireEnded || next == phase.FireOrphaned) && f.phase != phase.FireOrphaned {
		f.was = f.phase
	}
	f.phase = next
}

// fewTasks are looked through; more are looked up.
const fewTasks = 16

// allEnded reports whether all tasks are final.
func (f *fire) allEnded() bool {
	for f.firstOpen < len(f.tasks) && f.tasks[f.firstOpen].final() {
		f.firstOpen++
	}
	return f.firstOpen == len(f.tasks)
}

// find returns the fire's task for an attempt on a minion.
func (f *fire) find(id job.TaskID) *task {
	if len(f.tasks) > fewTasks && f.tasks[0].share == "" {
		if f.places == nil {
			f.places = make(map[job.MinionID]int, len(f.tasks))
			for i, t := range f.tasks {
				f.places[t.minion] = i
			}
		}
		if i, ok := f.places[id.Minion]; ok && f.tasks[i].attempt == id.Attempt && f.id == id.Fire {
			return f.tasks[i]
		}
		return nil
	}
	for _, t := range f.tasks {
		if t.minion == id.Minion && t.attempt == id.Attempt && f.taskID(t).Fire == id.Fire {
			return t
		}
	}
	return nil
}

func (f *fire) taskID(t *task) job.TaskID {
	id := job.TaskID{Fire: f.id, Minion: t.minion, Attempt: t.attempt}
	if t.share != "" {
		id.Fire.Share = job.ShareOf(t.share)
	}
	return id
}

// due is when the fire is to start: its instant, and its part of the jitter.
func (f *fire) due() int64 {
	if f.e.Optional == nil || f.e.Optional.Jitter == 0 {
		return max(f.id.At, f.notBefore)
	}
	s := job.Spec{Jitter: job.Duration(f.e.Optional.Jitter)}
	return max(f.id.At+int64(s.Delay(f.id)), f.notBefore)
}

// unassign takes the minions of a fire back that has not started.
func (f *fire) unassign() {
	shares := make([]*task, 0, 1)
	for _, t := range f.tasks {
		if !slices.ContainsFunc(shares, func(o *task) bool { return o.share == t.share }) {
			shares = append(shares, &task{attempt: 1, share: t.share})
		}
	}
	f.tasks, f.places, f.firstOpen = shares, nil, 0
	f.rules, f.canaries, f.stopped, f.rollout = nil, 0, "", nil
}

// seq is the number of the fire's slot; that of one that is not committed yet is
// above all others.
func (f *fire) seq() uint64 {
	if f.slot == nil {
		return math.MaxUint64
	}
	return f.slot.seq
}

// runID returns the id of the fire's run.
func (f *fire) runID() job.RunID {
	if f.named == "" {
		f.named = f.id.RunID()
	}
	return f.named
}

// queue is what the overlap policy sees the fire in.
func (f *fire) queue() *overlapQueue { return f.e.queue(f.id.Share) }

// fireOf returns the open fire that a task belongs to. The shares of a fire
// whose shares belong together are tasks of one fire.
func (s *shard) fireOf(id job.FireID) *fire {
	if f := s.fires[id]; f != nil || id.Share == 0 {
		return f
	}
	id.Share = 0
	return s.fires[id]
}

// stored returns the form in which the slot stores the fire.
func (f *fire) stored() etcdkv.SlotEntry {
	state := f.entryState()
	e := etcdkv.SlotEntry{
		Fire: f.id, Share: f.share, State: state, Reason: f.reason, Count: f.count, Until: f.until,
		SlotAsked: etcdkv.SlotAsked{
			Cause: f.cause, Params: f.params, Sensitive: f.sensitive, Redo: f.redo, Promoted: f.promoted, Stopped: f.stopped, Canaries: f.canaries, Rollout: f.rules,
			Attempts: f.attempts, LeftOut: f.leftOut, Bounds: f.bounds, Subject: f.subject, After: f.after,
		},
	}
	if state == etcdkv.EntryQueued || len(f.tasks) > 0 && f.tasks[0].minion == "" {
		e.Hosts = f.hosts
	}
	for _, t := range f.tasks {
		if t.minion == "" && t.share == "" {
			continue
		}
		st := etcdkv.SlotTask{Minion: t.minion, Attempt: t.attempt, NotBefore: t.notBefore, Share: t.share}
		if t.report != nil && t.report.State == job.StateUncontrollable {
			st.State, st.Reason = t.report.State, t.report.Reason
		}
		e.Tasks = append(e.Tasks, st)
	}
	return e
}
