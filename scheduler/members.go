package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// ofShard has a shard of this node answer a question. The error wraps job.ErrUnavailable
// when the shard is not this node's, or not yet, or does not come to it.
func ofShard[T any](ctx context.Context, e *Engine, id job.ShardID, ask func(*shard) T) (T, error) {
	var none T
	e.mu.RLock()
	s := e.shards[id]
	e.mu.RUnlock()
	if s == nil {
		return none, fmt.Errorf("shard %v is not node %s's: %w", id, e.cfg.Node, job.ErrUnavailable)
	}
	type answer struct {
		is   T
		good bool
	}
	answers := make(chan answer, 1) // no answer waits
	s.do(func() {
		if !s.synced || !s.own.Held() {
			answers <- answer{}
			return
		}
		answers <- answer{ask(s), true}
	})
	timeout := time.NewTimer(liveTimeout)
	defer timeout.Stop()
	select {
	case a := <-answers:
		if !a.good {
			return none, fmt.Errorf("shard %v is being taken over: %w", id, job.ErrUnavailable)
		}
		return a.is, nil
	case <-timeout.C:
		return none, fmt.Errorf("shard %v is busy: %w", id, job.ErrUnavailable)
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// Member tells of which open run a task is that was ordered under a token, or why it is of
// none: it has ended, or another attempt has its place. The error wraps job.ErrUnavailable
// when this node cannot say.
func (e *Engine) Member(ctx context.Context, id job.ShardID, task job.TaskID, token job.Token) (job.Member, error) {
	m, err := ofShard(ctx, e, id, func(s *shard) job.Member { return s.member(task) })
	if err == nil && m.Owner.Less(token) {
		return job.Member{}, fmt.Errorf("shard %v has another owner by now: %w", id, job.ErrUnavailable)
	}
	return m, err
}

func (s *shard) member(task job.TaskID) job.Member {
	m := job.Member{Owner: s.own.Token()}
	f := s.fireOf(task.Fire)
	if f == nil || f.ended() {
		m.Refused = "its run is not open: it has ended, or the cluster has never begun it"
		return m
	}
	m.Fire, m.Run, m.Job, m.Tasks = f.id, f.runID(), f.e.key, len(f.tasks)
	_, moved := s.moved[f.id.Job]
	m.Deleted = f.e.Gone || moved
	switch t := f.find(task); {
	case t == nil:
		m.Refused = "it has no place in its run any more: another attempt or another minion has it"
	case t.final():
		m.Refused = "it has ended"
	case !t.phase.MayBeOut():
		m.Refused = "no minion has it now"
	}
	return m
}

// Fellows tells of all tasks of an open run; there are none when it is not open.
func (e *Engine) Fellows(ctx context.Context, id job.ShardID, fire job.FireID) ([]job.Fellow, error) {
	return ofShard(ctx, e, id, func(s *shard) []job.Fellow {
		f := s.fires[fire]
		if f == nil || f.ended() {
			return nil
		}
		out := make([]job.Fellow, len(f.tasks))
		for i, t := range f.tasks {
			out[i] = job.Fellow{Minion: t.minion, Share: f.taskID(t).Fire.Share, Attempt: t.attempt}
			if t.final() {
				out[i].State = t.report.State
			}
		}
		return out
	})
}

// Closed returns those of some fires of a shard whose runs are over and recorded, or were
// never begun, and the token under which that is so.
func (e *Engine) Closed(ctx context.Context, id job.ShardID, fires []job.FireID) ([]job.FireID, job.Token, error) {
	type answer struct {
		closed []job.FireID
		token  job.Token
	}
	a, err := ofShard(ctx, e, id, func(s *shard) answer {
		a := answer{token: s.own.Token()}
		for _, f := range fires {
			if s.fires[f] == nil {
				a.closed = append(a.closed, f)
			}
		}
		return a
	})
	return a.closed, a.token, err
}
