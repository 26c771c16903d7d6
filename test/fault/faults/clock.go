package faults

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// ClockEnv names a file from which a scheduler reads by how much its wall clock
// is to be wrong, as in "-1.5s".
const ClockEnv = "CARILLON_FAULT_CLOCK_FILE"

// clockEvery is how often the file is read.
const clockEvery = 20 * time.Millisecond

// Clock returns a clock that is wrong as the file says, until ctx ends. Nil when
// there is no such file to be read.
func Clock(ctx context.Context) func() time.Time {
	path := os.Getenv(ClockEnv)
	if path == "" {
		return nil
	}
	var by atomic.Int64
	read := func() {
		text, err := os.ReadFile(path) // who sets it may read what we may
		if err != nil {
			return // right, or as it was
		}
		if d, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			by.Store(int64(d))
		}
	}
	read()
	go func() {
		t := time.NewTicker(clockEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				read()
			}
		}
	}()
	// Without its monotonic part: a clock that steps must be seen to step.
	return func() time.Time { return time.Unix(0, time.Now().UnixNano()+by.Load()) }
}
