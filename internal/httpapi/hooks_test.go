package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// hooking notes calls of webhooks.
type hooking struct {
	fakeControl

	mu sync.Mutex
	// mu guards all below.
	calls []webhook.Call
	fails error
}

func (h *hooking) Hook(_ context.Context, _ job.Key, call webhook.Call) (job.FireID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	call.Body = slices.Clone(call.Body) // it is of the request
	h.calls = append(h.calls, call)
	return someFire, h.fails
}

// TestHookCalls: what a call shows reaches who verifies it, each byte of the body
// included; a form that is not ours is taken, too.
func TestHookCalls(t *testing.T) {
	t.Parallel()
	h := &hooking{}
	s := serve(t, Config{}, Deps{Control: h})
	body := "{\"type\" : \"push\",\n \"data\": [1, 2]}\n"
	resp, text := ask(t, s, "POST", "/v1/hooks/ops/a", body, "Content-Type", "application/json; charset=utf-8", "Authorization", "Bearer t0ken",
		"Idempotency-Key", "k", "webhook-id", "msg_1", "webhook-timestamp", "1614265330", "webhook-signature", "v1,x v1,y")
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	want := webhook.Call{Token: "t0ken", Key: "k", Signed: webhook.Signed{ID: "msg_1", Timestamp: "1614265330", Signature: "v1,x v1,y"}, From: "127.0.0.1", Body: []byte(body)}
	if got := h.calls[0]; string(got.Body) != body || got.From != want.From || got.Signed != want.Signed || got.Key != want.Key || got.Token != want.Token {
		t.Errorf("%+v, want %+v", got, want)
	}
	ask(t, s, "POST", "/v1/hooks/ops/a", "", "X-Carillon-Token", "other")
	if got := h.calls[1]; got.Token != "other" || len(got.Body) != 0 {
		t.Errorf("%+v", got)
	}
	if resp, _ := ask(t, s, "POST", "/v1/hooks/ops/a", strings.Repeat("x", maxBodyBytes+1)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", resp.StatusCode)
	}
}

// TestRefusedHooksAreNoted: each call that is refused is told to the audit, once, with the
// job; who calls too often learns when it may.
func TestRefusedHooksAreNoted(t *testing.T) {
	t.Parallel()
	for status, fails := range map[int]error{
		http.StatusForbidden:       job.ErrForbidden,
		http.StatusNotFound:        job.ErrNotFound,
		http.StatusTooManyRequests: &caller.BusyError{RetryAfter: 1500 * time.Millisecond, Why: "too often"},
	} {
		h := &hooking{fails: fails}
		resp, text := ask(t, serve(t, Config{}, Deps{Control: h}), "POST", "/v1/hooks/ops/a", "")
		if resp.StatusCode != status || len(h.refused) != 1 || !strings.HasPrefix(h.refused[0], "call the webhook of job ops/a: ") {
			t.Errorf("%d: %d %s, noted %q", status, resp.StatusCode, text, h.refused)
		}
		if after := resp.Header.Get("Retry-After"); (status == http.StatusTooManyRequests) != (after == "2") {
			t.Errorf("%d: Retry-After %q", status, after)
		}
	}
}
