package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/lock"
)

// locks measures lock against clientv3/concurrency.Mutex, and against two bare
// transactions, which is the least that locking and unlocking can cost. The sides
// take turns against the same etcd.
type locks struct {
	pairs   int           // of lock and unlock, uncontended, per round
	waiters int           // contended
	window  time.Duration // contended, per round
}

func (b locks) measure(ctx context.Context, e *env) error {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	defer store.close()
	if err := b.uncontended(ctx, e, store.Client); err != nil {
		return err
	}
	return b.contended(ctx, e, store.Client)
}

// locker locks, and returns what unlocks.
type locker func(ctx context.Context) (unlock func(context.Context) error, err error)

// ours opens a session of its own and returns a locker of the name.
func ours(ctx context.Context, c *clientv3.Client, name string) (locker, func(), error) {
	s, err := lock.Open(ctx, lock.SessionConfig{Holder: "bench", TTL: 30 * time.Second}, lock.Deps{Client: c})
	if err != nil {
		return nil, nil, err
	}
	m, err := lock.NewMutex(s, "/bench/ours/"+name, lock.MutexOptions{})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) (func(context.Context) error, error) {
		h, err := m.Lock(ctx)
		if err != nil {
			return nil, err
		}
		return h.Unlock, nil
	}, func() { _ = s.Close(context.WithoutCancel(ctx)) }, nil
}

// theirs does the same with the client's own recipe.
func theirs(_ context.Context, c *clientv3.Client, name string) (locker, func(), error) {
	s, err := concurrency.NewSession(c, concurrency.WithTTL(30))
	if err != nil {
		return nil, nil, err
	}
	m := concurrency.NewMutex(s, "/bench/theirs/"+name)
	return func(ctx context.Context) (func(context.Context) error, error) {
		if err := m.Lock(ctx); err != nil {
			return nil, err
		}
		return m.Unlock, nil
	}, func() { _ = s.Close() }, nil
}

// bare makes a put and a delete, each in a transaction with one comparison.
func bare(_ context.Context, c *clientv3.Client, name string) (locker, func(), error) {
	key := "/bench/bare/" + name
	return func(ctx context.Context) (func(context.Context) error, error) {
		r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, "x")).Commit()
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", r.Header.Revision)).Then(clientv3.OpDelete(key)).Commit()
			return err
		}, nil
	}, func() {}, nil
}

type opener func(context.Context, *clientv3.Client, string) (locker, func(), error)

func (b locks) uncontended(ctx context.Context, e *env, c *clientv3.Client) error {
	kinds := []opener{ours, theirs, bare}
	took := make([][]float64, len(kinds)) // microseconds
	var sides []func(context.Context) error
	for i, open := range kinds {
		sides = append(sides, func(ctx context.Context) error {
			l, end, err := open(ctx, c, fmt.Sprintf("alone-%d", len(took[i])))
			if err != nil {
				return err
			}
			defer end()
			begun := time.Now()
			for range b.pairs {
				unlock, err := l(ctx)
				if err == nil {
					err = unlock(ctx)
				}
				if err != nil {
					return err
				}
			}
			took[i] = append(took[i], float64(time.Since(begun).Nanoseconds())/1e3/float64(b.pairs))
			return nil
		})
	}
	if err := e.inTurns(ctx, sides...); err != nil {
		return err
	}
	const what = "a lock and unlock, by nobody else wanted"
	if err := e.report("lock_uncontended_us", "us", took[0], what); err != nil {
		return err
	}
	if err := e.report("lock_uncontended_concurrency_us", "us", took[1], what+", by clientv3/concurrency"); err != nil {
		return err
	}
	if err := e.ratio("lock_uncontended_vs_concurrency", took[1], took[0], "faster than clientv3/concurrency"); err != nil {
		return err
	}
	return e.ratio("lock_vs_two_txns", took[2], took[0], "(1: as fast as two bare transactions)")
}

func (b locks) contended(ctx context.Context, e *env, c *clientv3.Client) error {
	kinds := []opener{ours, theirs}
	type crowd struct{ rate, p50, p99 []float64 }
	crowds := make([]crowd, len(kinds))
	var sides []func(context.Context) error
	for i, open := range kinds {
		sides = append(sides, func(ctx context.Context) error {
			of := &crowds[i]
			rate, handed, err := b.contend(ctx, e, c.Endpoints(), open, fmt.Sprintf("crowd-%d", len(of.rate)))
			if err != nil {
				return err
			}
			slices.Sort(handed)
			of.rate = append(of.rate, rate)
			of.p50, of.p99 = append(of.p50, quantile(handed, .5)), append(of.p99, quantile(handed, .99))
			return nil
		})
	}
	if err := e.inTurns(ctx, sides...); err != nil {
		return err
	}
	what := fmt.Sprintf("with %d waiters", b.waiters)
	for i, kind := range []string{"", "concurrency_"} {
		if err := e.report("lock_contended_"+kind+"per_s", "locks/s", crowds[i].rate, what); err != nil {
			return err
		}
		if err := e.report("lock_contended_handoff_"+kind+"us_p50", "us", crowds[i].p50, what); err != nil {
			return err
		}
		if err := e.report("lock_contended_handoff_"+kind+"us_p99", "us", crowds[i].p99, what); err != nil {
			return err
		}
	}
	if err := e.ratio("lock_contended_vs_concurrency", crowds[0].rate, crowds[1].rate, "of its rate"); err != nil {
		return err
	}
	return e.ratio("lock_contended_handoff_p99_vs_concurrency", crowds[1].p99, crowds[0].p99, "faster")
}

// contend has many waiters lock one name over and over, each with a session of
// its own. It returns the locks a second, and the times from an unlock to the
// next lock, in microseconds.
func (b locks) contend(ctx context.Context, e *env, endpoints []string, open opener, name string) (float64, []float64, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = c.Close() }()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards failed
		failed []error
		// left and handed belong to whoever holds the lock.
		left   time.Time
		handed []float64
		over   atomic.Bool
		passed atomic.Int64 // from one to another
	)
	var lockers []locker
	for range b.waiters {
		l, end, err := open(ctx, c, name)
		if err != nil {
			return 0, nil, err
		}
		defer end()
		lockers = append(lockers, l)
	}
	begun := time.Now()
	for _, l := range lockers {
		wg.Go(func() {
			for !over.Load() {
				unlock, err := l(ctx)
				if err == nil {
					now := time.Now()
					if !left.IsZero() {
						handed = append(handed, float64(now.Sub(left).Nanoseconds())/1e3)
						passed.Add(1)
					}
					left = time.Now()
					err = unlock(ctx)
				}
				if err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	waited := pause(ctx, b.window)
	if waited == nil {
		waited = e.until(ctx, "the lock is handed on", func() (bool, error) { return passed.Load() > 0, nil })
	}
	over.Store(true)
	wg.Wait()
	return float64(len(handed)) / time.Since(begun).Seconds(), handed, errors.Join(append(failed, waited)...)
}
