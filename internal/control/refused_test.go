package control

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// TestRefusalsAreCounted: what a caller is refused is recorded at once, and then once a
// minute with how often it was: nobody fills etcd by asking for what it may not.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	as := func(by string) context.Context {
		return caller.WithRequest(t.Context(), caller.Request{ID: "r", From: "10.0.0.7", By: by})
	}
	running, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.RecordRefusals(running)
	}()
	count := func() int { return len(e.records(t, api.MaxAudit)) }
	e.Refused(as("eve"), "job.delete", "job ops/a", "eve may not delete jobs")
	await.Until(t, "the first is recorded", func() bool { return count() == 1 })
	for range 1000 {
		e.Refused(as("eve"), "job.delete", "job ops/b", "eve may not delete jobs")
	}
	for i := range 3000 { // a flood of names
		e.Refused(as(fmt.Sprint("x", i)), "exec", "job ops/c"+strings.Repeat("x", 1000), "no")
	}
	stop()
	<-done
	got := map[string]int64{}
	all := e.records(t, api.MaxAudit)
	for _, r := range all {
		if r.Action != "refused" || len(r.Object) > 300 {
			t.Fatalf("%+v", r)
		}
		got[r.By] += max(r.Count, 1)
	}
	if len(all) >= api.MaxAudit+10 {
		t.Errorf("%d records", len(all))
	}
	if got["eve"] != 1001 || got["others"] == 0 {
		t.Errorf("eve was refused %d times, others %d", got["eve"], got["others"])
	}
	e.pass(time.Hour)
}

// TestAddressesOfTheUnknown: who is not known counts by the address, whatever name each
// request gives itself: none keeps what others are refused from being told apart.
func TestAddressesOfTheUnknown(t *testing.T) {
	t.Parallel()
	e := setup(t)
	from := func(address, by string) context.Context {
		ctx := caller.With(t.Context(), caller.Caller{Remote: address})
		return caller.WithRequest(ctx, caller.Request{ID: "r", From: address, By: by})
	}
	running, stop := context.WithCancel(t.Context())
	stop()
	for i := range 3000 {
		e.Refused(from("10.0.0.7", fmt.Sprint("x", i)), "GET", "/v1/jobs", "it is not known who asks")
	}
	e.Refused(from("10.0.0.8", "eve"), "GET", "/v1/nodes", "it is not known who asks")
	_ = e.RecordRefusals(running)
	got := map[string]int64{}
	for _, r := range e.records(t, api.MaxAudit) {
		got[r.From] += max(r.Count, 1)
	}
	if len(got) != 2 || got["10.0.0.7"] != 3000 || got["10.0.0.8"] != 1 {
		t.Errorf("recorded: %v", got)
	}
}
