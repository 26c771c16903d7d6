package scheduler

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/ownership"
)

// errYielded ends a shard whose lock has been passed on or given back.
var errYielded = errors.New("shard passed on")

// Yield passes the shard's lock on to another node's lease. done gets nil when
// the lock has been passed on; the shard ends then.
func (s *shard) Yield(ctx context.Context, to *etcdkv.Member, done func(error)) {
	s.do(func() {
		s.yielding = true
		s.whenIdle(func() { s.pass(ctx, to, done) })
	})
}

// Due returns the instant that is planned next; never: none. Any goroutine may call it.
func (s *shard) Due() int64 { return s.due.Load() }

// leave takes the shard's open fires out of the gauge, once run has returned.
func (s *shard) leave() {
	for _, f := range s.fires {
		if !f.ended() {
			s.met.inFlight.Dec()
		}
	}
	s.nodeLoad.Add(-s.tookUp)
	s.met.aside.Sub(float64(s.asides.count))
	if s.need != (view{}) {
		s.met.behind.Dec()
	}
}

// whenIdle runs fn in the shard's goroutine once no commit is under way.
func (s *shard) whenIdle(fn func()) {
	if s.committing {
		s.afterSave = append(s.afterSave, fn)
		return
	}
	fn()
}

// pass does the hand-over, or the release when there is nobody to pass it to.
func (s *shard) pass(ctx context.Context, to *etcdkv.Member, done func(error)) {
	s.committing = true // nothing else may be written now
	s.wg.Go(func() {
		err := s.passOn(ctx, to)
		s.do(func() {
			s.committing = false
			switch {
			case err == nil:
				s.err = errYielded
			case errors.Is(err, lock.ErrFenced), errors.Is(err, lock.ErrLost):
				s.err = err
			default:
				s.yielding = false
			}
		})
		done(err)
	})
}

func (s *shard) passOn(ctx context.Context, to *etcdkv.Member) error {
	if to == nil {
		return s.own.Release(ctx)
	}
	now := s.deps.now()
	value, err := ownership.OwnerValue(to.Node, s.cfg.Node, now, s.due.Load())
	if err != nil {
		return err
	}
	_, err = s.own.Handover(ctx, clientv3.LeaseID(to.Lease), value, s.tail(now)...)
	return err
}
