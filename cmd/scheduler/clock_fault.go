//go:build fault

package main

import (
	"context"
	"time"

	"github.com/carillon-cron/carillon/test/fault/faults"
)

func wallClock(ctx context.Context) func() time.Time { return faults.Clock(ctx) }
