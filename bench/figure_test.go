package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReach: what comes one by one may take longer in all than the patience; what
// stops coming fails after it, and says how far it came.
func TestReach(t *testing.T) {
	t.Parallel()
	count := func(most int) func() (int, error) {
		begun := time.Now()
		return func() (int, error) { return min(int(time.Since(begun)/(40*time.Second)), most), nil }
	}
	synctest.Test(t, func(t *testing.T) {
		e := &env{patience: time.Minute}
		if err := e.reach(t.Context(), "minions are connected", 100, count(100)); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := &env{patience: time.Minute}
		err := e.reach(t.Context(), "minions are connected", 100, count(30))
		if err == nil || !strings.Contains(err.Error(), "100 minions are connected: not within 1m0s after the last of 30") {
			t.Errorf("got %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := (&env{patience: time.Minute}).reach(ctx, "minions are connected", 1, count(0)); err == nil {
			t.Error("goes on after its context has ended")
		}
	})
}
