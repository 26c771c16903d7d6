package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
)

// namedControl keeps what is known of a request.
type namedControl struct {
	fakeControl
	seen caller.Request
}

func (c *namedControl) Nodes(ctx context.Context) ([]api.Node, error) {
	c.seen = caller.RequestOf(ctx)
	return nil, nil
}

// TestRequestID: each answer names its request, by the client's own id if that can be
// kept as it is, and the audit knows it by that.
func TestRequestID(t *testing.T) {
	t.Parallel()
	c := &namedControl{}
	s := serve(t, Config{}, Deps{Control: c})
	for sent, kept := range map[string]bool{
		"": false, "abc-1.2_X": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "ä": false, "a;b": false, "<script>": false,
	} {
		resp, _ := ask(t, s, "GET", "/v1/nodes", "", "X-Request-Id", sent, "X-Carillon-By", "ada", "X-Carillon-Reason", "new\tdisk")
		got := resp.Header.Get("X-Request-Id")
		if (got == sent) != kept || got == "" || got != c.seen.ID {
			t.Errorf("%q: the answer is named %q, and the audit has %q", sent, got, c.seen.ID)
		}
		if c.seen.From != "127.0.0.1" || c.seen.By != "ada" || c.seen.Reason != "newdisk" {
			t.Errorf("%+v", c.seen)
		}
	}
	one, _ := ask(t, s, "GET", "/v1/none", "")
	two, _ := ask(t, s, "GET", "/v1/none", "")
	if a, b := one.Header.Get("X-Request-Id"), two.Header.Get("X-Request-Id"); a == "" || a == b {
		t.Errorf("two requests are named %q and %q", a, b)
	}
}
