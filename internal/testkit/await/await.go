// Package await has tests wait for what comes about by itself.
package await

import (
	"testing"
	"time"
)

// limit is how long a test waits before it fails; nothing that works takes it.
const limit = 2 * time.Minute

// Until returns when ok does; what says what is waited for, in the failure.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
