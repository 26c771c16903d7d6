package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// scenario is what happens to a cluster.
type scenario struct {
	// disturb disturbs the cluster once, and mends it. It is called again and
	// again, with a pause before each call.
	disturb fault
	// each are the disturbances that there are, where that can be told; see
	// options.once.
	each []fault
	// groups are what the jobs are in. Nil: in none.
	groups map[string]job.GroupSpec
	// apart: each scheduler has a network namespace of its own.
	apart bool
	// hosts is how many workers there are, each in a network namespace and on a
	// host directory of its own; 0: workerCount of them, on this host.
	hosts int
	// members is how many etcd servers there are; 0: one.
	members int
	// proxied: the schedulers reach etcd through proxies.
	proxied bool
	// herd is how many jobs, for each of the steady ones, are due at one second.
	herd int
	// times is how many times the jobs there are, whose misfires are skipped and late
	// after grace; 0: once, and as nodes do by themselves.
	times int
	grace time.Duration
	// early is how long before its instant a fire may start. Not 0: the schedulers'
	// clocks are made wrong.
	early time.Duration
	// own: the schedulers keep the cluster's data themselves; see own.go.
	own bool
	// sites: they are in three sites, with networks of their own; see site.go.
	sites bool
	// workers is how many there are; 0: workerCount.
	workers int
	// alone: a campaign does not play it; make test-long does.
	alone bool
	// queues are what the workers work on; see worker --queue.
	queues string
	// receivers: there are receivers of alerts on this host; see alerts.go.
	receivers bool
	// soak: memory, goroutines and etcd's size are watched, and have to stay flat.
	soak bool
}

// fault disturbs a cluster once, and mends it.
type fault func(ctx context.Context, c *cluster, rnd *rand.Rand) error

// shortFaults are what may happen to a process that fires.
func shortFaults() []fault { return []fault{killScheduler, drainScheduler, standStill, killWorker} }

// etcdFaults are what may happen to etcd.
func etcdFaults() []fault { return []fault{restartEtcd, slowEtcd} }

// disturbAny does any of the disturbances.
func disturbAny(all []fault) fault {
	return func(ctx context.Context, c *cluster, rnd *rand.Rand) error {
		return all[rnd.IntN(len(all))](ctx, c, rnd)
	}
}

// disturbOnce does each of the disturbances once, a second apart, and returns how
// many there were.
func disturbOnce(ctx context.Context, c *cluster, each []fault, seed uint64) (int, error) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i, k := range rnd.Perm(len(each)) {
		if err := sleep(ctx, time.Second); err != nil {
			return i, err
		}
		if err := each[k](ctx, c, rnd); err != nil {
			return i, err
		}
	}
	return len(each), sleep(ctx, time.Second)
}

func scenarios() map[string]scenario {
	return map[string]scenario{
		"kill":      {disturb: killScheduler},
		"drain":     {disturb: drainScheduler},
		"worker":    {disturb: killWorker},
		"pause":     {disturb: pauseScheduler},
		"scale":     {disturb: scaleSchedulers},
		"partition": {disturb: cutScheduler, each: []fault{cutScheduler, cutScheduler}, apart: true},
		"modes":     {disturb: disturbModes, groups: modeGroups()},
		"short":     {disturb: disturbAny(shortFaults()), each: shortFaults(), groups: modeGroups()},
		"etcd":      {disturb: disturbAny(etcdFaults()), each: etcdFaults(), members: 3, proxied: true, herd: 5},

		"etcd-restart":     {disturb: restartEtcd},
		"etcd-kill-member": {disturb: restartEtcd, members: 3},
		"etcd-slow":        {disturb: slowEtcd, proxied: true},
		"dispatch":         {apart: true, hosts: hostCount},                                                                                    // see dispatch.go
		queueScenario:      {disturb: disturbAny(queueFaults()), each: queueFaults(), members: 3, queues: queueSpace + "/" + queueName + ":3"}, // see queue.go
		restoreScenario:    {},                                                                                                                 // see restore.go
		standbyScenario:    {},                                                                                                                 // see standby.go
		"embedded":         {disturb: disturbAny(ownFaults()), each: ownFaults(), own: true},
		siteScenario:       {disturb: disturbAny(siteFaults()), each: siteFaults(), own: true, sites: true},
		planScenario:       {disturb: disturbAny(queueFaults()), each: queueFaults(), members: 3, queues: queueSpace + "/" + queueName + ":3"}, // see upstream.go
		planLargeScenario:  {disturb: disturbAny(largeFaults()), members: 3, queues: largeQueues(), workers: largeWorkers, alone: true},        // see planlarge.go
		notifyScenario:     {disturb: disturbAny(notifyFaults()), each: notifyFaults(), receivers: true},                                       // see alerts.go
		"clock":            {disturb: stepClock, early: clockErr},
		"herd":             {disturb: killScheduler, herd: 20},
		"overload":         {disturb: killScheduler, times: 10, grace: 5 * time.Second},
		"soak":             {disturb: disturbAll, members: 3, proxied: true, groups: soakGroups(), early: clockErr, soak: true},
	}
}

func scenarioNames() []string { return slices.Sorted(maps.Keys(scenarios())) }

func groupNames(groups map[string]job.GroupSpec) []string { return slices.Sorted(maps.Keys(groups)) }

// The pauses between disturbances, and how long what was stopped stays away.
const (
	pauseMin, pauseMax = 3 * time.Second, 6 * time.Second
	awayMin, awayMax   = 200 * time.Millisecond, 2 * time.Second
)

// disturb calls the scenario until length has passed. The last disturbance is
// mended before it returns. It returns how many there were.
func disturb(ctx context.Context, c *cluster, s func(context.Context, *cluster, *rand.Rand) error, seed uint64, length time.Duration) (int, error) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	end := time.Now().Add(length)
	for n := 0; ; n++ {
		pause := between(rnd, pauseMin, pauseMax)
		if left := time.Until(end); pause >= left {
			return n, sleep(ctx, left)
		}
		if err := sleep(ctx, pause); err != nil {
			return n, err
		}
		if err := s(ctx, c, rnd); err != nil {
			return n, err
		}
	}
}

// between returns a random time.
func between(rnd *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rnd.Int64N(int64(to-from)))
}

// sleep waits; it returns the cause when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
