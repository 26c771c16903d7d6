package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"

	"google.golang.org/grpc/credentials/insecure"
)

func (n *node) drain(servers ...string) {
	n.t.Helper()
	n.connected()
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Drain{Drain: &agentpb.Drain{
		Servers: servers, Within: int64(10 * time.Millisecond),
	}}})
}

func TestDrainAndLoss(t *testing.T) {
	t.Parallel()
	a, b, dir := newNode(t), newNode(t), dataDir(t)
	start(t, a, dir)
	a.connected()
	end := filepath.Join(t.TempDir(), "end")
	o := shell(`while [ ! -e %s ]; do sleep 0.1; done`, end)
	a.order(o)
	a.running(o)
	a.drain(b.addr)
	b.connected()
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := b.final(o); r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
	b.mu.Lock()
	if b.hellos[0].GetInstance() != a.hellos[0].GetInstance() || b.hellos[0].GetRunning() != 1 ||
		a.hellos[0].GetSession() != 0 || b.hellos[0].GetSession() != 5 {
		t.Errorf("hello = %v", b.hellos[0])
	}
	b.mu.Unlock()
	b.srv.Stop() // lost: the other one
	a.await("session", func() bool { return a.sessions == 2 })
}

// Reports that are not acknowledged come again, on the same session too.
func TestI4_Resend(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	n.noAck = true
	m, _ := start(t, n, dir)
	o := shell("true")
	n.order(o)
	n.final(o)
	n.forget()
	n.final(o) // after five seconds
	n.mu.Lock()
	n.noAck = false
	n.mu.Unlock()
	poll(t, "acknowledgement", func() bool { return m.Status().Unacked == 0 })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions != 1 {
		t.Errorf("%d sessions", n.sessions)
	}
}

func TestOneMinionPerDataDir(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	n.connected()
	m, err := New(Config{ID: "m2", DataDir: dir, Servers: []string{n.addr}, ShimCommand: shimCommand()}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(context.Background()); !errors.Is(err, ErrInUse) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Run = %v, want one line of ErrInUse", err)
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	_, err := New(Config{ID: "not a name", Servers: []string{"nohost"}, MaxRunning: -1}, Deps{})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 5 {
		t.Errorf("New = %v, want five problems", err)
	}
	good := Config{ID: "m", DataDir: t.TempDir(), ShimCommand: []string{"x"}}
	for server, ok := range map[string]bool{
		"127.0.0.1:7420": true, "localhost:7420": true, "[::1]:7420": true, "127.0.0.2:1": true,
		"10.0.0.1:7420": false, "node1:7420": false, "localhost.example.com:7420": false,
	} {
		good.Servers = []string{server}
		if _, err := New(good, Deps{}); (err == nil) != ok || err != nil && !errors.Is(err, ErrInsecure) {
			t.Errorf("New with %s = %v", server, err)
		}
		if _, err := New(good, Deps{Transport: insecure.NewCredentials()}); err != nil {
			t.Errorf("New with %s and a transport = %v", server, err)
		}
	}
}

// Where a minion may not connect in plain text, no node can send it either.
func TestLearnedServersAreChecked(t *testing.T) {
	t.Parallel()
	c := Config{}
	l := newServerList([]string{"127.0.0.1:1", "127.0.0.1:2"}, c.allowed)
	l.learn([]string{"10.0.0.1:3", "127.0.0.1:2", "127.0.0.1:3"})
	l.lost("127.0.0.1:1")
	for range 20 {
		r := slices.Collect(l.round())
		if len(r) != 3 || r[2] != "127.0.0.1:1" {
			t.Fatalf("round = %q", r)
		}
	}
}

// A minion goes where a node sends it, and stays where another process has its
// id: elsewhere it would be taken for the one that has moved.
func TestServersFollowRefusals(t *testing.T) {
	t.Parallel()
	c := Config{}
	l := newServerList([]string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, c.allowed)
	no := func(r refusal) error { r.err = errNoSession; return fmt.Errorf("session: %w", &r) }
	var tried []string
	for addr := range l.round() {
		tried = append(tried, addr)
		switch {
		case len(tried) == 1 && l.follow(addr, no(refusal{server: "127.0.0.1:9"})),
			len(tried) == 2 && l.follow(addr, no(refusal{server: "10.0.0.1:1"})):
			t.Error("nobody has said that another process has the id")
		case len(tried) == 3 && !l.follow(addr, no(refusal{taken: true})):
			t.Error("another process has the id, and nobody is told")
		}
	}
	if len(tried) != 3 || tried[1] != "127.0.0.1:9" {
		t.Fatalf("tried %q, want the server that was named second, and none after the third", tried)
	}
	for range 5 {
		if r := slices.Collect(l.round()); len(r) != 1 || r[0] != tried[2] {
			t.Errorf("round = %q, want only %s", r, tried[2])
		}
	}
	l.follow(tried[2], errNoSession) // it cannot be reached any more
	if r := slices.Collect(l.round()); len(r) != 3 {
		t.Errorf("round = %q, want all", r)
	}
}
