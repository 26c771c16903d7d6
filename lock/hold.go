package lock

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// attendAfter is how long a hold lasts before it is watched: most are shorter.
	attendAfter = 100 * time.Millisecond
	// askEvery is how often a hold looks whether it has to make room, once it
	// knows that somebody asks for room.
	askEvery = 250 * time.Millisecond
)

// Hold is a lock that is held. It is a lifetime: it ends when it is unlocked,
// when it is preempted, broken or held for too long, or with its session. Its
// methods may be called by many goroutines.
type Hold struct {
	grant    *grant
	unlocked atomic.Bool
	life     context.Context
	end      context.CancelCauseFunc
}

// Token returns the fencing token of the hold. Tokens of one lock rise strictly
// from hold to hold. The holds of a reentrant mutex have one token in common.
func (h *Hold) Token() Token { return Token{Epoch: h.grant.end.rec.Epoch, Revision: h.grant.end.rev} }

// Key returns the hold's key in etcd.
func (h *Hold) Key() string { return h.grant.end.hold }

// Fence returns the condition that a write to the same etcd must compare to be
// safe from a hold that is over.
func (h *Hold) Fence() clientv3.Cmp { return h.grant.end.fence() }

// Held reports whether the hold may be relied on at this moment. It reads the
// clock.
func (h *Hold) Held() bool { return h.life.Err() == nil && h.grant.s.Held() }

// Context returns a context that ends with parent or with the hold; its cause
// is then ErrLost, ErrClosed, ErrPreempted, ErrMaxHold, or ErrFenced if
// somebody removed the hold. The cancel function frees its resources.
func (h *Hold) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return within(parent, h.life)
}

// Preempted is closed when a contender of a higher priority asks for the lock.
// The hold's context ends when its grace is over, with the cause ErrPreempted,
// and the lock is freed when Unlock is called, or after another grace.
func (h *Hold) Preempted() <-chan struct{} { return h.grant.preempted }

// Unlock ends the hold and frees the lock, or hands it over to who is next;
// never does it touch a newer hold. The error is ErrFenced if the lock was lost
// before. Another call does nothing. If the answer is lost, freeing goes on in
// the background until the lease has ended, and the error says so. Who used the
// lock must have stopped.
func (h *Hold) Unlock(ctx context.Context) error {
	if h.unlocked.Swap(true) {
		return nil
	}
	h.end(ErrClosed)
	return h.grant.unlock(ctx)
}

// grant is what the holds of one holder have in common: the hold in etcd.
type grant struct {
	s     *Session
	end   *ending
	since time.Duration // by the session's clock, when it was granted, or earlier

	// life is the time in which the grant may be relied on.
	life   context.Context
	cancel context.CancelCauseFunc
	// preempted is closed when somebody asks for room.
	preempted chan struct{}
	// done is called once the grant is given up. May be nil.
	done func()
	// attendance starts the watch over the grant.
	attendance *time.Timer
	unlocked   chan struct{} // closed by the last Unlock

	mu sync.Mutex
	// mu guards all below.
	holds  int  // not yet unlocked
	forced bool // freed without Unlock
}

// granted makes a grant of the contender's hold as it was read, and its first hold.
func (c *contender) granted(kv *mvccpb.KeyValue) (*Hold, error) {
	if err := c.s.Err(); err != nil {
		return nil, err
	}
	end, err := c.ending(kv)
	if err != nil {
		return nil, err
	}
	g := &grant{
		s: c.s, end: end, since: c.s.now(),
		preempted: make(chan struct{}), unlocked: make(chan struct{}), holds: 1,
	}
	if len(kv.Value) != 0 && c.m.opts.ID != "" {
		// Another call may have got it long ago.
		g.since -= max(0, time.Since(end.rec.Held))
	}
	g.life, g.cancel = context.WithCancelCause(c.s.life)
	after := attendAfter
	if m := end.rec.MaxHold; m > 0 {
		after = min(after, m)
	}
	g.attendance = time.AfterFunc(after, func() { g.s.background(g.attend) })
	return g.share(), nil
}

// hold returns a further hold of the grant, or nil if the grant is over.
func (g *grant) hold() *Hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.life.Err() != nil || g.forced {
		return nil
	}
	select {
	case <-g.unlocked:
		return nil
	default:
	}
	g.holds++
	return g.share()
}

func (g *grant) share() *Hold {
	h := &Hold{grant: g}
	h.life, h.end = context.WithCancelCause(g.life)
	return h
}

// unlock ends one hold of the grant, and frees the lock when it is the last.
func (g *grant) unlock(ctx context.Context) error {
	g.mu.Lock()
	g.holds--
	last, forced := g.holds == 0, g.forced
	if last {
		close(g.unlocked)
	}
	g.mu.Unlock()
	if !last {
		return nil
	}
	g.attendance.Stop()
	cause := context.Cause(g.life)
	g.cancel(ErrClosed)
	if g.done != nil {
		g.done()
	}
	if forced {
		return fmt.Errorf("unlock %s: %w: %w", g.end.hold, ErrFenced, cause)
	}
	gone, err := g.end.run(ctx, true)
	if err == nil && gone {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("unlock %s: %w", g.end.hold, err)
	}
	return nil
}

// force ends the grant for a cause, and frees the lock if Unlock is not called
// within the grace.
func (g *grant) force(cause error) {
	g.cancel(cause)
	t := time.NewTimer(g.end.rec.Grace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.unlocked:
		return
	case <-g.s.life.Done():
		return // the lease's end frees the lock
	}
	g.mu.Lock()
	g.forced = g.holds > 0
	forced := g.forced
	g.mu.Unlock()
	if !forced {
		return
	}
	g.s.log.Warn("freed a lock that was not unlocked", zap.String("key", g.end.hold), zap.NamedError("cause", cause))
	g.s.persist("free a lock", func(ctx context.Context) error {
		_, err := g.end.once(ctx, false)
		return err
	})
}

// attend watches over the grant: that nobody has removed it, that nobody of a
// higher priority asks for room, and that it does not last too long.
func (g *grant) attend() {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(g.life))
	defer cancel() // ends the watches
	var tooLong, graceOver, askAgain <-chan time.Time
	if m := g.end.rec.MaxHold; m > 0 {
		t := time.NewTimer(max(0, g.since+m-g.s.now()))
		defer t.Stop()
		tooLong = t.C
	}
	own, higher := g.watch(ctx, g.end.rev+1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tooLong:
			g.force(ErrMaxHold)
			return
		case <-graceOver:
			g.force(ErrPreempted)
			return
		case r, ok := <-own:
			switch {
			case !ok || r.Err() != nil:
				if own, higher = g.rewatch(ctx); own == nil {
					return
				}
			case len(r.Events) > 0:
				g.cancel(g.s.whyGone(ctx))
				return
			}
		case r, ok := <-higher:
			if !ok || r.Err() != nil {
				if own, higher = g.rewatch(ctx); own == nil {
					return
				}
				continue
			}
			if graceOver == nil && slices.ContainsFunc(r.Events, preempting) {
				graceOver, askAgain = g.makeRoom(ctx)
			}
		case <-askAgain:
			graceOver, askAgain = g.makeRoom(ctx)
		}
	}
}

// preempting reports whether the event is that of a waiter that preempts.
func preempting(e *clientv3.Event) bool {
	rec, err := decodeRecord(e.Kv.Value)
	return err == nil && rec.Preempt
}

// makeRoom tells the holder if the grant has to make room. It returns when its
// grace is over, or when to ask again because others have to go before it.
func (g *grant) makeRoom(ctx context.Context) (graceOver, askAgain <-chan time.Time) {
	mustGo, asked, err := g.mustGo(ctx)
	switch {
	case mustGo:
		close(g.preempted)
		return time.After(g.end.rec.Grace), nil
	case asked || err != nil:
		return nil, time.After(askEvery + rand.N(askEvery))
	}
	return nil, nil
}

// watch watches the grant's key, and the waiters of a higher priority.
func (g *grant) watch(ctx context.Context, rev int64) (own, higher clientv3.WatchChan) {
	c, l := g.s.client, g.end.lock
	return c.Watch(ctx, g.end.hold, clientv3.WithRev(rev)),
		c.Watch(ctx, l.queue(), clientv3.WithRange(l.queueOf(class(g.end.rec.Priority))), clientv3.WithRev(rev), clientv3.WithFilterDelete())
}

// rewatch watches again after a watch has failed, from the present on. The
// results are nil if the grant is over.
func (g *grant) rewatch(ctx context.Context) (own, higher clientv3.WatchChan) {
	for try := 1; pause(ctx, try); try++ {
		tryCtx, cancel := context.WithTimeout(ctx, tryTimeout)
		r, err := g.s.client.Get(tryCtx, g.end.hold, clientv3.WithKeysOnly())
		cancel()
		if err != nil {
			continue
		}
		if len(r.Kvs) == 0 || r.Kvs[0].ModRevision != g.end.rev {
			g.cancel(g.s.whyGone(ctx))
			return nil, nil
		}
		return g.watch(ctx, r.Header.Revision+1)
	}
	return nil, nil
}
