package registrar

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// One address has so many places among those that wait for an operator, whatever
// names it makes up; who has a token needs none.
func TestI6_RequestsOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	r := e.open(t, "n1", c.now, func(c *Config) { c.MaxRequestsPerAddress = 3 })
	hosts := []*host{newHost(t, "m1"), newHost(t, "m2"), newHost(t, "m3")}
	for _, h := range hosts {
		if _, err := h.join(t, r, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		_, err := newHost(t, job.MinionID(fmt.Sprintf("made-up-%d", i))).join(t, r, "")
		wantCode(t, "one name too many", err, codes.ResourceExhausted)
	}
	if _, err := newHost(t, "m4").join(t, r, r.mustToken(t, TokenSpec{})); err != nil {
		t.Errorf("by a token: %v", err)
	}
	// Who comes back keeps its place, the others lose theirs.
	c.pass(waitLife / 2)
	if _, err := hosts[0].join(t, r, ""); err != nil {
		t.Errorf("one that waits: %v", err)
	}
	c.pass(waitLife / 2)
	if err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	reqs, err := r.Requests(t.Context())
	if err != nil || len(reqs) != 1 || reqs[0].ID != "m1" {
		t.Errorf("an hour later there wait %v, %v; want m1", reqs, err)
	}
	// The view follows what is stored.
	var b etcdkv.Batch
	b.Relist = true
	if err := r.waiting.apply(b); err != nil || r.waiting.places("10.0.0.1") != 0 {
		t.Errorf("nothing is stored, and the address has %d places, %v", r.waiting.places("10.0.0.1"), err)
	}
	if _, err := newHost(t, "m5").join(t, r, ""); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

func TestAddressOf(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"10.0.0.1:7": "10.0.0.1", "[2001:db8::1]:7": "2001:db8::/64", "[::ffff:10.0.0.1]:7": "10.0.0.1", "elsewhere": "elsewhere",
	} {
		if got := addressOf(from); got != want {
			t.Errorf("%s is of %s, want %s", from, got, want)
		}
	}
}
