//go:build !fault

package main

import (
	"context"
	"time"
)

// wallClock returns the clock that the node goes by; nil: the host's. Programs that
// are built for fault tests have one that is wrong when they say so.
func wallClock(context.Context) func() time.Time { return nil }
