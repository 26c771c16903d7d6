package attack

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// The full size, which takes some ten thousand files and most of a minute:
//
//	go test ./test/attack -run TestFlood -v -flood.connections 20000 -flood.files 20000 -flood.jobs 200 -flood.fires 30
var (
	floodConnections = flag.Int("flood.connections", 2000, "idle TLS connections that strangers open")                 //nolint:gochecknoglobals // flags of the test
	floodFiles       = flag.Int("flood.files", 1024, "files that the node may have open")                              //nolint:gochecknoglobals // see above
	floodJobs        = flag.Int("flood.jobs", 5, "jobs that fire each second")                                         //nolint:gochecknoglobals // see above
	floodFires       = flag.Int("flood.fires", 4, "how many fires of each job are waited for once the flood is there") //nolint:gochecknoglobals // see above
)

// flood opens idle TLS connections without a certificate, and keeps those that
// it gets. It returns how many tries there were, and goes on until the test ends.
func flood(t testing.TB, n *node, connections int) *atomic.Int64 {
	t.Helper()
	var tries atomic.Int64
	const hands = 32
	for range hands {
		go func() {
			var held []net.Conn
			defer func() {
				for _, c := range held {
					_ = c.Close()
				}
			}()
			for range connections / hands {
				raw, err := net.DialTimeout("tcp", n.peer, 5*time.Second)
				if err == nil {
					_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
					conn := tls.Client(raw, tlsOf(nil))
					_ = conn.HandshakeContext(t.Context()) // a refused one is held open, too, as far as we can
					_ = raw.SetDeadline(time.Time{})
					held = append(held, conn)
				}
				tries.Add(1)
				if t.Context().Err() != nil {
					return
				}
			}
			<-t.Context().Done()
		}()
	}
	return &tries
}

// A stranger who opens thousands of idle connections stops nothing: jobs go on
// without a gap, the node answers, and minions may still join.
func TestFloodOfIdleConnections(t *testing.T) {
	t.Parallel()
	n := startNodeWith(t, nil, "n1", *floodFiles, "--history-per-job", "1000")
	startMinion(t, n, "web1")
	var jobs strings.Builder
	for i := range *floodJobs {
		fmt.Fprintf(&jobs, "---\napiVersion: carillon/v1\nkind: Job\nmetadata: {name: j%d}\nspec:\n  schedules: [\"* * * * * *\"]\n  overlap: allow\n  command: [\"true\"]\n", i)
	}
	n.apply(t, jobs.String()).must(t)
	tries := flood(t, n, *floodConnections)
	await.Until(t, "the flood is there", func() bool { return tries.Load() >= int64(*floodConnections/32*32) })
	begin := time.Now()
	joined(t, n, "late1")
	fires, missing := 0, 0
	for i := range *floodJobs {
		var runs []job.Run
		await.Until(t, "jobs go on", func() bool {
			if !n.runs() {
				t.Fatal("the node has died")
			}
			runs = n.runsOf(t, fmt.Sprintf("j%d", i))
			return len(runs) > 0 && runs[0].ScheduledAt.After(begin.Add(time.Duration(*floodFires)*time.Second))
		})
		for k, r := range runs {
			fires++
			if r.State == job.StateMissed || r.State == job.StateSkipped || r.Count > 1 {
				missing += r.Count
			}
			if k > 0 && runs[k-1].ScheduledAt.Sub(r.ScheduledAt) != time.Second {
				missing++
			}
		}
	}
	t.Logf("%d connections were tried, %d fires, %d missing", tries.Load(), fires, missing)
	if missing > 0 {
		t.Errorf("%d fires are missing", missing)
	}
	if !n.ready() {
		t.Error("the node is not ready")
	}
}

// runsOf returns the runs of a job, the newest first.
func (n *node) runsOf(t testing.TB, name string) []job.Run {
	t.Helper()
	res, err := n.get("/v1/runs?namespace=default&job=" + name + "&limit=100")
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Runs []job.Run `json:"runs"`
	}
	if err := json.Unmarshal([]byte(res.body), &page); err != nil {
		t.Fatalf("runs of %s: %v: %s", name, err, res.body)
	}
	return page.Runs
}
