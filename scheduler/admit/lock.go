package admit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
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
	// lockTTL is how long the group's lease lives when nobody owns the shard.
	lockTTL = 10 * time.Minute
	// lockRenew is how often it is renewed, lockTry how soon after a failure.
	lockRenew = time.Minute
	lockTry   = time.Second
	// lockSweep is how often the lock's queue is compared with the open runs.
	lockSweep = 5 * time.Second
	// callTimeout bounds one call of etcd, and closeTimeout the giving back of a session.
	callTimeout  = 2 * time.Second
	closeTimeout = 3 * time.Second
)

// hold is what a run has of its group's lock. The zero value is nothing.
type hold uint8

const (
	nothing hold = iota // it has not come to the lock, or has given it back
	asking              // it waits for the lock
	holding             // it holds it
)

// groupLock is what an owner knows of its group's lock.
type groupLock struct {
	o *Owner
	d *Deps
	// name and lease are those of the lock that runs ask for. Lease 0: there is none.
	name  string
	lease int64
	// holders counts the runs that hold it.
	holders int
	// preparing: the group's lease is being granted, or stored.
	preparing bool
	// waiting are runs that ask for the lock once there is a lease.
	waiting []*Run
	// renewAt and sweepAt are when the next of these is due.
	renewAt, sweepAt int64
}

// Resume takes what an earlier owner has stored of the group's lock.
func (a *Admission) Resume(name string, lease int64) { a.lock.name, a.lock.lease = name, lease }

// pass reports whether the run has the group's lock. If not, it asks again when
// it has.
func (l *groupLock) pass(r *Run, g *cluster.Group) bool {
	if r.hold == holding || r.hold == nothing && g.Spec.Mutex == "" {
		return true
	}
	if r.hold == asking {
		return false
	}
	r.hold = asking
	if l.ready(g) {
		l.askFor(r)
	} else {
		l.waiting = append(l.waiting, r)
	}
	return false
}

// ready reports whether the group has its lease, and begins to get one.
func (l *groupLock) ready(g *cluster.Group) bool {
	switch {
	case l.preparing:
		return false
	case l.lease != 0 && (l.name == g.Spec.Mutex || l.holders > 0):
		return true // a new name is taken up once no run holds the old one
	}
	l.preparing = true
	old, name := l.lease, g.Spec.Mutex
	l.o.Go(func(ctx context.Context) {
		for {
			lease, err := l.newLease(ctx, old)
			if err == nil {
				l.o.Do(func() { l.set(name, lease) })
				return
			}
			l.d.Logger.Warn("no lease for the group's lock, trying again", zap.Error(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(lockTry):
			}
		}
	})
	return false
}

// newLease grants a lease and revokes the one before it.
func (l *groupLock) newLease(ctx context.Context, old int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if old != 0 {
		if _, err := l.d.Client.Revoke(ctx, clientv3.LeaseID(old)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return 0, err
		}
	}
	r, err := l.d.Client.Grant(ctx, int64(lockTTL/time.Second))
	if err != nil {
		return 0, err
	}
	return int64(r.ID), nil
}

// set has the lease stored; only then is the lock asked for by those who wait, so that
// the next owner knows of every hold.
func (l *groupLock) set(name string, lease int64) {
	l.name, l.lease = name, lease
	l.renewAt = l.o.Now() + int64(lockRenew)
	l.o.StoreLock(name, lease, func() {
		l.preparing = false
		waiting := l.waiting
		l.waiting = nil
		for _, r := range waiting {
			if !l.o.Ended(r) {
				l.askFor(r)
			}
		}
	})
}

// askFor waits for the lock on behalf of a run.
func (l *groupLock) askFor(r *Run) {
	at := l.placeOf(r.Job.Namespace, r.ID.RunID())
	at.purpose = fmt.Sprintf("run %s of %s", at.run, r.Job)
	asking, stop := context.WithCancel(context.Background())
	r.giveUp = stop
	l.o.Go(func(ctx context.Context) {
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		for asking.Err() == nil {
			err := l.with(at, func(m *lock.Mutex) error {
				_, err := m.Lock(asking)
				return err
			})
			switch {
			case err == nil:
				l.o.Do(func() { l.got(r) })
				return
			case errors.Is(err, lock.ErrLost): // the lease, or our time to vouch for it
				l.o.Do(func() { l.askAgain(r) })
				return
			}
			l.d.Logger.Debug("lock of a run not got yet", zap.String("lock", at.name), zap.Error(err))
			select {
			case <-asking.Done():
			case <-time.After(lockTry):
			}
		}
		if ctx.Err() == nil { // the run has ended
			l.abandon(ctx, at)
		}
	})
}

// askAgain has a run ask for the lock anew.
func (l *groupLock) askAgain(r *Run) {
	r.hold = nothing
	if !l.o.Ended(r) {
		l.o.AskAgain(r, l.o.Now()+int64(lockTry))
	}
}

func (l *groupLock) got(r *Run) {
	r.hold = holding
	l.holders++
	if l.o.Ended(r) {
		l.free(r) // it has ended while it waited
		return
	}
	l.o.AskAgain(r, l.o.Now())
}

// place in the lock's queue is a run's, on the group's lease.
type lockPlace struct {
	lease     clientv3.LeaseID
	namespace string
	name      string
	run       job.RunID
	purpose   string
}

func (l *groupLock) placeOf(namespace string, run job.RunID) lockPlace {
	return lockPlace{lease: clientv3.LeaseID(l.lease), namespace: namespace, name: l.name, run: run}
}

// with does something with a run's place in the lock's queue.
func (l *groupLock) with(at lockPlace, do func(*lock.Mutex) error) error {
	sess, err := lock.Borrow(lock.SessionConfig{
		Holder: "carillon", Epoch: l.o.Token.Token().Epoch, Marks: l.d.Keys.Marks(),
	}, lock.Deps{Client: l.d.Client, Logger: l.d.Logger}, at.lease, lockTTL/2)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = sess.Close(ctx) // what lies on the lease stays
	}()
	m, err := lock.NewMutex(sess, l.d.Keys.Lock(at.namespace, at.name), lock.MutexOptions{Purpose: at.purpose, ID: string(at.run), KeepPlace: true})
	if err != nil {
		return err
	}
	return do(m)
}

// free gives the lock back that a run which has ended holds, or waits for. If that
// fails, the sweep does it.
func (l *groupLock) free(r *Run) {
	switch {
	case r.hold == holding:
		r.hold = nothing
		l.holders--
		l.abandonLater(r.Job.Namespace, r.ID.RunID())
	case r.hold == asking && r.giveUp != nil:
		r.giveUp()
	}
}

func (l *groupLock) abandonLater(namespace string, run job.RunID) {
	at := l.placeOf(namespace, run)
	l.o.Go(func(ctx context.Context) { l.abandon(ctx, at) })
}

func (l *groupLock) abandon(ctx context.Context, at lockPlace) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	err := l.with(at, func(m *lock.Mutex) error { return m.Abandon(ctx) })
	if err != nil {
		l.d.Logger.Warn("lock of a run that has ended is not free yet", zap.String("lock", at.name), zap.String("run", string(at.run)), zap.Error(err))
	}
}

// tend keeps the group's lease alive and sweeps the lock's queue.
func (l *groupLock) tend(g *cluster.Group, now int64) {
	if l.lease == 0 {
		return
	}
	lease := clientv3.LeaseID(l.lease)
	if now >= l.renewAt {
		l.renewAt = now + int64(lockRenew)
		l.o.Go(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			if _, err := l.d.Client.KeepAliveOnce(ctx, lease); err != nil {
				l.o.Do(func() { l.notRenewed(lease, err) })
			}
		})
	}
	if now >= l.sweepAt && l.name != "" {
		l.sweepAt = now + int64(lockSweep)
		namespace, name := g.Key.Namespace, l.name
		l.o.Go(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			st, err := lock.Inspect(ctx, l.d.Client, l.d.Keys.Lock(namespace, name))
			if err == nil {
				l.o.Do(func() { l.sweep(namespace, lease, append(st.Holders, st.Waiters...)) })
			}
		})
	}
}

func (l *groupLock) notRenewed(lease clientv3.LeaseID, err error) {
	l.renewAt = l.o.Now() + int64(lockTry)
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) || l.lease != int64(lease) {
		return
	}
	// Nobody owned the shard for so long that the holds are lost. Runs under way
	// go on without; the next ones get a new lease.
	l.d.Logger.Error("the group's locks are lost: nobody kept their lease", zap.String("lock", l.name))
	l.lease = 0
	l.o.StoreLock(l.name, 0, nil)
}

// sweep removes places of runs that are not open any more.
func (l *groupLock) sweep(namespace string, lease clientv3.LeaseID, there []lock.Contender) {
	if int64(lease) != l.lease {
		return
	}
	open := l.o.Open()
	for _, c := range there {
		if c.Lease == lease && !open[job.RunID(c.ID)] {
			l.abandonLater(namespace, job.RunID(c.ID))
		}
	}
}

// why tells people which lock a run waits for.
func (l *groupLock) why() string {
	return fmt.Sprintf("waiting for the lock %s of its group", l.name)
}
