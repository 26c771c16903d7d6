package faults

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// CrashEnv names a place of the protocol at which a minion kills itself, as in
// "intent", or "intent:3" for the third time that it comes there.
const CrashEnv = "CARILLON_FAULT_CRASH"

// Crash returns what kills this process at the place that the environment names. Nil
// when it names none.
func Crash() func(point string) {
	at, times, _ := strings.Cut(os.Getenv(CrashEnv), ":")
	if at == "" {
		return nil
	}
	var left atomic.Int64
	left.Store(1)
	if n, err := strconv.ParseInt(times, 10, 64); err == nil {
		left.Store(n)
	}
	return func(point string) {
		if point == at && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing after this place is done
		}
	}
}
