package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// takeover measures how late fires become when one of two nodes that share jobs
// is lost: its process is killed, or its host falls silent. There is a probe in
// each shard; what is measured is the latest start of one. The baseline is a bare
// lease of the same life that nobody renews any more from that moment on.
type takeover struct {
	jobs       int
	leaseTTL   time.Duration
	probeEvery time.Duration // how often each probe is due
	// probes is in how many shards there is one; the toy has few, so that a minion on a
	// busy machine does them all.
	probes int
}

// jobsPeriod is in how many seconds each of the jobs is due once.
const jobsPeriod = 600

func (b takeover) measure(ctx context.Context, e *env) error {
	settings := nodeSettings{LeaseTTL: b.leaseTTL, MisfireGrace: time.Hour, PerJob: 10, Watchdog: true}
	f, minion, err := startCluster(ctx, e, 2, settings, false)
	if err != nil {
		return err
	}
	defer f.close()
	defer minion.kill()
	if err := (&jobsOf{namespace: "bench", count: b.jobs, expr: spread(jobsPeriod), command: []string{noopTask}}).put(ctx, f.etcd.Client); err != nil {
		return err
	}
	if err := b.putProbes(ctx, f.etcd.Client); err != nil {
		return err
	}
	killed, silent := takeoverSide{takeover: b, how: syscall.SIGKILL}, takeoverSide{takeover: b, how: syscall.SIGSTOP, withLease: true}
	if err := e.inTurns(ctx,
		func(ctx context.Context) error { return killed.round(ctx, f, minion) },
		func(ctx context.Context) error { return silent.round(ctx, f, minion) },
	); err != nil {
		return err
	}
	what := fmt.Sprintf("the latest start of a probe in each of %d shards, due every %v, with %d jobs on two nodes; mutual TLS", b.probes, b.probeEvery, b.jobs)
	if err := e.report("takeover_ms", "ms", killed.late, "one node is killed: "+what); err != nil {
		return err
	}
	if err := e.report("takeover_silent_ms", "ms", silent.late, "one node stands still, as when its host is lost: "+what); err != nil {
		return err
	}
	if err := e.report("takeover_lease_ms", "ms", silent.lease, "until a bare lease of the same life is over that is not renewed any more from then on"); err != nil {
		return err
	}
	return e.ratio("takeover_silent_vs_lease", silent.late, silent.lease, "of the time of a bare lease")
}

// putProbes stores the probes, each a job in another shard.
func (b takeover) putProbes(ctx context.Context, c *clientv3.Client) error {
	taken := map[job.ShardID]bool{}
	for i := 0; len(taken) < b.probes; i++ {
		one := jobsOf{namespace: fmt.Sprintf("probe-%d", i), count: 1, expr: always("@every " + b.probeEvery.String()), command: []string{probeTask}}
		shard := etcdkv.ShardOf(one.key(0), shards)
		if taken[shard] {
			continue
		}
		taken[shard] = true
		if err := one.put(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// takeoverSide is one way to lose a node.
type takeoverSide struct {
	takeover

	how syscall.Signal
	// late and lease are milliseconds, by round; lease only where there is one to
	// compare with.
	late, lease []float64
	withLease   bool
}

// lost is the node that is lost.
const lost = 1

func (s *takeoverSide) round(ctx context.Context, f *farm, minion *process) error {
	if err := f.awaitBalance(ctx); err != nil {
		return err
	}
	if err := f.awaitMinion(ctx); err != nil {
		return err
	}
	// The next instant: at the one before, not all probes may have been stored yet.
	from := time.Now().Truncate(s.probeEvery).Add(s.probeEvery)
	if err := s.awaitProbes(ctx, f, minion, from, from); err != nil {
		return err
	}
	bare, err := s.holdLease(ctx, f)
	if err != nil {
		return err
	}
	victim := f.nodes[lost]
	at := time.Now()
	if err := victim.cmd.Process.Signal(s.how); err != nil {
		return err
	}
	f.nodes[lost] = nil // it is asked nothing any more
	defer victim.kill()
	if bare != nil {
		over, err := bare.expire(ctx)
		if err != nil {
			return err
		}
		s.lease = append(s.lease, float64(over.Sub(at).Microseconds())/1000)
	}
	if err := f.awaitBalance(ctx); err != nil { // the other one has all
		return err
	}
	to := time.Now().Truncate(s.probeEvery)
	if err := s.awaitProbes(ctx, f, minion, from, to); err != nil {
		return err
	}
	p, err := s.probesIn(ctx, f, minion, from, to)
	if err != nil {
		return err
	}
	if due := s.probesDue(from, to); p.Count != due {
		return fmt.Errorf("%d probes have begun, of which %d were due", p.Count, due)
	}
	s.late = append(s.late, p.LateMs)
	victim.kill()
	return f.startNode(ctx, lost)
}

// probesDue is how many probes are due from one instant to another, both
// included.
func (s *takeoverSide) probesDue(from, to time.Time) int {
	return (int(to.Sub(from)/s.probeEvery) + 1) * s.probes
}

// awaitProbes waits until all probes of a time have begun.
func (s *takeoverSide) awaitProbes(ctx context.Context, f *farm, minion *process, from, to time.Time) error {
	var count int
	looked := time.Now()
	err := f.env.until(ctx, "all probes begin", func() (bool, error) {
		p, err := s.probesIn(ctx, f, minion, from, to)
		count = p.Count
		if err != nil || count >= s.probesDue(from, to) {
			return err == nil, err
		}
		if time.Since(looked) < time.Second {
			return false, nil
		}
		looked = time.Now()
		r, err := f.results(ctx)
		if err != nil {
			return false, err
		}
		return false, r.check()
	})
	if err != nil {
		return fmt.Errorf("%w (%d of %d did)", err, count, s.probesDue(from, to))
	}
	return nil
}

func (s *takeoverSide) probesIn(ctx context.Context, f *farm, minion *process, from, to time.Time) (p probes, err error) {
	err = minion.ask(ctx, fmt.Sprintf("probes %d %d", from.UnixMilli(), to.UnixMilli()), f.env.patience, &p)
	return p, err
}

// bareLease is a key on a lease that is renewed until it expires.
type bareLease struct {
	watch clientv3.WatchChan
	stop  context.CancelFunc
}

func (s *takeoverSide) holdLease(ctx context.Context, f *farm) (*bareLease, error) {
	if !s.withLease {
		return nil, nil
	}
	lease, err := f.etcd.Grant(ctx, int64(s.leaseTTL.Seconds()))
	if err != nil {
		return nil, err
	}
	const key = "/bench/lease"
	put, err := f.etcd.Put(ctx, key, "", clientv3.WithLease(lease.ID))
	if err != nil {
		return nil, err
	}
	renewed, stop := context.WithCancel(ctx)
	alive, err := f.etcd.KeepAlive(renewed, lease.ID)
	if err != nil {
		stop()
		return nil, err
	}
	go func() {
		for range alive {
			continue
		}
	}()
	return &bareLease{watch: f.etcd.Watch(ctx, key, clientv3.WithRev(put.Header.Revision+1)), stop: stop}, nil
}

// expire lets the lease expire, and returns when it has.
func (l *bareLease) expire(ctx context.Context) (time.Time, error) {
	l.stop()
	select {
	case w := <-l.watch:
		return time.Now(), w.Err()
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}
