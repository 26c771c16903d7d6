package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/internal/backoff"
)

// Pauses double from the least to the most, each of them shorter by a quarter at
// most, and begin anew after a success.
func TestPausesDouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Least: time.Second, Most: 5 * time.Second}
		for i, want := range []time.Duration{1, 2, 4, 5, 5, 1} {
			want *= time.Second
			if i == 5 {
				b.Reset()
			}
			begin := time.Now()
			if !b.Pause(t.Context()) {
				t.Fatal("the context lives")
			}
			if took := time.Since(begin); took > want || took < want-want/4-1 {
				t.Errorf("pause %d took %v, want %v or up to a quarter less", i, took, want)
			}
		}
	})
}

// A pause ends with its context, and says so.
func TestPauseEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := backoff.Backoff{Least: time.Hour, Most: time.Hour}
	if b.Pause(ctx) {
		t.Error("Pause = true after the context's end")
	}
}
