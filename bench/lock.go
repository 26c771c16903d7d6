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

// The lock benchmarks take turns with the peer against the same etcd, so that
// what else the machine does meets both.
const (
	lockRounds  = 6
	lockPairs   = 400 // of lock and unlock, uncontended, per round
	lockWaiters = 64
	lockWindow  = 3 * time.Second // contended, per round
)

// locker locks, and returns what unlocks.
type locker func(ctx context.Context) (unlock func(context.Context) error, err error)

// locks measures lock against clientv3/concurrency.Mutex, and against two bare
// transactions, which is the least that locking and unlocking can cost.
func locks(ctx context.Context) error {
	c, stopEtcd, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer stopEtcd()
	if err := locksUncontended(ctx, c); err != nil {
		return err
	}
	return locksContended(ctx, c)
}

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

func locksUncontended(ctx context.Context, c *clientv3.Client) error {
	kinds := []opener{ours, theirs, bare}
	took := make([][]time.Duration, len(kinds))
	for round := range lockRounds {
		for turn := range kinds {
			i := (turn + round) % len(kinds) // each is first now and then
			l, end, err := kinds[i](ctx, c, fmt.Sprintf("alone-%d", round))
			if err != nil {
				return err
			}
			begun := time.Now()
			for range lockPairs {
				unlock, err := l(ctx)
				if err == nil {
					err = unlock(ctx)
				}
				if err != nil {
					return err
				}
			}
			took[i] = append(took[i], time.Since(begun)/lockPairs)
			end()
		}
	}
	us := func(i int) float64 { return float64(median(took[i])) / 1e3 }
	report("lock_uncontended_us", us(0), "us a lock and unlock")
	report("lock_uncontended_concurrency_us", us(1), "us a lock and unlock")
	report("lock_uncontended_vs_concurrency", us(1)/us(0), "x")
	report("lock_vs_two_txns", us(2)/us(0), "x (1: as fast as two bare transactions)")
	return nil
}

func locksContended(ctx context.Context, c *clientv3.Client) error {
	kinds := []opener{ours, theirs}
	rates := make([][]float64, len(kinds))
	hands := make([][]time.Duration, len(kinds))
	for round := range lockRounds {
		for i, open := range kinds {
			rate, handed, err := contend(ctx, c.Endpoints(), open, fmt.Sprintf("crowd-%d", round))
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], rate)
			hands[i] = append(hands[i], handed...)
		}
	}
	for i := range hands {
		slices.Sort(hands[i])
	}
	p := func(i int, q float64) float64 { return float64(hands[i][int(q*float64(len(hands[i])-1))]) / 1e3 }
	report("lock_contended_per_s", median(rates[0]), "locks/s, 64 waiters")
	report("lock_contended_concurrency_per_s", median(rates[1]), "locks/s, 64 waiters")
	report("lock_contended_vs_concurrency", median(rates[0])/median(rates[1]), "x")
	report("lock_contended_handoff_us_p50", p(0, .5), "us")
	report("lock_contended_handoff_us_p99", p(0, .99), "us")
	report("lock_contended_handoff_concurrency_us_p99", p(1, .99), "us")
	report("lock_contended_handoff_p99_vs_concurrency", p(1, .99)/p(0, .99), "x")
	return nil
}

// contend has many waiters lock one name over and over, each with a session of
// its own. It returns the locks a second, and the times from an unlock to the
// next lock.
func contend(ctx context.Context, endpoints []string, open opener, name string) (float64, []time.Duration, error) {
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
		handed []time.Duration
		over   atomic.Bool
	)
	var lockers []locker
	for range lockWaiters {
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
						handed = append(handed, now.Sub(left))
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
	time.Sleep(lockWindow)
	took := time.Since(begun)
	over.Store(true)
	wg.Wait()
	return float64(len(handed)) / max(took, time.Since(begun)).Seconds(), handed, errors.Join(failed...)
}

// median returns the middle value.
func median[T float64 | time.Duration](values []T) T {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
