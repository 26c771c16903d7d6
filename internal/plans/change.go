package plans

import (
	"context"
	"fmt"
	"maps"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

const (
	// changesAtOnce and chunksAtOnce bound what one transaction writes down.
	changesAtOnce = 90
	chunksAtOnce  = 16
	// maxReason bounds why a task is in its state, in bytes.
	maxReason = 256
)

// change notes a task's new state, if it may have it now (P5).
func (r *runner) change(t uint32, s etcdkv.PlanState, item bool) {
	next := plan.State(s.State)
	if was := r.l.stateOf(t); was == next || !was.May(next) {
		if item && was.Final() {
			r.log.Warn("an item has told of a task that had ended", zap.String("task", r.l.graph.Name(int(t))), zap.String("state", s.State))
		}
		return
	}
	if s.At.IsZero() {
		s.At = r.k.now().UTC()
	}
	if len(s.Reason) > maxReason {
		s.Reason = strings.ToValidUTF8(s.Reason[:maxReason], "") + "..."
	}
	r.l.set(t, next)
	r.changes = append(r.changes, change{task: t, PlanState: s, item: item})
}

// fold takes what items have told.
func (r *runner) fold(b etcdkv.Batch) {
	for i := range b.Events {
		e := &b.Events[i]
		number, ok := r.keys.ParseItem(e.Key)
		if !ok || e.Value == nil || number >= len(r.l.state) {
			continue // removed by this runner
		}
		v, err := etcdkv.Decode[etcdkv.QueueFire](e.Key, e.Value)
		if err != nil {
			r.log.Error("what an item has told is unreadable", zap.Error(err))
			continue
		}
		s := etcdkv.PlanState{State: string(plan.Queued), Minion: v.Minion, Attempt: v.Tries, RunID: v.RunID}
		switch {
		case v.End != nil:
			s.State, s.Reason, s.At = string(endOf(v.End.State)), v.End.Reason, v.End.EndedAt
			if v.End.State == job.StateCancelled && v.End.Reason == replacedWhy {
				s.State = string(plan.Replaced)
			}
			if s.State == string(plan.Failed) && v.End.State != job.StateFailed {
				s.Reason = string(v.End.State) + ": " + s.Reason
			}
		case v.RunID != "":
			s.State, s.At = string(plan.Running), v.StartedAt
		}
		r.change(uint32(number), s, v.End != nil) //nolint:gosec // checked above
	}
}

// endOf is the state of a task whose item has ended.
func endOf(s job.State) plan.State {
	if of, ok := map[job.State]plan.State{
		job.StateSucceeded: plan.Succeeded,
		job.StateCancelled: plan.Cancelled,
		job.StateExpired:   plan.Expired,
	}[s]; ok {
		return of
	}
	return plan.Failed
}

// write writes down some of what has changed, and reports whether there is more.
func (r *runner) write(ctx context.Context) (bool, error) {
	for len(r.skips) > 0 && len(r.changes) < changesAtOnce {
		t := r.skips[0]
		r.skips = r.skips[1:]
		r.change(t, etcdkv.PlanState{State: string(plan.Skipped), Reason: "a task that it waits for did not succeed"}, false)
	}
	if len(r.changes) == 0 && !r.untold {
		return false, nil
	}
	chunks := map[int]*etcdkv.PlanStates{}
	n := 0
	for n < len(r.changes) && n < changesAtOnce {
		c := &r.changes[n]
		first, size := r.l.chunk(c.task)
		s, ok := chunks[first]
		if !ok {
			if len(chunks) == chunksAtOnce {
				break
			}
			var err error
			if s, err = r.statesOf(ctx, first, size); err != nil {
				return false, err
			}
			chunks[first] = s
		}
		s.Tasks[int(c.task)-first] = merged(s.Tasks[int(c.task)-first], c.PlanState)
		n++
	}
	ops := make([]clientv3.Op, 0, n+len(chunks)+1)
	for first, s := range chunks {
		value, err := etcdkv.Encode(s)
		if err != nil {
			return false, err
		}
		ops = append(ops, clientv3.OpPut(r.keys.States(first), value))
	}
	for i := range r.changes[:n] {
		if c := &r.changes[i]; c.item {
			ops = append(ops, clientv3.OpDelete(r.keys.Item(int(c.task))))
		}
	}
	seq := r.seq
	if r.tells && n > 0 {
		told, err := r.events(n)
		if err != nil {
			return false, err
		}
		ops = append(ops, clientv3.OpPut(r.keys.Event(seq+1), told))
		seq += int64(n)
	}
	status, err := r.status(seq)
	if err != nil {
		return false, err
	}
	ops = append(ops, clientv3.OpPut(r.keys.Status(), status))
	resp, err := r.k.txn(ctx, []clientv3.Cmp{r.fence.Fence()}, ops...)
	if err != nil {
		return false, fmt.Errorf("write down states of tasks: %w", err)
	}
	if !resp.Succeeded {
		return false, errFenced
	}
	r.seq = seq
	for first, s := range chunks {
		r.states.set(first, s)
	}
	now := r.k.now()
	for i := range r.changes[:n] {
		if c := &r.changes[i]; plan.State(c.State).Final() {
			r.skips = append(r.skips, r.l.ended(c.task, now)...)
		}
	}
	r.changes = append(r.changes[:0], r.changes[n:]...)
	r.untold = false
	return len(r.changes)+len(r.skips) > 0, nil
}

// merged is a task's new state, with what is known of it from before.
func merged(was, is etcdkv.PlanState) etcdkv.PlanState {
	if is.RunID == "" {
		is.RunID, is.Minion, is.Attempt = was.RunID, was.Minion, was.Attempt
	}
	return is
}

// statesOf returns a copy of the states of a chunk.
func (r *runner) statesOf(ctx context.Context, first, size int) (*etcdkv.PlanStates, error) {
	s, ok := r.states.get(first)
	if !ok {
		resp, err := r.k.txn(ctx, nil, clientv3.OpGet(r.keys.States(first)))
		if err != nil {
			return nil, err
		}
		s = &etcdkv.PlanStates{Schema: etcdkv.Schema}
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			read, err := etcdkv.Decode[etcdkv.PlanStates](r.keys.States(first), kvs[0].Value)
			if err != nil {
				return nil, err
			}
			s = &read
		}
	}
	out := &etcdkv.PlanStates{Schema: s.Schema, Tasks: make([]etcdkv.PlanState, size)}
	copy(out.Tasks, s.Tasks)
	return out, nil
}

// status is what is told of the plan. It counts what is written down with it, and what will be.
func (r *runner) status(seq int64) (string, error) {
	return etcdkv.Encode(etcdkv.PlanStatus{
		Schema: etcdkv.Schema, Node: string(r.k.cfg.Node), At: r.k.now().UTC(), Counts: r.counts(), Trouble: maps.Clone(r.trouble), Seq: seq,
	})
}

// counts are the tasks by their states.
func (r *runner) counts() map[string]int {
	counts := map[string]int{}
	for s, n := range r.l.counts {
		if n > 0 {
			counts[string(s)] = n
		}
	}
	return counts
}

// events are the first changes as the upstream is told of them.
func (r *runner) events(n int) (string, error) {
	b := etcdkv.PlanEvents{Schema: etcdkv.Schema, At: r.k.now().UTC(), First: r.seq + 1}
	for i := range r.changes[:n] {
		c := &r.changes[i]
		b.Events = append(b.Events, etcdkv.PlanEvent{
			Seq: r.seq + 1 + int64(i), Task: r.l.graph.Name(int(c.task)), State: c.State, At: c.At, Reason: c.Reason, Minion: c.Minion, Attempt: c.Attempt, RunID: c.RunID,
		})
	}
	return etcdkv.Encode(b)
}

// troubled notes why tasks of a type wait; empty: they do not.
func (r *runner) troubled(typ, why string) {
	if r.trouble[typ] == why {
		return
	}
	if r.untold = true; why == "" {
		delete(r.trouble, typ)
		return
	}
	r.trouble[typ] = why
}
