package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// MaxInterrupted is how many trials of a release may be cut short, by the end of
// the launcher or of the host, before it counts as failed.
const MaxInterrupted = 3

// maxFailures is how many failures are remembered.
const maxFailures = 64

var (
	// ErrInstalled is returned by Stage for the release that is current or on trial.
	ErrInstalled = errors.New("release is installed already")
	// ErrFailed is returned by Stage for a release that has failed its trial here.
	ErrFailed = errors.New("release has failed here before")
)

// Program is a release that is, was or may be run here. The zero value means none.
type Program struct {
	// Release is the number of the program, and the name of its directory.
	Release Number `json:"release"`
	// Manifest is the number of the manifest that brought it: above Release for
	// a rollback entry, equal otherwise.
	Manifest Number `json:"manifest"`
	// Minimum is that of the manifest.
	Minimum Number `json:"minimum,omitempty"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// Failure is a trial that did not end well.
type Failure struct {
	Program Program   `json:"program"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	// Interrupted is how many of the release's trials were cut short.
	Interrupted int `json:"interrupted,omitempty"`
	// Final says that the release is not tried again.
	Final bool `json:"final"`
}

// State is what an installation remembers.
type State struct {
	// Floor keeps older releases out. It never falls.
	Floor Floor `json:"floor"`
	// Current is the confirmed release. Zero: the launcher's own program.
	Current Program `json:"current"`
	// Previous is what Current has replaced; it is kept on disk.
	Previous Program `json:"previous"`
	// Staged is on disk and is tried when the minion exits with ExitUpdate.
	Staged Program `json:"staged"`
	// Trial is being tried, and is not confirmed.
	Trial Program `json:"trial"`
	// Failures are the trials that did not end well, one per manifest, the newest last.
	Failures []Failure `json:"failures,omitempty"`
}

// Failure returns the failure of a manifest's trial, if there was one.
func (s State) Failure(manifest Number) (Failure, bool) {
	i := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.Program.Manifest == manifest })
	if i < 0 {
		return Failure{}, false
	}
	return s.Failures[i], true
}

// forget drops the failure of a manifest's trial.
func (s *State) forget(manifest Number) {
	s.Failures = slices.DeleteFunc(s.Failures, func(f Failure) bool { return f.Program.Manifest == manifest })
}

// accepts says whether a verified manifest may be staged now.
func (s State) accepts(m Manifest) error {
	for _, p := range []Program{s.Current, s.Trial} {
		if m.Release == p.Manifest && m.Program() == p.Release {
			return fmt.Errorf("release %d (%s): %w", m.Release, m.Version, ErrInstalled)
		}
	}
	if newest := max(s.Staged.Manifest, s.Trial.Manifest); m.Release < newest {
		return fmt.Errorf("release %d (%s): %w: release %d is being installed", m.Release, m.Version, ErrOlder, newest)
	}
	if err := s.Floor.allows(m); err != nil {
		return err
	}
	if m.Release == s.Floor.Release {
		if s.Current.Release == 0 {
			return fmt.Errorf("release %d (%s): %w, by a package", m.Release, m.Version, ErrInstalled)
		}
		// Two manifests with one number: only the first one counts.
		return fmt.Errorf("release %d (%s): %w: another manifest with this number is installed", m.Release, m.Version, ErrOlder)
	}
	if f, ok := s.Failure(m.Release); ok && f.Final {
		return fmt.Errorf("release %d (%s): %w, at %s: %s", m.Release, m.Version, ErrFailed, f.At.Format(time.RFC3339), f.Reason)
	}
	return nil
}

// Installation is a directory of releases:
//
//	versions/RELEASE/worker   the programs
//	current                   a symbolic link to the directory of the one to run
//	state.json                State: the truth, from which the link is derived
//	lock, stage.lock, launcher.lock
//
// Any number of processes and goroutines may use it at a time.
type Installation struct{ dir string }

// Open returns the installation in dir, and creates it if need be.
func Open(dir string) (*Installation, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(abs, "versions"), 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("open installation: %w", err)
	}
	in := &Installation{dir: abs}
	if _, err := in.State(); err != nil {
		return nil, err
	}
	return in, nil
}

// Dir returns the absolute path of the installation.
func (in *Installation) Dir() string { return in.dir }

// State returns what is durable now.
func (in *Installation) State() (State, error) {
	var s State
	b, err := os.ReadFile(in.path("state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("state of installation %s: %w", in.path("state.json"), err)
	}
	return s, nil
}

// worker returns the path of a release's program.
func (in *Installation) worker(n Number) string {
	return filepath.Join(in.versionDir(n), "worker")
}

func (in *Installation) versionDir(n Number) string { return in.path(versionName(n)) }

// versionName is the directory of a release as the link names it.
func versionName(n Number) string { return filepath.Join("versions", strconv.FormatInt(int64(n), 10)) }

func (in *Installation) path(parts ...string) string {
	return filepath.Join(append([]string{in.dir}, parts...)...)
}

// beginTrial makes the staged release the one on trial. It returns none if
// nothing is staged.
func (in *Installation) beginTrial() (Program, error) {
	var trial Program
	err := in.update(func(s *State) error {
		if s.Trial.Release != 0 {
			return fmt.Errorf("begin trial: that of release %d has not been settled", s.Trial.Manifest)
		}
		trial, s.Trial, s.Staged = s.Staged, s.Staged, Program{}
		return nil
	})
	return trial, err
}

// confirm makes the release on trial the current one and raises the floor; when
// it returns nil, both are durable.
func (in *Installation) confirm() error {
	return in.update(func(s *State) error {
		if s.Trial.Release == 0 {
			return errors.New("confirm: nothing is on trial")
		}
		if s.Current.Release != s.Trial.Release {
			s.Previous = s.Current
		}
		s.Floor = s.Floor.after(s.Trial)
		s.Current, s.Trial = s.Trial, Program{}
		s.forget(s.Current.Manifest)
		return nil
	})
}

// fail ends a trial that did not go well. The link is flipped back by restore.
func (in *Installation) fail(reason string, interrupted bool, at time.Time) error {
	return in.update(func(s *State) error {
		if s.Trial.Release == 0 {
			return nil
		}
		f, _ := s.Failure(s.Trial.Manifest)
		f.Program, f.Reason, f.At = s.Trial, reason, at.UTC()
		if interrupted {
			f.Interrupted++
		}
		f.Final = !interrupted || f.Interrupted >= MaxInterrupted
		s.forget(f.Program.Manifest)
		s.Failures = append(s.Failures, f)
		s.Failures = s.Failures[max(0, len(s.Failures)-maxFailures):]
		s.Trial = Program{}
		return nil
	})
}

// flip points the link at a release in one step; zero removes it.
func (in *Installation) flip(to Number) error {
	link := in.path("current")
	if to == 0 {
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("flip to own program: %w", err)
		}
		return syncDir(in.dir)
	}
	tmp := in.path(".current.new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("flip to release %d: %w", to, err)
	}
	err := os.Symlink(versionName(to), tmp)
	if err == nil {
		err = os.Rename(tmp, link)
	}
	if err == nil {
		err = syncDir(in.dir)
	}
	if err != nil {
		return fmt.Errorf("flip to release %d: %w", to, err)
	}
	return nil
}

// point flips the link if it names something else.
func (in *Installation) point(to Number) error {
	now, err := os.Readlink(in.path("current"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read link: %w", err)
	}
	want := ""
	if to != 0 {
		want = versionName(to)
	}
	if now == want {
		return nil
	}
	return in.flip(to)
}

// adoptOwn makes the launcher's own program the current one: somebody who may
// write to this host has brought it, and it is newer than what is installed.
func (in *Installation) adoptOwn(own Number) error {
	return in.update(func(s *State) error {
		if own <= s.Floor.Release {
			return nil
		}
		s.Previous, s.Current = s.Current, Program{}
		s.Floor.Release = own
		if s.Staged.Manifest <= own {
			s.Staged = Program{}
		}
		return nil
	})
}

// prune removes the releases that nothing refers to.
func (in *Installation) prune() error {
	return in.locked("lock", func() error {
		s, err := in.State()
		if err != nil {
			return err
		}
		entries, err := os.ReadDir(in.path("versions"))
		if err != nil {
			return fmt.Errorf("remove old releases: %w", err)
		}
		referred := []Number{s.Current.Release, s.Previous.Release, s.Staged.Release, s.Trial.Release}
		var errs []error
		for _, e := range entries {
			n, err := strconv.ParseInt(e.Name(), 10, 64)
			if err != nil || slices.Contains(referred, Number(n)) {
				continue
			}
			errs = append(errs, os.RemoveAll(in.path("versions", e.Name())))
		}
		return errors.Join(errs...)
	})
}

// update changes the state: what change leaves in it is durable when update returns nil.
func (in *Installation) update(change func(*State) error) error {
	return in.locked("lock", func() error {
		s, err := in.State()
		if err != nil {
			return err
		}
		if err := change(&s); err != nil {
			return err
		}
		return in.save(s)
	})
}

// save needs the lock.
func (in *Installation) save(s State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state of installation: %w", err)
	}
	tmp := in.path(".state.new")
	err = writeFile(tmp, append(b, '\n'))
	if err == nil {
		err = os.Rename(tmp, in.path("state.json"))
	}
	if err == nil {
		err = syncDir(in.dir)
	}
	if err != nil {
		return fmt.Errorf("save state of installation: %w", err)
	}
	return nil
}

// locked calls f while no other process or goroutine holds the named lock.
func (in *Installation) locked(name string, f func() error) error {
	l, err := in.lock(name, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock(l)
	return f()
}

// lock takes a file lock; unlock releases it, and so does the end of the process.
func (in *Installation) lock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(in.path(name), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock installation: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock installation %s: %w", in.path(name), err)
	}
	return f, nil
}

// unlock does not leave it to close: a process that is being forked meanwhile
// has a copy of the file, and would keep the lock until it has become another program.
func unlock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // closing does it too, if later
	_ = f.Close()
}

// writeFile writes a file and syncs it.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
