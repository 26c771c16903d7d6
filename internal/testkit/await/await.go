// Package await has tests wait for what comes about by itself.
//
// No wait has a limit of its own: how long a machine takes is no property of the
// program, and a limit that a quiet machine keeps is broken by a busy one. What
// never comes about is a hang, and there is one limit for these, that of the test
// run (go test -timeout). Shortly before it a wait fails, and says what it waited
// for, with the stacks of all goroutines.
package await

import (
	"runtime"
	"time"
)

const (
	// A pause lies between two looks: a short one first, since most waits are short,
	// then longer ones.
	firstPause = 50 * time.Microsecond
	lastPause  = 5 * time.Millisecond
	// ahead is how long before the run's limit a wait fails, if that much is left.
	ahead = 10 * time.Second
)

// T is a test that waits, such as *testing.T and *rapid.T. One that tells no
// Deadline, as testing.T does, waits without end.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Until returns when ok does; what says what is waited for, in the failure. It is
// not for a bubble of testing/synctest, which has Wait.
func Until(t T, what string, ok func() bool) {
	t.Helper()
	Missing(t, func() string {
		if ok() {
			return ""
		}
		return what
	})
}

// Missing returns when look finds nothing missing: until then look says what is,
// and with what there is instead.
func Missing(t T, look func() string) {
	t.Helper()
	end := limit(t)
	pause := firstPause
	for missing := look(); missing != ""; missing = look() {
		if !end.IsZero() && time.Now().After(end) {
			t.Fatalf("not when the run's time was over: %s\n\n%s", missing, stacks())
		}
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

// From returns what comes from the channel; what says what that is.
func From[V any](t T, what string, c <-chan V) V {
	t.Helper()
	var over <-chan time.Time // never, without a limit
	if end := limit(t); !end.IsZero() {
		timer := time.NewTimer(time.Until(end))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case v := <-c:
		return v
	case <-over:
		t.Fatalf("not when the run's time was over: %s\n\n%s", what, stacks())
		panic("not reached")
	}
}

// limit returns when waits fail, the zero time if never.
func limit(t T) time.Time {
	bounded, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return time.Time{}
	}
	end, ok := bounded.Deadline()
	if !ok {
		return time.Time{}
	}
	return end.Add(-min(ahead, time.Until(end)/4))
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			return b[:n]
		}
	}
}
