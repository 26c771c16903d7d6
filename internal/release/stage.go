package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// ErrMismatch is returned by Stage when what was fetched is not what was signed.
var ErrMismatch = errors.New("artifact is not what was signed")

// partial begins the names of downloads that are under way.
const partial = ".download-"

// Stage brings the release's program for this platform to disk and has it tried
// at the next exit with ExitUpdate. When it returns nil, program and state are
// durable. It fetches nothing if the program is there already. Errors wrap
// ErrInstalled, ErrFailed, ErrOlder, ErrNoArtifact or ErrMismatch, or come from
// fetch or the disk; what was current then stays so, and nothing half-written
// is left under a final name. One Stage runs at a time: others wait.
func (in *Installation) Stage(ctx context.Context, fetch Fetch, v Verified) error {
	m := v.manifest
	if m.Release == 0 {
		return fmt.Errorf("stage: %w: was not verified", ErrSignature)
	}
	a, err := m.Artifact(PlatformOf(runtime.GOOS, runtime.GOARCH))
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	err = in.locked("stage.lock", func() error {
		s, err := in.State()
		if err != nil {
			return err
		}
		if err := s.accepts(m); err != nil { // before anything is fetched
			return err
		}
		if err := in.dropPartial(); err != nil {
			return err
		}
		file, err := in.obtain(ctx, fetch, m, a)
		if err != nil {
			return err
		}
		return in.settle(m, a, file)
	})
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}

// obtain returns a synced file with the artifact's bytes: the release's own if it is good, else a download.
func (in *Installation) obtain(ctx context.Context, fetch Fetch, m Manifest, a Artifact) (string, error) {
	if good, err := matches(in.worker(m.Program()), a); err != nil {
		return "", err
	} else if good {
		return in.worker(m.Program()), nil
	}
	return in.download(ctx, fetch, a)
}

func (in *Installation) download(ctx context.Context, fetch Fetch, a Artifact) (path string, err error) {
	body, err := fetch(ctx, a.URL)
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }() // it was only read
	f, err := os.CreateTemp(in.path("versions"), partial)
	if err != nil {
		return "", fmt.Errorf("download: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name()) // or the next Stage does
		}
	}()
	sum := sha256.New()
	// One byte more than was signed tells a file that is too long.
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(&stoppable{ctx, body}, a.Size+1))
	if err != nil {
		return "", fmt.Errorf("download %s: %w", a.URL, err)
	}
	if err := check(a, n, sum); err != nil {
		return "", fmt.Errorf("download %s: %w", a.URL, err)
	}
	if err := errors.Join(f.Chmod(0o755), f.Sync()); err != nil {
		return "", fmt.Errorf("download %s: %w", a.URL, err)
	}
	return f.Name(), nil
}

// settle gives the file its final name and says in the state that it is staged.
func (in *Installation) settle(m Manifest, a Artifact, file string) error {
	return in.update(func(s *State) error {
		if err := s.accepts(m); err != nil { // a trial may have ended meanwhile
			return err
		}
		dir, final := in.versionDir(m.Program()), in.worker(m.Program())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if file != final {
			if err := os.Rename(file, final); err != nil {
				return err
			}
		}
		if err := errors.Join(syncDir(dir), syncDir(in.path("versions"))); err != nil {
			return err
		}
		s.Staged = Program{Release: m.Program(), Manifest: m.Release, Minimum: m.Minimum, Version: m.Version, SHA256: a.SHA256}
		return nil
	})
}

// dropPartial removes downloads of processes that have died; stage.lock is held.
func (in *Installation) dropPartial() error {
	entries, err := os.ReadDir(in.path("versions"))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partial) {
			errs = append(errs, os.Remove(filepath.Join(in.path("versions"), e.Name())))
		}
	}
	return errors.Join(errs...)
}

// matches says whether the file is there and is the artifact.
func matches(path string, a Artifact) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, a.Size+1))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return check(a, n, sum) == nil, nil
}

func check(a Artifact, size int64, sum hash.Hash) error {
	if size > a.Size {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrMismatch, a.Size)
	}
	if size < a.Size {
		return fmt.Errorf("%w: it has %d bytes: must have %d", ErrMismatch, size, a.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s: must be %s", ErrMismatch, got, a.SHA256)
	}
	return nil
}

// stoppable ends reading when ctx ends, whatever the source does.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
