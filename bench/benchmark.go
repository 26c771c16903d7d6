package main

import (
	"context"
	"time"
)

// measurement measures, and reports its figures to the env.
type measurement func(ctx context.Context, e *env) error

// benchmark is one measurement in two sizes: the one whose figures count, and
// one that only shows that it works.
type benchmark struct {
	name      string
	full, toy measurement
}

// benchmarks lists all, in the order in which they run.
func benchmarks() []benchmark {
	return []benchmark{
		{
			"fires_vs_robfig_cpu",
			timers{jobs: 100_000, window: 5 * time.Second}.measure,
			timers{jobs: 600, window: 100 * time.Millisecond}.measure,
		},
		{
			"api_authz_us",
			authz{roles: 1000, checks: 200_000}.measure,
			authz{roles: 10, checks: 100}.measure,
		},
		{
			"api_list_jobs_ms_p99",
			lists{namespaces: 100, jobs: 1000, times: 5}.measure,
			lists{namespaces: 3, jobs: 10, times: 3}.measure,
		},
		{
			"backup_100k_jobs_s",
			backups{jobs: 100_000}.measure,
			backups{jobs: 700}.measure,
		},
		{
			"standby_lag_ms_p99",
			standbyLag{rate: 10_000, window: 8 * time.Second}.measure,
			standbyLag{rate: 100, window: 300 * time.Millisecond}.measure,
		},
		{
			"standby_promote_100k_s",
			promotion{jobs: 100_000}.measure,
			promotion{jobs: 60}.measure,
		},
		{
			"fires_vs_go_etcd_cron",
			rivals{ours: 200_000, theirs: 30_000, instances: 3, window: 6 * time.Second}.measure,
			rivals{ours: 200, theirs: 20, instances: 1, window: 1100 * time.Millisecond}.measure,
		},
		{
			"fires_end_to_end",
			endToEnd{jobs: 12_000, window: 8 * time.Second}.measure,
			endToEnd{jobs: 50, window: 1100 * time.Millisecond}.measure,
		},
		{
			"fires_goodput",
			goodput{probe: 150_000, times: []int{1, 2, 5, 10}, grace: 5 * time.Second, settle: 12 * time.Second, window: 6 * time.Second}.measure,
			goodput{probe: 100, times: []int{1, 2}, grace: 5 * time.Second, window: 1100 * time.Millisecond}.measure,
		},
		{
			"lateness",
			lateness{rates: []int{1000, 10_000}, window: 8 * time.Second}.measure,
			lateness{rates: []int{100}, window: 300 * time.Millisecond}.measure,
		},
		{
			"commands_per_s",
			commands{count: 3000}.measure,
			commands{count: 20}.measure,
		},
		{
			"herd",
			herd{jobs: 100_000, others: 100, every: 15}.measure,
			herd{jobs: 500, others: 5, every: 2}.measure,
		},
		{
			"fire_cost_us",
			fireCost{jobs: []int{10_000, 100_000, 1_000_000}, periods: []int{3, 30, 300}, window: 40 * time.Second, settle: 15 * time.Second}.measure,
			fireCost{jobs: []int{200, 400}, periods: []int{1, 2}, window: 1100 * time.Millisecond}.measure,
		},
		{
			"takeover_ms",
			takeover{jobs: 100_000, leaseTTL: 5 * time.Second, probeEvery: 200 * time.Millisecond, probes: shards}.measure,
			takeover{jobs: 60, leaseTTL: 3 * time.Second, probeEvery: time.Second, probes: 6}.measure,
		},
		{
			"nodes_3_vs_1",
			nodes{jobs: 2000, every: time.Second, window: 8 * time.Second}.measure,
			nodes{jobs: 8, every: 200 * time.Millisecond, window: 400 * time.Millisecond}.measure,
		},
		{
			"lock",
			locks{pairs: 400, waiters: 64, window: 3 * time.Second}.measure,
			locks{pairs: 5, waiters: 4, window: 50 * time.Millisecond}.measure,
		},
		{
			"queue_tasks_per_s",
			queueTasks{count: 20_000, places: 100}.measure,
			queueTasks{count: 120, places: 3}.measure,
		},
		{
			"queue_latency",
			queueLatency{rate: 500, window: 8 * time.Second, places: 50}.measure,
			queueLatency{rate: 100, window: 200 * time.Millisecond, places: 5}.measure,
		},
		{
			"queue_vs_etcd_recipe",
			queueRecipe{ours: 20_000, theirs: 1_500, places: 100}.measure,
			queueRecipe{ours: 60, theirs: 20, places: 3}.measure,
		},
		{
			"queue_vs_others",
			queueRivals{ours: 20_000, theirs: 20_000, places: 100, workers: 100}.measure,
			// A program that does nothing stands for the peers.
			queueRivals{ours: 60, theirs: 60, places: 3, workers: 3, peer: "true"}.measure,
		},
		{
			// A process may have 20,000 files, of which a node keeps some for others than minions.
			"fanout",
			fanOut{minions: 17_000, pause: roundPause}.measure,
			fanOut{minions: 20}.measure,
		},
		{
			"fanout_3nodes",
			fanOutThreeNodes{minions: 50_000, pause: roundPause}.measure,
			fanOutThreeNodes{minions: 30}.measure,
		},
		{
			"minion",
			idleMinions{count: 5, idle: 5 * time.Second}.measure,
			idleMinions{count: 3}.measure,
		},
		{
			"exec_vs_clush",
			execAgainstClush{peer: "clush", minions: 1000, processes: 4, pause: roundPause, built: true}.measure,
			// A program that does nothing stands for the peer.
			execAgainstClush{peer: "true", minions: 6, processes: 2}.measure,
		},
	}
}
