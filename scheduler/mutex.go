package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// A group with a mutex has each of its runs hold a lock, the same that
// `carillon lock` takes. The hold must outlive the owner, for the run does: so
// it lies on a lease of the group, which is named in the shard's state and kept
// alive by whoever owns the shard. A run's place in the lock's queue has the
// run's id, by which any owner resumes or removes it. What a former owner may
// have left there, for runs that have ended, is swept.

const (
	// mutexTTL is how long the group's lease lives when nobody owns the shard.
	mutexTTL = 10 * time.Minute
	// mutexRenew is how often it is renewed, mutexTry how soon after a failure.
	mutexRenew = time.Minute
	mutexTry   = time.Second
	// mutexSweep is how often the lock's queue is compared with the open fires.
	mutexSweep = 5 * time.Second
)

// mutex is what a shard knows of its group's lock.
type mutex struct {
	// spawn runs fn in a goroutine of the shard.
	spawn func(fn func(context.Context))
	// preparing: the group's lease is being granted.
	preparing bool
	// waiting are fires that ask for the lock once there is a lease.
	waiting []*fire
	// renewAt and sweepAt are when the next of these is due.
	renewAt, sweepAt int64
}

// passMutex reports whether the fire has the group's lock. If not, it is
// attended again when it has.
func (s *shard) passMutex(f *fire, g *cluster.Group) bool {
	if f.locked || g.Spec.Mutex == "" && !f.locking {
		return true
	}
	if f.locking {
		return false
	}
	f.locking = true
	if !s.mutexReady(g) {
		s.mutex.waiting = append(s.mutex.waiting, f)
		return false
	}
	s.lockFor(f)
	return false
}

// mutexReady reports whether the group has its lease, and begins to get one.
func (s *shard) mutexReady(g *cluster.Group) bool {
	if s.state.MutexLease != 0 && (s.state.Mutex == g.Spec.Mutex || s.anyLocked()) {
		return true // a new name is taken up once no run holds the old one
	}
	if s.mutex.preparing {
		return false
	}
	s.mutex.preparing = true
	old, name := s.state.MutexLease, g.Spec.Mutex
	s.mutex.spawn(func(ctx context.Context) {
		for {
			lease, err := s.newMutexLease(ctx, old)
			if err == nil {
				s.do(func() { s.setMutex(name, lease) })
				return
			}
			s.log.Warn("no lease for the group's lock, trying again", zap.Error(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(mutexTry):
			}
		}
	})
	return false
}

// newMutexLease grants a lease and revokes the one before it.
func (s *shard) newMutexLease(ctx context.Context, old int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if old != 0 {
		if _, err := s.deps.Client.Revoke(ctx, clientv3.LeaseID(old)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return 0, err
		}
	}
	r, err := s.deps.Client.Grant(ctx, int64(mutexTTL/time.Second))
	if err != nil {
		return 0, err
	}
	return int64(r.ID), nil
}

// setMutex has the lease stored; only then is the lock asked for, so that the
// next owner knows of every hold.
func (s *shard) setMutex(name string, lease int64) {
	s.state.Mutex, s.state.MutexLease, s.ringDirty = name, lease, true
	s.mutex.renewAt = s.deps.now() + int64(mutexRenew)
	s.afterState = append(s.afterState, func() {
		s.mutex.preparing = false
		waiting := s.mutex.waiting
		s.mutex.waiting = nil
		for _, f := range waiting {
			if !f.ended() {
				s.lockFor(f)
			}
		}
	})
}

func (s *shard) anyLocked() bool {
	for _, f := range s.fires {
		if f.locked && !f.ended() {
			return true
		}
	}
	return false
}

// lockFor waits for the lock on behalf of a fire.
func (s *shard) lockFor(f *fire) {
	name, lease, id := s.state.Mutex, clientv3.LeaseID(s.state.MutexLease), string(f.id.RunID())
	purpose := fmt.Sprintf("run %s of %s", id, f.e.key)
	ns := f.e.key.Namespace
	asking, stop := context.WithCancel(context.Background())
	f.giveUpLock = stop
	s.mutex.spawn(func(ctx context.Context) {
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		for asking.Err() == nil {
			err := s.withMutex(lease, ns, name, id, purpose, func(m *lock.Mutex) error {
				_, err := m.Lock(asking)
				return err
			})
			switch {
			case err == nil:
				s.do(func() { s.gotMutex(f) })
				return
			case errors.Is(err, lock.ErrLost): // the lease, or our time to vouch for it
				s.do(func() { s.askAgain(f) })
				return
			}
			s.log.Debug("lock of a run not got yet", zap.String("lock", name), zap.Error(err))
			select {
			case <-asking.Done():
			case <-time.After(mutexTry):
			}
		}
		if ctx.Err() == nil { // the run has ended
			s.abandon(ctx, lease, ns, name, id)
		}
	})
}

// askAgain has a fire ask for the lock anew.
func (s *shard) askAgain(f *fire) {
	f.locking = false
	if !f.ended() {
		s.attendAt(f, s.deps.now()+int64(mutexTry))
	}
}

func (s *shard) gotMutex(f *fire) {
	f.locking, f.locked = false, true
	if f.ended() {
		s.unlock(f) // it was ended while it waited
		return
	}
	s.attendAt(f, s.deps.now())
}

// withMutex does something with a run's place in the lock's queue.
func (s *shard) withMutex(lease clientv3.LeaseID, ns, name, id, purpose string, do func(*lock.Mutex) error) error {
	sess, err := lock.Borrow(lock.SessionConfig{
		Holder: "carillon", Epoch: s.own.Token().Epoch, Marks: s.cfg.Keys.Marks(),
	}, lock.Deps{Client: s.deps.Client, Logger: s.log}, lease, mutexTTL/2)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = sess.Close(ctx) // what lies on the lease stays
	}()
	m, err := lock.NewMutex(sess, s.cfg.Keys.Lock(ns, name), lock.MutexOptions{Purpose: purpose, ID: id, KeepPlace: true})
	if err != nil {
		return err
	}
	return do(m)
}

// unlock frees the lock that a run which has ended holds, or waits for. If that
// fails, the sweep does it.
func (s *shard) unlock(f *fire) {
	switch {
	case f.locked:
		f.locked = false
		s.abandonLater(f.e.key.Namespace, string(f.id.RunID()))
	case f.locking && f.giveUpLock != nil:
		f.giveUpLock()
	}
}

func (s *shard) abandonLater(ns, id string) {
	lease, name := clientv3.LeaseID(s.state.MutexLease), s.state.Mutex
	s.mutex.spawn(func(ctx context.Context) { s.abandon(ctx, lease, ns, name, id) })
}

func (s *shard) abandon(ctx context.Context, lease clientv3.LeaseID, ns, name, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := s.withMutex(lease, ns, name, id, "", func(m *lock.Mutex) error { return m.Abandon(ctx) })
	if err != nil {
		s.log.Warn("lock of a run that has ended is not free yet", zap.String("lock", name), zap.String("run", id), zap.Error(err))
	}
}

// tendMutex keeps the group's lease alive and sweeps the lock's queue.
func (s *shard) tendMutex(now int64) {
	if s.turns == nil || s.state.MutexLease == 0 {
		return
	}
	g := s.turns.group()
	if g == nil {
		return
	}
	if now >= s.mutex.renewAt {
		s.mutex.renewAt = now + int64(mutexRenew)
		lease := clientv3.LeaseID(s.state.MutexLease)
		s.mutex.spawn(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, commitTimeout)
			defer cancel()
			_, err := s.deps.Client.KeepAliveOnce(ctx, lease)
			if err != nil {
				s.do(func() { s.mutexNotRenewed(lease, err) })
			}
		})
	}
	if now >= s.mutex.sweepAt && s.state.Mutex != "" {
		s.mutex.sweepAt = now + int64(mutexSweep)
		ns, name, lease := g.Key.Namespace, s.state.Mutex, clientv3.LeaseID(s.state.MutexLease)
		s.mutex.spawn(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, commitTimeout)
			defer cancel()
			st, err := lock.Inspect(ctx, s.deps.Client, s.cfg.Keys.Lock(ns, name))
			if err == nil {
				s.do(func() { s.sweep(ns, lease, append(st.Holders, st.Waiters...)) })
			}
		})
	}
}

func (s *shard) mutexNotRenewed(lease clientv3.LeaseID, err error) {
	s.mutex.renewAt = s.deps.now() + int64(mutexTry)
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) || s.state.MutexLease != int64(lease) {
		return
	}
	// Nobody owned the shard for so long that the holds are lost. Runs under way
	// go on without; the next ones get a new lease.
	s.log.Error("the group's locks are lost: nobody kept their lease", zap.String("lock", s.state.Mutex))
	s.state.MutexLease, s.ringDirty = 0, true
}

// sweep removes places of runs that are not open any more.
func (s *shard) sweep(ns string, lease clientv3.LeaseID, there []lock.Contender) {
	if int64(lease) != s.state.MutexLease {
		return
	}
	open := make(map[string]bool, len(s.fires))
	for id, f := range s.fires {
		if !f.ended() {
			open[string(id.RunID())] = true
		}
	}
	for _, c := range there {
		if c.Lease == lease && !open[c.ID] {
			s.abandonLater(ns, c.ID)
		}
	}
}

// lockState copies what of the state belongs to the lock: it may change while a
// commit is under way.
func lockState(to *etcdkv.ShardState, from *etcdkv.ShardState) {
	to.Ring, to.Mutex, to.MutexLease, to.Failures = from.Ring, from.Mutex, from.MutexLease, from.Failures
}

// waitsFor tells people which lock a fire waits for.
func (s *shard) waitsFor() string {
	return fmt.Sprintf("waiting for the lock %s of its group", s.state.Mutex)
}
