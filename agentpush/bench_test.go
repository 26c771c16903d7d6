package agentpush_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// BenchmarkOrders sends no-op tasks to fake minions in the same process, with
// up to window of them open, and waits for their reports.
func BenchmarkOrders(b *testing.B) {
	for _, x := range []struct {
		minions int
		signed  bool
	}{{1, false}, {1, true}, {1000, false}, {1000, true}} {
		minions := x.minions
		b.Run(fmt.Sprintf("minions=%d signed=%v", minions, x.signed), func(b *testing.B) {
			_, sign := signing(b, func(*node) bool { return x.signed })
			c := newClusterWith(b, 1, nil, sign)
			n := c.nodes[0]
			for i := range minions {
				c.start(agenttest.Config{ID: job.MinionID(fmt.Sprintf("m%04d", i))}, n)
			}
			c.eventually("all are connected", func() bool { return n.hub.Status().Connected == minions })
			ids := n.hub.Match(job.Target{})
			const window, chunk = 800, 100
			all := orders("", b.N, time.Hour)
			for i := range all {
				all[i].Task.Minion = ids[i%minions]
			}
			open := max(window, window*minions/10)
			b.ReportAllocs()
			b.ResetTimer()
			done := func() int {
				n.mu.Lock()
				defer n.mu.Unlock()
				return len(n.reports)
			}
			for sent := 0; sent < b.N; {
				k := min(chunk, b.N-sent)
				n.hub.Send(all[sent : sent+k])
				sent += k
				for sent-done() > open {
					runtime.Gosched()
				}
			}
			for done() < b.N {
				runtime.Gosched()
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
			for i := range n.reports {
				if n.reports[i].State != job.StateSucceeded {
					b.Fatalf("report: %+v", n.reports[i])
				}
			}
		})
	}
}
