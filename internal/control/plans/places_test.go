package plans

import (
	"errors"
	"strconv"
	"testing"

	"github.com/carillon-cron/carillon/internal/control/caller"
)

// TestPlacesOfNamespaces: the senders of one namespace do not keep those of others out, all of
// them are bounded, and places come back (3).
func TestPlacesOfNamespaces(t *testing.T) {
	t.Parallel()
	var p places
	var frees []func()
	fill := func(ns string) (n int) {
		t.Helper()
		for ; ; n++ {
			free, err := p.take(ns)
			if err != nil {
				var busy *caller.BusyError
				if !errors.As(err, &busy) || busy.RetryAfter <= 0 {
					t.Fatalf("refused by %v", err)
				}
				return n
			}
			frees = append(frees, free)
		}
	}
	if n := fill("greedy"); n >= maxSending {
		t.Errorf("one namespace has %d of %d places", n, maxSending)
	}
	if n := fill("other"); n == 0 {
		t.Error("another namespace has no place")
	}
	for i := range maxSending {
		fill("more" + strconv.Itoa(i))
	}
	if len(frees) != maxSending {
		t.Errorf("%d plans are read at once, want %d", len(frees), maxSending)
	}
	for _, free := range frees {
		free()
	}
	if p.taken != 0 || len(p.of) != 0 {
		t.Errorf("after all have ended %d are taken, %v", p.taken, p.of)
	}
	if n := fill("greedy"); n != maxSendingOf {
		t.Errorf("%d places came back, want %d", n, maxSendingOf)
	}
}
