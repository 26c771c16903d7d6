package minion

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

// Update says whether a worker process updates itself, and how. The zero value:
// it does not.
type Update struct {
	On bool
	// Keys are those that sign releases, Threshold of which must have signed one.
	Keys      []ed25519.PublicKey
	Threshold int
	// Dir holds the releases.
	Dir string
	// Gate is how long a release on trial may take until it works.
	Gate time.Duration
	// Own is the number of this program; zero: unknown.
	Own release.Number
}

// NeedsLauncher says whether this process should be the launcher of the minion,
// and not the minion itself.
func (u Update) NeedsLauncher() bool { return u.On && !release.Launched() }

// update returns the settings of updates, or all that is wrong with them.
func (o *Options) update(own string) (Update, error) {
	n, err := strconv.ParseInt(own, 10, 64)
	if err != nil || n < 0 {
		return Update{}, fmt.Errorf("this program was built with the release %q: must be a number from 0", own)
	}
	u := Update{On: o.SelfUpdate, Threshold: o.UpdateThreshold, Dir: o.UpdateDir, Gate: o.UpdateGate, Own: release.Number(n)}
	if !u.On {
		return u, nil
	}
	var problems []job.Problem
	problem := func(flag, format string, args ...any) {
		problems = append(problems, job.Problem{Path: flag, Message: fmt.Sprintf(format, args...)})
	}
	if u.Dir == "" {
		u.Dir = filepath.Join(o.DataDir, "update")
	}
	if u.Gate <= 0 {
		problem("--update-gate", "is %v; give the time in which a release must work, as in 60s", u.Gate)
	}
	if o.UpdateKeys == "" {
		problem("--update-keys", "is not given; --self-update needs the public keys that sign releases")
	} else if text, err := readGuarded(o.UpdateKeys); err != nil {
		problem("--update-keys", "%v", err)
	} else if u.Keys, err = release.ParsePublicKeys(text); err != nil {
		problem("--update-keys", "%s: %v", o.UpdateKeys, err)
	} else if u.Threshold < 1 || u.Threshold > len(u.Keys) {
		problem("--update-threshold", "is %d; give 1 to %d, the number of keys", u.Threshold, len(u.Keys))
	}
	if len(problems) > 0 {
		return u, &job.InvalidError{Problems: problems}
	}
	return u, nil
}

// readGuarded reads a file that says what may run here: one that another account
// could change is refused.
func readGuarded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err == nil {
		err = datadir.Guarded(st)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return io.ReadAll(f)
}

// Launch runs the minion as a child with the same arguments, and the releases
// that it stages, until ctx is done.
func Launch(ctx context.Context, u Update, args []string, log *zap.Logger) error {
	in, err := release.Open(u.Dir)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	l, err := release.NewLauncher(release.LauncherConfig{Args: args, OwnRelease: u.Own, Gate: u.Gate},
		release.LauncherDeps{Installation: in, Logger: log.Named("launcher"), Signals: signals})
	if err != nil {
		return err
	}
	return l.Run(ctx)
}
