package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// A check is told under its address, as healthchecks.io says: the event, an id that the
// start and the end of a run share, and what went wrong. Nodes do not go where they must
// not.
func TestPingsAreWhatChecksWant(t *testing.T) {
	t.Parallel()
	type ping struct{ path, rid, more, body string }
	var got []ping
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, ping{r.URL.Path, r.URL.Query().Get("rid"), r.URL.Query().Get("create"), string(body)})
	}))
	defer server.Close()
	open, err := egress.New(egress.Config{Allow: []string{"127.0.0.1/32"}})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	s := NewSender("n1", open, "", nil)
	key := job.Key{Namespace: "prod", Name: "backup"}
	for _, c := range []job.PingCall{
		{Job: key, Ping: job.Ping{URL: server.URL + "/key/backup?create=1"}, Run: "r1", Event: job.PingStart},
		{Job: key, Ping: job.Ping{URL: server.URL + "/key/backup?create=1"}, Run: "r1", Event: job.PingFail, Text: "exit code 3"},
		{Job: key, Ping: job.Ping{URL: server.URL + "/uuid/"}, Run: "r2", Event: job.PingSuccess},
	} {
		if err := s.Ping(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	if _, err := uuid.Parse(got[0].rid); err != nil || got[0].rid != got[1].rid || got[1].rid == got[2].rid {
		t.Errorf("ids: %+v", got)
	}
	for i, want := range []ping{{"/key/backup/start", "", "1", ""}, {"/key/backup/fail", "", "1", "exit code 3"}, {"/uuid/", "", "", ""}} {
		got[i].rid = ""
		if got[i] != want {
			t.Errorf("got %+v, want %+v", got[i], want)
		}
	}
	guarded, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer guarded.Close()
	closed := NewSender("n1", guarded, "", nil)
	if err := closed.Ping(t.Context(), &job.PingCall{Job: key, Ping: job.Ping{URL: server.URL}, Run: "r"}); err == nil || !strings.Contains(err.Error(), "is not called") {
		t.Errorf("loopback, where nobody allows it: %v", err)
	}
}

// Each job's pings come in order; a check that hangs holds up no other address; and what
// waits for it is bounded.
func TestPingsWaitForTheirOwnCheckOnly(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	hang := make(chan struct{})
	p, err := NewPinger(func(ctx context.Context, c *job.PingCall) error {
		if u, _ := url.Parse(c.Ping.URL); u.Host == "hangs.example" {
			select {
			case <-hang:
			case <-ctx.Done():
			}
			return errors.New("no answer")
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, string(c.Run)+string(c.Event))
		return nil
	}, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	key := job.Key{Namespace: "prod", Name: "backup"}
	for range maxPings + 10 {
		p.Ping(job.PingCall{Job: key, Ping: job.Ping{URL: "https://hangs.example/x"}})
	}
	for _, run := range []job.RunID{"a", "b"} {
		for _, event := range []job.PingEvent{job.PingStart, job.PingFail} {
			p.Ping(job.PingCall{Job: key, Ping: job.Ping{URL: "https://well.example/x"}, Run: run, Event: event})
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	await.Until(t, "the other check is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 4
	})
	if want := []string{"astart", "afail", "bstart", "bfail"}; !slices.Equal(told, want) {
		t.Errorf("%v, want %v", told, want)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait != 0 || len(p.lanes) != 0 {
		t.Errorf("%d pings and %d lanes are left", p.wait, len(p.lanes))
	}
}
