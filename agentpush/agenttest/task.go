package agenttest

import (
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// order runs a task that is new, and returns what to report of it.
func (m *Minion) order(w *agentpb.Order) *agentpb.Report {
	o, err := agentpb.ToOrder(w, m.cfg.ID)
	if err != nil {
		return nil
	}
	key := task{o.Task.Fire, o.Task.Attempt}
	base := job.Report{Task: o.Task, Shard: o.Shard, Known: true, Token: o.Token, Term: o.Term}
	m.mu.Lock()
	defer m.mu.Unlock()
	if state, ok := m.done[key]; ok {
		m.repeated.Add(1)
		if r := m.unacked[key]; r != nil {
			return r
		}
		base.State, base.Reason = state, "was reported before"
		return agentpb.FromReport(&base)
	}
	if o.Token.Less(m.fences[o.Shard]) {
		base.Known, base.State, base.Reason = false, job.StateRejected, "stale token"
		return agentpb.FromReport(&base)
	}
	m.fences[o.Shard] = o.Token
	if !o.NotAfter.IsZero() && time.Now().After(o.NotAfter) {
		base.State, base.Reason = job.StateExpired, "came too late"
		m.done[key] = base.State
		return agentpb.FromReport(&base)
	}
	r := base
	r.State, r.StartedAt = job.StateSucceeded, time.Now()
	if m.cfg.Answer != nil {
		r = m.cfg.Answer(&o)
	}
	r.Spooled = m.cfg.Spool
	m.runs[key]++
	m.done[key] = r.State
	m.executed.Add(1)
	wire := agentpb.FromReport(&r)
	if m.cfg.Spool {
		m.unacked[key] = wire
	}
	return wire
}

func (m *Minion) question(q *agentpb.Question) *agentpb.Report {
	id, _ := agentpb.ToTask(q.GetTask(), m.cfg.ID) // a bad one is nobody's task
	shard := job.ShardID(q.GetShard())
	m.mu.Lock()
	defer m.mu.Unlock()
	token := job.Token{Epoch: q.GetTokenEpoch(), Revision: q.GetTokenRevision()}
	if m.fences[shard].Less(token) {
		m.fences[shard] = token
	}
	state, known := m.done[task{id.Fire, id.Attempt}]
	return agentpb.FromReport(&job.Report{Task: id, Shard: shard, Known: known, State: state, Token: token, Term: q.GetTerm()})
}

// cancel makes sure that the task never starts; here, all tasks have ended.
func (m *Minion) cancel(c *agentpb.Cancel) *agentpb.Report {
	id, _ := agentpb.ToTask(c.GetTask(), m.cfg.ID) // a bad one is nobody's task
	key := task{id.Fire, id.Attempt}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.done[key]; !known {
		m.done[key] = job.StateCancelled
	}
	return agentpb.FromReport(&job.Report{
		Task: id, Shard: job.ShardID(c.GetShard()), Known: true, State: m.done[key], Reason: c.GetReason(),
	})
}

func (m *Minion) acked(a *agentpb.Ack) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range a.GetTasks() {
		if id, err := agentpb.ToTask(t, m.cfg.ID); err == nil {
			delete(m.unacked, task{id.Fire, id.Attempt})
		}
	}
}

// outputPart is the size of a chunk of output.
const outputPart = 4 << 10

func (s *session) output(req *agentpb.OutputRequest) error {
	chunk := func(c *agentpb.OutputChunk) error {
		c.Id = req.GetId()
		return s.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Output{Output: c}})
	}
	id, err := agentpb.ToTask(req.GetTask(), s.m.cfg.ID)
	var data []byte
	if err == nil && s.m.cfg.Output == nil {
		err = job.ErrNotFound
	} else if err == nil {
		data, err = s.m.cfg.Output(id)
	}
	if err != nil {
		return chunk(&agentpb.OutputChunk{Error: err.Error()})
	}
	for len(data) > 0 {
		n := min(len(data), outputPart)
		if err := chunk(&agentpb.OutputChunk{Stream: 1, Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return chunk(&agentpb.OutputChunk{Eof: true})
}
