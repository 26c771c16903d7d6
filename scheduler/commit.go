package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Bounds of what one commit does beside the plan: how many slots it rewrites
// and how many it deletes, so that it stays under etcd's limit of 128
// operations, and how many bytes it rewrites, for the limit of 1.5 MiB.
const (
	maxHousekeeping = 40
	maxRewriteOps   = 70
	maxOps          = 110
	maxRewritten    = 400 << 10
)

// write is one transaction of the shard: new state and slot, and housekeeping.
type write struct {
	// cmps are conditions besides the fence.
	cmps []clientv3.Cmp
	// batch is the plan, nil: there is none. planned are its operations, ops the
	// others, but for that which stores the state.
	batch        *batch
	planned, ops []clientv3.Op
	// view is what the plan was made from; nil: nothing rests on it.
	view *view
	// passed: the write passes the shard's lock on.
	passed bool
	// unmoved are the jobs whose record of a move, or of a deletion, is removed.
	unmoved []job.UID
	// state is the new state; nil when the write leaves it alone.
	state *etcdkv.ShardState
	fires []*fire
	slot  *slot
	// rewritten and deleted are the slots that the write stores or removes.
	rewritten []*slot
	deleted   []*slot
	saved     []*task
	backfills []*backfilled
	// notes are the keys of notes of ends.
	notes []string
}

// size is how many operations the write has.
func (w *write) size() int {
	n := len(w.planned) + len(w.ops)
	if w.state != nil {
		n++
	}
	return n
}

// commit gathers what is to be written and has it written. The shard's
// goroutine goes on meanwhile; done is called in it.
func (s *shard) commit(ctx context.Context, now int64) {
	w, err := s.gather(now)
	if err != nil {
		s.err = err
		return
	}
	if w.size() == 0 {
		return
	}
	s.begin(ctx, w, now)
}

// begin has a write written.
func (s *shard) begin(ctx context.Context, w *write, now int64) {
	ops, err := s.writer.txn(w)
	if err != nil {
		s.err = err
		return
	}
	s.committing, s.lastCommit = true, now
	fence := append([]clientv3.Cmp{s.own.Fence()}, w.cmps...)
	if w.state != nil {
		fence = append(fence, clientv3.Compare(clientv3.ModRevision(s.cfg.Keys.State(s.id)), "=", s.stateRev))
	}
	if w.view != nil {
		fence = append(fence, s.writer.notNewer(*w.view)...)
	}
	begun := time.Now()
	s.wg.Go(func() {
		rev, err := s.writer.write(ctx, fence, ops, w)
		s.met.commitSeconds.Observe(time.Since(begun).Seconds())
		s.do(func() {
			if behind := asBehind(err); behind != nil {
				s.goOnBehind(ctx, w, behind)
				return
			}
			s.written(w, rev, err)
		})
	})
}

// goOnBehind goes on after a commit whose view lacked an edit.
func (s *shard) goOnBehind(ctx context.Context, w *write, err *errBehind) {
	s.committing = false
	rest, failed := s.fellBehind(w, err)
	switch {
	case failed != nil:
		s.err = failed
	case rest != nil:
		s.begin(ctx, rest, s.lastCommit)
	default:
		s.afterwards()
	}
}

// gather builds the next write.
func (s *shard) gather(now int64) (*write, error) {
	w := &write{}
	views := s.views()
	var b *batch
	if !s.isBehind(now) {
		b = s.plan(now)
	}
	reached := s.reached()
	if b != nil {
		if err := s.gatherPlan(w, b, now); err != nil {
			return nil, err
		}
		w.batch = b
	} else if s.ringDirty {
		if err := s.gatherState(w, reached); err != nil {
			return nil, err
		}
	}
	noticed, err := s.notices.gather(w)
	if err != nil {
		return nil, err
	}
	size := 0
	var again []*slot
	s.passSlots() // I3: what has ended of the others must stay until the cursor has passed them
	for sl := range s.dirty {
		if w.size() >= maxRewriteOps || size > maxRewritten {
			break
		}
		delete(s.dirty, sl)
		sl.dirty = false
		note, text, err := s.note(sl)
		if err != nil {
			return nil, err
		}
		if note != "" {
			size += len(text)
			w.notes = append(w.notes, note)
			w.ops = append(w.ops, clientv3.OpPut(note, text))
			if len(sl.tell) > 0 {
				again = append(again, sl)
			}
		}
		value := sl.encode()
		size += len(value)
		w.rewritten = append(w.rewritten, sl)
		w.ops = append(w.ops, clientv3.OpPut(s.cfg.Keys.Slot(s.id, sl.seq), string(value)))
		w.saved = append(w.saved, unsaved(sl.fires)...)
	}
	for _, sl := range again {
		s.touch(sl)
	}
	if (len(w.notes) > 0 || noticed) && w.state == nil {
		// So that the outcome of this very write can be told.
		if err := s.gatherState(w, reached); err != nil {
			return nil, err
		}
	}
	if s.triggers.read { // else starts of theirs may still wait
		s.moved.gather(w)
	}
	if err := s.gatherPauses(w); err != nil {
		return nil, err
	}
	if err := s.asides.gather(w, s.cfg.Keys); err != nil {
		return nil, err
	}
	if b != nil {
		if err := s.gatherPass(w, b.round, now); err != nil {
			return nil, err
		}
	}
	n := 0
	for sl := range s.closed { // I5: the cursor has passed them
		if n++; n > maxHousekeeping || w.size() >= maxOps {
			break
		}
		delete(s.closed, sl)
		w.deleted = append(w.deleted, sl)
		w.ops = append(w.ops, clientv3.OpDelete(s.cfg.Keys.Slot(s.id, sl.seq)))
	}
	if len(s.beyond) > 0 && n == 0 && w.state == nil && reached > s.state.Cursor.UnixNano() {
		if err := s.gatherState(w, reached); err != nil {
			return nil, err
		}
	}
	if w.batch != nil || w.state != nil && w.state.Cursor.After(s.state.Cursor) {
		w.view = &views
	}
	return w, nil
}

// gatherPauses adds the pauses of jobs that failed too often.
func (s *shard) gatherPauses(w *write) error {
	for i := range s.pausing {
		p := &s.pausing[i]
		key := s.cfg.Keys.Pause(p.Scope, p.Namespace, p.Name)
		text, err := etcdkv.Encode(s.deps.Cluster.StoredPause(key, p))
		if err != nil {
			return err
		}
		w.ops = append(w.ops, clientv3.OpPut(key, text))
		s.log.Warn("job paused", zap.String("job", p.Namespace+"/"+p.Name), zap.String("reason", p.Reason))
	}
	s.pausing = nil
	return nil
}

// gatherPlan adds the slot and the state of a plan.
func (s *shard) gatherPlan(w *write, b *batch, now int64) error {
	if err := s.gatherState(w, max(b.cursor, s.state.Cursor.UnixNano())); err != nil {
		return err
	}
	for _, key := range b.triggers {
		w.planned = append(w.planned, clientv3.OpDelete(key))
	}
	if err := s.backfills.gather(w, b); err != nil {
		return err
	}
	if len(b.fires) == 0 {
		return nil
	}
	w.state.Seq++
	sl := newSlot(w.state.Seq, now, s.cfg.Node, b.fires)
	w.slot, w.fires = sl, b.fires
	w.saved = unsaved(b.fires)
	w.planned = append(w.planned, clientv3.OpPut(s.cfg.Keys.Slot(s.id, sl.seq), string(sl.encode())))
	for _, f := range b.fires {
		if at := f.id.Time(); f.id.Trigger == job.TriggerSchedule && at.After(w.state.Cursor) && at.After(w.state.Beyond) {
			w.state.Beyond = at
		}
	}
	return nil
}

// gatherState adds a new state with this cursor.
func (s *shard) gatherState(w *write, cursor int64) error {
	claim, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("new claim id: %w", err)
	}
	st := s.state
	st.Unsent = 0
	st.Schema, st.Claim, st.JobsRev = etcdkv.Schema, claim.String(), s.jobsRev
	st.Cursor = time.Unix(0, cursor).UTC()
	st.Node, st.Judged = s.cfg.Node, time.Unix(0, s.deps.now()).UTC()
	if !st.Cursor.Before(st.Ahead) {
		st.Ahead = time.Time{}
	}
	if !st.Cursor.Before(st.Beyond) {
		st.Beyond = time.Time{}
	}
	s.ringDirty = false
	w.state = &st
	return nil
}

// unsaved lists the tasks whose minion is chosen and not stored yet.
func unsaved(fires []*fire) []*task {
	var out []*task
	for _, f := range fires {
		if f == nil || f.entryState() != etcdkv.EntryOpen {
			continue
		}
		for _, t := range f.tasks {
			if !t.saved && t.minion != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

// written takes note of a commit's outcome.
func (s *shard) written(w *write, rev int64, err error) {
	s.committing = false
	if err != nil {
		s.err = err
		return
	}
	if w.state != nil {
		now := s.state
		s.state, s.stateRev = *w.state, rev
		lockState(&s.state, &now)
		if s.state.Ahead.IsZero() {
			s.ahead.over()
		}
		if !s.ringDirty { // else what they wait for is in the next state
			then := s.afterState
			s.afterState = nil
			for _, fn := range then {
				fn()
			}
		}
	}
	for _, uid := range w.unmoved {
		delete(s.moved, uid)
	}
	if w.passed {
		// The successor finds the fires in the slot, and sends their orders.
		s.own.Passed()
		s.err = errYielded
		s.afterwards()
		return
	}
	if w.slot != nil {
		s.slots[w.slot.seq] = w.slot
	}
	for _, t := range w.saved {
		t.saved = true
	}
	for _, f := range w.fires {
		s.fires[f.id] = f
		s.joinGate(f)
		s.opened(f)
	}
	for _, sl := range w.rewritten {
		for _, f := range sl.fires {
			if f != nil && f.isOpen() {
				s.reconcileAt(f, f.due())
			}
		}
	}
	for _, sl := range w.rewritten {
		if sl.open == 0 && !sl.dirty {
			s.finishSlot(sl) // all was told
		}
	}
	for _, sl := range w.deleted {
		delete(s.slots, sl.seq)
	}
	s.outbox.notes = append(s.outbox.notes, w.notes...)
	for _, b := range w.backfills {
		b.rev, b.busy = rev, false
	}
	s.afterwards()
}

// afterwards does what waited for the commit.
func (s *shard) afterwards() {
	then := s.afterSave
	s.afterSave = nil
	for _, fn := range then {
		fn()
	}
}

// opened gives a committed fire its next step.
func (s *shard) opened(f *fire) {
	if f.ended() {
		return // the job was deleted meanwhile
	}
	switch f.entryState() {
	case etcdkv.EntryOpen:
		s.met.inFlight.Inc()
		if f.due() > s.deps.now()+int64(s.cfg.LookAhead) {
			s.putDown(f)
		}
		s.reconcileAt(f, f.due())
	case etcdkv.EntryQueued:
		s.putDown(f)
		s.met.inFlight.Inc()
		if spec, err := s.specs.of(f.e); err == nil && !f.e.Gone {
			s.watchTimes(f, spec, s.deps.now())
		}
		if !f.recovered && !f.ended() {
			s.supersede(f)
		}
	case etcdkv.EntrySkipped:
		s.met.inFlight.Inc()
		s.end(f, job.StateSkipped, f.reason)
	case etcdkv.EntryMissed:
		s.met.inFlight.Inc()
		s.end(f, job.StateMissed, f.reason)
	}
}
