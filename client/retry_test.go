package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// TestRetryAfter: a request that came too soon is sent again, as a whole, when the server
// says; not where that is long, and not for ever.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after string
		busy  int32 // how often the server is busy
		sent  int32
		fails bool
	}{
		"once":            {after: "1", busy: 1, sent: 2},
		"for long":        {after: "60", busy: 1, sent: 1, fails: true},
		"it does not say": {after: "", busy: 1, sent: 1, fails: true},
		"nonsense":        {after: "-1", busy: 1, sent: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := make([]byte, 100)
				n, _ := r.Body.Read(body)
				if string(body[:n]) != `{"by":"me"}` {
					t.Errorf("sent %q", body[:n])
				}
				if sent.Add(1) <= c.busy {
					w.Header().Set("Content-Type", "application/problem+json")
					w.Header().Set("Retry-After", c.after)
					w.WriteHeader(http.StatusTooManyRequests)
					_, _ = w.Write([]byte(`{"detail":"too many"}`))
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"action":"unchanged"}`))
			}))
			defer s.Close()
			cl, err := client.New(client.Config{Server: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			_, err = cl.Jobs.Enable(t.Context(), job.Key{Namespace: "ops", Name: "a"}, api.Order{By: "me"})
			if (err != nil) != c.fails || sent.Load() != c.sent {
				t.Errorf("sent %d times: %v", sent.Load(), err)
			}
			var refused *client.Error
			if c.after == "60" && (!errors.As(err, &refused) || refused.RetryAfter != time.Minute) {
				t.Errorf("told %+v", refused)
			}
		})
	}
}

// TestRetryAfterEnds: nobody waits whose context has ended.
func TestRetryAfterEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusTooManyRequests)
		cancel()
	}))
	defer s.Close()
	cl, err := client.New(client.Config{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Jobs.Get(ctx, job.Key{Namespace: "ops", Name: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
