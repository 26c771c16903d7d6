package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// The full size, which takes some ten thousand files and half a minute:
//
//	go test ./test/attack -run TestFloodOfIdle -v -flood.connections 18000 -flood.files 20000 -flood.jobs 200 -flood.fires 15
var (
	floodConnections = flag.Int("flood.connections", 1500, "idle TLS connections that strangers open")
	floodFiles       = flag.Int("flood.files", 1024, "files that the node may have open")
	floodJobs        = flag.Int("flood.jobs", 5, "jobs that fire each second")
	floodFires       = flag.Int("flood.fires", 4, "how many fires of each job are waited for once the flood is there")
)

// floodTries is how many tries a second a flood makes for the connections that it
// has lost, however many these are: the flood is of idle connections, and is not to
// take the processors from the node, which are ours too.
const floodTries = 500

// flood opens idle TLS connections without a certificate, keeps those that it
// gets, and comes again with each that it loses, until the test ends. It returns
// how many tries there were.
func flood(t testing.TB, n *node, connections int) *atomic.Int64 {
	t.Helper()
	var tries atomic.Int64
	// Not the minions' address: what one address asks for too often is refused.
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	hold := func() {
		raw, err := from.DialContext(t.Context(), "tcp", n.peer)
		tries.Add(1)
		if err != nil {
			return
		}
		defer raw.Close()
		defer context.AfterFunc(t.Context(), func() { _ = raw.Close() })() // it is closed either way
		conn := tls.Client(raw, tlsOf(nil))
		_ = conn.HandshakeContext(t.Context()) // one that nobody accepts yet holds its place, too
		_, _ = io.Copy(io.Discard, conn)       // until it is put out
	}
	again := max(time.Second, time.Second*time.Duration(connections)/floodTries)
	for range connections {
		go func() {
			for t.Context().Err() == nil {
				hold()
				select {
				case <-t.Context().Done():
				case <-time.After(again):
				}
			}
		}()
	}
	return &tries
}

// A stranger who opens more idle connections than the node may have files stops
// nothing: its etcd and its jobs go on without a gap, it answers, minions join, and
// one that has joined comes back.
func TestFloodOfIdleConnections(t *testing.T) {
	t.Parallel()
	n := startNodeWith(t, nil, "n1", *floodFiles, "--history-per-job", "1000")
	before := startMinion(t, n, "web1")
	var jobs strings.Builder
	for i := range *floodJobs {
		fmt.Fprintf(&jobs, "---\napiVersion: carillon/v1\nkind: Job\nmetadata: {name: j%d}\nspec:\n  schedules: [\"* * * * * *\"]\n  overlap: allow\n  command: [\"true\"]\n", i)
	}
	n.apply(t, jobs.String()).must(t)
	tries := flood(t, n, *floodConnections)
	await.Until(t, "the flood is there", func() bool { return tries.Load() >= int64(*floodConnections) })
	startMinion(t, n, "web2") // jobs run on it while the first one is away
	before.kill()
	again := start(t, program{name: "worker", args: []string{"--id", "web1", "--servers", n.peer, "--data-dir", before.dir, "--cgroup", "none"}})
	await.Until(t, "the minion is back", func() bool { return strings.Contains(again.output(), "session opened") })
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
	t.Logf("%d connections were tried, %d fires, %d missing, in %v", tries.Load(), fires, missing, time.Since(begin).Round(time.Second))
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

// A stranger who asks to join under one made-up name after the other fills the
// places of its own address only, and who has a token joins all the same.
func TestMadeUpNamesAreBounded(t *testing.T) {
	t.Parallel()
	const names, places = 200, 64
	n := startNode(t, nil, "n1")
	client := authpb.NewEnrollClient(dial(t, n, nil))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range names {
		id := job.MinionID(fmt.Sprintf("made-up-%03d", i))
		csr, err := auth.NewRequest(id, key)
		if err != nil {
			t.Fatal(err)
		}
		switch res, err := client.Join(t.Context(), &authpb.JoinRequest{Minion: string(id), Csr: csr}); {
		case err != nil:
			refused++
		case !res.GetPending():
			t.Fatalf("%s is in: %v", id, res)
		}
	}
	res, err := n.get("/v1/minion-requests")
	if err != nil || res.code != http.StatusOK {
		t.Fatalf("requests: %+v, %v", res, err)
	}
	var waiting struct{ Requests []etcdkv.JoinRequest }
	if err := json.Unmarshal([]byte(res.body), &waiting); err != nil {
		t.Fatal(err)
	}
	// A few may be decided on before the node hears of the one before them.
	if got := len(waiting.Requests); got < places || got > places+8 || refused != names-got {
		t.Errorf("of %d names %d wait and %d were refused; want %d to wait", names, got, refused, places)
	}
	startMinion(t, n, "web1")
}
