package worker

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

// The test binary is the shim too, and a minion that tests can kill.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		if err := RunShim(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "minion" {
		os.Exit(minionProcess(os.Args[2:]))
	}
	// The race detector lets a process wait a second before it ends.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// minionProcess runs a minion: DIR SERVERS MAXRUNNING CRASHPOINT. At the
// n-th passing of "point:n" the process kills itself.
func minionProcess(args []string) int {
	cfg := Config{
		ID: "m1", DataDir: args[0], Servers: strings.Split(args[1], ","),
		// A shim without tasks has to be there still when the next process comes,
		// however slowly: one that has gone is a shim that died, to the journal.
		ShimCommand: shimCommand(), ShimIdle: 10 * time.Second, KillGrace: 300 * time.Millisecond, Cgroup: NoCgroup,
	}
	cfg.MaxRunning, _ = strconv.Atoi(args[2])
	point, nth, _ := strings.Cut(args[3], ":")
	left, _ := strconv.Atoi(nth)
	deps := Deps{Logger: zap.NewExample()}
	deps.Crash = func(p string) {
		if p == point {
			if left--; left <= 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	m, err := New(cfg, deps)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := m.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func shimCommand() []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return []string{exe, "shim"}
}
