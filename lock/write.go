package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
)

const (
	// tryTimeout bounds one request; a request that takes longer is given up
	// and resolved.
	tryTimeout = time.Second
	// resolveTries is how often a caller waits for a lost answer to be
	// resolved before that is left to the background.
	resolveTries = 3
	// resolveFor is how long a caller waits at least, if it has the time.
	resolveFor = 2 * time.Second

	retryMin = 20 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// write is one transaction that puts a key whose value no other write has, so
// that it can be told afterwards whether it happened.
type write struct {
	key, value string
	lease      clientv3.LeaseID
	cmps       []clientv3.Cmp
	also       []clientv3.Op
	// orElse are reads that are made when cmps fail.
	orElse []clientv3.Op
	// undo: if the answer stays lost, the key is removed in the background.
	// Otherwise it is only made sure that nothing happens later.
	undo bool
}

// outcome is what became of a write. Unless it is unknown, a write that was not
// done never will be.
type outcome struct {
	done    bool
	unknown bool
	// rev is the revision of the write, when done.
	rev int64
	// read: the key was read after the write failed, as now. Nil: it does not
	// exist.
	read bool
	now  *mvccpb.KeyValue
	// reads are the answers to also or orElse. Nil when the answer was lost.
	reads []*etcdserverpb.ResponseOp
}

// happened compares that the write's key is as the write left it.
func (w *write) happened() []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(w.key), "=", w.value),
		clientv3.Compare(clientv3.LeaseValue(w.key), "=", w.lease),
	}
}

// commit makes the write. If the answer is lost, it finds out what happened
// and makes sure that nothing happens later: a request may still be on its way
// when we give it up. Every write compares that its own mark does not exist;
// to give a write up is to put its mark, on our lease. After that the write
// cannot succeed any more: not before the lease ends, because of the mark, and
// not later, because it puts a key on that lease or compares one that lay on it.
//
// What cannot be resolved within ctx is left to the background, and unknown.
func (s *Session) commit(ctx context.Context, w *write) (out outcome, err error) {
	err = s.settle(ctx,
		func(ctx context.Context, mark string) (err error) { out, err = s.try(ctx, w, mark); return err },
		func(ctx context.Context, mark string) (done bool, err error) {
			out, err = s.resolve(ctx, w, mark)
			return out.done, err
		},
		func(ctx context.Context, mark string) error { return s.giveUp(ctx, w, mark) },
	)
	var lost *lostAnswer
	if errors.As(err, &lost) {
		return outcome{unknown: true}, err
	}
	return out, err
}

// lostAnswer is the error of a write of which it is not known whether it
// happened. It will not happen from now on.
type lostAnswer struct{ err error }

func (e *lostAnswer) Error() string { return "answer lost: " + e.err.Error() }
func (e *lostAnswer) Unwrap() error { return e.err }

// settle makes a write by try, under a mark of its own. If the answer is lost,
// it calls resolve, which tells whether the write happened and, if not, puts
// the mark. If that fails too, giveUp does so in the background.
func (s *Session) settle(
	ctx context.Context,
	try func(ctx context.Context, mark string) error,
	resolve func(ctx context.Context, mark string) (done bool, err error),
	giveUp func(ctx context.Context, mark string) error,
) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	mark := s.mark()
	err := try(ctx, mark)
	if !ambiguous(err) {
		return err
	}

	// A connection that is lost fails at once, and is back in a moment.
	for try, begun := 0, time.Now(); try < resolveTries || time.Since(begun) < resolveFor; try++ {
		if try > 0 && !pause(ctx, try) {
			break
		}
		done, resolveErr := resolve(ctx, mark)
		if resolveErr == nil {
			if done {
				return nil
			}
			return fmt.Errorf("not done: %w", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.background(func() {
		s.persist("give up a write", func(ctx context.Context) error { return giveUp(ctx, mark) })
	})
	return &lostAnswer{err: err}
}

// try makes the write, under its mark, once.
func (s *Session) try(ctx context.Context, w *write, mark string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cmps := append([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(mark), "=", 0)}, w.cmps...)
	then := append([]clientv3.Op{clientv3.OpPut(w.key, w.value, clientv3.WithLease(w.lease))}, w.also...)
	orElse := append([]clientv3.Op{clientv3.OpGet(w.key)}, w.orElse...)
	r, err := s.client.Txn(ctx).If(cmps...).Then(then...).Else(orElse...).Commit()
	switch {
	case err != nil:
		return outcome{}, err
	case r.Succeeded:
		return outcome{done: true, rev: r.Header.Revision, reads: r.Responses[1:]}, nil
	}
	return w.found(r.Responses[0], r.Responses[1:]), nil
}

// resolve reads what became of the write, and marks it as given up if it has
// not happened: one transaction, so nothing can happen in between.
func (s *Session) resolve(ctx context.Context, w *write, mark string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r, err := s.client.Txn(ctx).If(w.happened()...).
		Then(clientv3.OpGet(w.key)).
		Else(clientv3.OpGet(w.key), clientv3.OpPut(mark, "", clientv3.WithLease(s.lease))).
		Commit()
	if err != nil {
		return outcome{}, err
	}
	return w.found(r.Responses[0], nil), nil
}

// found makes an outcome of the key as it was read.
func (w *write) found(read *etcdserverpb.ResponseOp, reads []*etcdserverpb.ResponseOp) outcome {
	kvs := read.GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return outcome{read: true, reads: reads}
	}
	kv := kvs[0]
	if string(kv.Value) == w.value && clientv3.LeaseID(kv.Lease) == w.lease {
		// We did it: an earlier try went through and its answer was lost.
		return outcome{done: true, rev: kv.ModRevision}
	}
	return outcome{read: true, now: kv, reads: reads}
}

// giveUp makes sure that the write does not happen later and, if it is to be
// undone, that it has not happened either.
func (s *Session) giveUp(ctx context.Context, w *write, mark string) error {
	var undo []clientv3.Op
	if w.undo {
		undo = append(undo, clientv3.OpDelete(w.key))
	}
	_, err := s.client.Txn(ctx).If(w.happened()...).
		Then(undo...).
		Else(clientv3.OpPut(mark, "", clientv3.WithLease(s.lease))).
		Commit()
	return err
}

// remove deletes the key if it is still as written at rev. It tries until ctx
// ends, then goes on in the background. gone reports that the key was not at
// rev at the first try; a later try cannot tell.
func (s *Session) remove(ctx context.Context, key string, rev int64, also []clientv3.Op) (gone bool, err error) {
	for try := range resolveTries {
		if try > 0 && !pause(ctx, try) {
			break
		}
		var done bool
		done, err = s.removeOnce(ctx, key, rev, also)
		switch {
		case err == nil:
			return !done && try == 0, nil
		case !ambiguous(err):
			return false, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.removeLater(key, rev, also)
	return false, fmt.Errorf("answer lost, going on in the background: %w", err)
}

// removeLater does in the background what remove does.
func (s *Session) removeLater(key string, rev int64, also []clientv3.Op) {
	s.background(func() {
		s.persist("release a key", func(ctx context.Context) error {
			_, err := s.removeOnce(ctx, key, rev, also)
			return err
		})
	})
}

func (s *Session) removeOnce(ctx context.Context, key string, rev int64, also []clientv3.Op) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
		Then(append([]clientv3.Op{clientv3.OpDelete(key)}, also...)...).Commit()
	if err != nil {
		return false, err
	}
	return r.Succeeded, nil
}

// persist calls fn until it succeeds or cannot, or the lease has ended. It must
// run in a goroutine that background started, or in that of Close.
func (s *Session) persist(what string, fn func(context.Context) error) {
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(s.work, tryTimeout)
		err := fn(ctx)
		cancel()
		switch {
		case err == nil:
			return
		case errors.Is(err, rpctypes.ErrLeaseNotFound), s.work.Err() != nil, s.client.Ctx().Err() != nil:
			return // the lease is gone, or will go by itself
		case !ambiguous(err) && !errors.Is(err, rpctypes.ErrNoSpace) && !errors.Is(err, rpctypes.ErrTooManyRequests):
			s.log.Error("cleaning up is refused; the lease's end will do it", zap.String("what", what), zap.Error(err))
			return
		}
		if try == 1 {
			s.log.Warn("cleaning up in the background", zap.String("what", what), zap.Error(err))
		}
		if !pause(s.work, try) {
			return
		}
	}
}

// pause waits before a further try, and reports whether ctx still lives.
func pause(ctx context.Context, try int) bool {
	return backoff.Sleep(ctx, backoff.Jittered(retryAfter(try)))
}

// retryAfter returns the longest pause before a further try.
func retryAfter(try int) time.Duration {
	b := backoff.Backoff{Least: retryMin, Most: retryMax}
	return b.After(try)
}
