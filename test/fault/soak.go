package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// soakGroups are a few of the modes.
func soakGroups() map[string]job.GroupSpec {
	all := modeGroups()
	out := map[string]job.GroupSpec{}
	for _, name := range []string{"balanced", "failover", "roundrobin", "ordered", "parallel"} {
		out[name] = all[name]
	}
	return out
}

// disturbAll does any of the things that other scenarios do.
func disturbAll(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	all := []func(context.Context, *cluster, *rand.Rand) error{
		killScheduler, drainScheduler, killWorker, pauseScheduler, restartEtcd, slowEtcd, stepClock,
	}
	return all[rnd.IntN(len(all))](ctx, c, rnd)
}

// soakKeep is how many records a job's history keeps in a soak, so that it does
// not grow; soakEvery is how often they are gathered, and sizes are measured.
const (
	soakKeep  = 60
	soakEvery = 10 * time.Second
)

// gauges are what must not grow, by name, one value for each measurement.
type gauges map[string][]float64

// soaker gathers records before they are forgotten, and measures.
type soaker struct {
	mu     sync.Mutex // guards all below
	runs   map[job.RunID]job.Run
	gauges gauges
	errs   int
}

// watch gathers until ctx ends. What cannot be read now is read the next time.
func (s *soaker) watch(ctx context.Context, c *cluster) {
	for sleep(ctx, soakEvery) == nil {
		runs, err := c.api.runs(ctx)
		s.mu.Lock()
		if err != nil {
			s.errs++
		}
		s.add(runs)
		s.mu.Unlock()
		s.measure(ctx, c)
	}
}

// add merges records; those that have ended count. The caller holds mu.
func (s *soaker) add(runs []job.Run) {
	for _, r := range runs {
		if old, ok := s.runs[r.RunID]; !ok || !old.State.Final() || r.State.Final() {
			s.runs[r.RunID] = r
		}
	}
}

// all returns the records gathered, and those given.
func (s *soaker) all(runs []job.Run) []job.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(runs)
	out := make([]job.Run, 0, len(s.runs))
	for _, r := range s.runs {
		out = append(out, r)
	}
	return out
}

// measure reads memory and goroutines of the schedulers, and etcd's size.
func (s *soaker) measure(ctx context.Context, c *cluster) {
	rss, goroutines, n := 0.0, 0.0, 0
	for _, node := range c.api.nodes[:schedulerCount] {
		m, err := readMetrics(ctx, node, "process_resident_memory_bytes", "go_goroutines")
		if err == nil {
			rss, goroutines, n = rss+m[0], goroutines+m[1], n+1
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		s.gauges["scheduler_rss_mb"] = append(s.gauges["scheduler_rss_mb"], rss/float64(n)/(1<<20))
		s.gauges["goroutines"] = append(s.gauges["goroutines"], goroutines/float64(n))
	}
	for _, endpoint := range c.endpoints {
		short, cancel := context.WithTimeout(ctx, time.Second)
		st, err := c.client.Status(short, endpoint)
		cancel()
		if err == nil {
			s.gauges["etcd_in_use_mb"] = append(s.gauges["etcd_in_use_mb"], float64(st.DbSizeInUse)/(1<<20))
			break
		}
	}
}

// readMetrics reads metrics of a node.
func readMetrics(ctx context.Context, node string, names ...string) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out := make([]float64, len(names))
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if i := slices.Index(names, name); i >= 0 {
			if out[i], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("metric %s: %w", name, err)
			}
		}
	}
	return out, lines.Err()
}

// growth is how much larger the last third of a gauge may be than the middle
// one, by its median, before it counts as growing; slack is what does not count.
const growth = 1.3

// growing returns the gauges that grow. Few values tell nothing.
func (g gauges) growing() []string {
	slack := map[string]float64{"scheduler_rss_mb": 15, "goroutines": 100, "etcd_in_use_mb": 10}
	var out []string
	for name, v := range g {
		const enough = 12
		if len(v) < enough {
			continue
		}
		third := len(v) / 3
		before, after := median(v[third:2*third]), median(v[2*third:])
		if after > before*growth && after > before+slack[name] {
			out = append(out, fmt.Sprintf("%s grows: %.1f in the middle third, %.1f in the last", name, before, after))
		}
	}
	slices.Sort(out)
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
