package release

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// launch runs a launcher in this process until the returned function is called.
func (f fleet) launch(cfg LauncherConfig, deps LauncherDeps) (stop func()) {
	f.Helper()
	cfg.Own, cfg.Args = f.path("own"), []string{f.Dir()}
	if deps.sleep == nil {
		cfg.RestartMin, cfg.RestartMax = time.Millisecond, 10*time.Millisecond
	}
	deps.Installation = f.Installation
	l, err := NewLauncher(cfg, deps)
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var err2 error
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err2 = <-done; err2 != nil {
				f.Error(err2)
			}
		}
	}
	f.Cleanup(stop)
	return stop
}

// current fails the test unless the link, the state and the files agree.
func (f fleet) current(program Number, floor Floor) {
	f.Helper()
	s := stateOf(f, f.Installation)
	if s.Current.Release != program || s.Floor != floor || s.Trial.Release != 0 {
		f.Errorf("state = %+v, want release %d and floor %+v", s, program, floor)
	}
	link, err := os.Readlink(f.path("current"))
	if program == 0 {
		if !errors.Is(err, os.ErrNotExist) {
			f.Errorf("link = %q, %v: must not be there", link, err)
		}
	} else if err != nil || link != "versions/"+strconv.Itoa(int(program)) {
		f.Errorf("link = %q, %v, want release %d", link, err, program)
	}
}

// Each healthy release follows the one before, and the floor rises with it.
func TestLauncherUpdates(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.order(1, "works", nil)
	f.order(2, "works", func(m *Manifest) { m.Minimum = 1 })
	f.order(3, "works", nil)
	f.order(4, "works", func(m *Manifest) { m.RollbackTo = 2 })
	stop := f.launch(LauncherConfig{}, LauncherDeps{})
	f.idle(0)
	want := "0 start, 0 update, 1 start, 1 trial, 1 update, 2 start, 2 trial, 2 update, 3 start, 3 trial, 3 update, 2 start, 2 trial, 2 idle"
	if diff := cmp.Diff(want, f.story()); diff != "" {
		t.Error(diff)
	}
	f.current(2, Floor{Release: 4, Minimum: 1})
	stop()
	f.gone()
	if _, err := os.Stat(f.versionDir(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("release 1 is still there: %v", err)
	}
	if _, err := os.Stat(f.worker(3)); err != nil {
		t.Errorf("the release before is not kept: %v", err)
	}
}

// A release that does not work is ended, the former one starts again, and it is
// not tried a second time, nor after a restart of the launcher.
func TestLauncherRollsBack(t *testing.T) {
	t.Parallel()
	for behaviour, want := range map[string]struct {
		reason string
		// late is what the release has said when its time is over. Empty: it ends before.
		late string
	}{
		"crashes": {"exit status 3", ""},
		"ends":    {"exit status 0", ""},
		"updates": {"exit status 75", ""},
		"hangs":   {"not healthy within", "2 command"},
		"lost":    {"not healthy within", "2 start"},
		"babbles": {"not healthy within", "2 babbled"},
	} {
		for _, from := range []Number{0, 1} {
			t.Run(behaviour+" from "+strconv.Itoa(int(from)), func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, "works")
				floor := Floor{}
				if from != 0 {
					f.have(from, "works")
					floor.Release = from
				}
				f.order(2, behaviour, nil)
				gate := make(chan time.Time)
				stop := f.launch(LauncherConfig{}, LauncherDeps{gate: gate})
				if want.late != "" {
					f.until(want.late, func() bool { return strings.HasSuffix(f.story(), want.late) })
					close(gate)
				}
				f.idle(0)
				f.current(from, floor)
				s := stateOf(t, f.Installation)
				if len(s.Failures) != 1 || !s.Failures[0].Final || s.Failures[0].Program.Release != 2 || !strings.Contains(s.Failures[0].Reason, want.reason) {
					t.Errorf("failures = %+v, want %q", s.Failures, want.reason)
				}
				if n := strings.Count(f.story(), "2 start"); n != 1 {
					t.Errorf("tried %d times: %s", n, f.story())
				}
				before := len(f.log())
				stop()
				f.gone()
				for _, s := range f.log() {
					if number, ok := strings.CutPrefix(s.what, "command "); ok {
						pid, err := strconv.Atoi(number)
						if err != nil {
							t.Fatal(err)
						}
						if !alive(pid) {
							t.Error("a command of the minion was ended with it")
						}
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				f.launch(LauncherConfig{}, LauncherDeps{})
				f.idle(before + 1) // what stopped has said so
				f.current(from, floor)
				if n := strings.Count(f.story(), "2 start"); n != 1 {
					t.Errorf("tried %d times after a restart: %s", n, f.story())
				}
			})
		}
	}
}

// After a failure a newer release is tried.
func TestLauncherTakesTheNextRelease(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.have(1, "works")
	f.order(2, "crashes", nil)
	f.order(3, "works", nil)
	f.launch(LauncherConfig{}, LauncherDeps{})
	f.idle(0)
	if want := "1 start, 1 update, 2 start, 1 start, 1 update, 3 start, 3 trial, 3 idle"; f.story() != want {
		t.Errorf("story = %s, want %s", f.story(), want)
	}
	f.current(3, Floor{Release: 3})
}

// A program that cannot even be started has failed its trial.
func TestLauncherUnstartable(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	fetched := 0
	m := releaseOf(2, "no program at all")
	if err := f.Stage(t.Context(), served([]byte("no program at all"), &fetched), verified(t, m, Floor{})); err != nil {
		t.Fatal(err)
	}
	// The first to run exits with 75 for what is staged.
	f.write("own", "#!/bin/sh\n[ -e "+f.path("once")+" ] || { touch "+f.path("once")+"; exit 75; }\n"+strings.TrimPrefix(program("works", 0), "#!/bin/sh\n"), 0o755)
	f.launch(LauncherConfig{}, LauncherDeps{})
	f.idle(0)
	f.current(0, Floor{})
	if s := stateOf(t, f.Installation); len(s.Failures) != 1 || !s.Failures[0].Final {
		t.Errorf("failures = %+v", s.Failures)
	}
}

// A confirmed program that crashes is started again for ever, ever later, up to a bound.
func TestLauncherBacksOff(t *testing.T) {
	t.Parallel()
	for _, behaviour := range []string{"crashes", "ends", "updates", "missing"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, behaviour)
			if behaviour == "missing" {
				if err := os.Remove(f.path("own")); err != nil {
					t.Fatal(err)
				}
			}
			var waits []time.Duration
			enough := make(chan struct{})
			stop := f.launch(LauncherConfig{}, LauncherDeps{sleep: func(ctx context.Context, d time.Duration) {
				if waits = append(waits, d/time.Second); len(waits) == 8 {
					close(enough)
					<-ctx.Done()
				}
			}})
			<-enough
			stop()
			if diff := cmp.Diff([]time.Duration{1, 2, 4, 8, 16, 30, 30, 30}, waits); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What crashes after it was confirmed stays: only a trial is rolled back.
func TestLauncherKeepsWhatIsConfirmed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.order(2, "leaves", nil)
	stop := f.launch(LauncherConfig{}, LauncherDeps{})
	f.until("restart of release 2", func() bool { return strings.Count(f.story(), "2 start") >= 3 })
	stop()
	f.current(2, Floor{Release: 2})
	if strings.Count(f.story(), "0 start") != 1 {
		t.Errorf("story = %s", f.story())
	}
}

// The end of the context ends the minion, with force if need be; other signals are passed on.
func TestLauncherStops(t *testing.T) {
	t.Parallel()
	for behaviour, grace := range map[string]time.Duration{"works": time.Hour, "stubborn": time.Millisecond} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, behaviour)
			signals := make(chan os.Signal, 1)
			stop := f.launch(LauncherConfig{Grace: grace}, LauncherDeps{Signals: signals})
			f.idle(0)
			signals <- syscall.SIGHUP
			f.until("SIGHUP", func() bool { return strings.HasSuffix(f.story(), "0 hangup") })
			close(signals) // no more come: that is no signal either
			stop()
			f.gone()
			if behaviour == "works" && !strings.HasSuffix(f.story(), "0 hangup, 0 terminated") {
				t.Errorf("story = %s", f.story())
			}
		})
	}
}

// A stop during a trial is no fault of the release, which may be tried again.
func TestLauncherStopsDuringTrial(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.have(1, "works")
	f.order(2, "lost", nil)
	stop := f.launch(LauncherConfig{Grace: time.Millisecond}, LauncherDeps{})
	f.until("trial", func() bool { return strings.HasSuffix(f.story(), "2 start") })
	stop()
	f.gone()
	f.current(1, Floor{Release: 1})
	if s := stateOf(t, f.Installation); len(s.Failures) != 1 || s.Failures[0].Final || s.Failures[0].Interrupted != 1 {
		t.Errorf("failures = %+v", s.Failures)
	}
}

func TestLauncherIsAlone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.launch(LauncherConfig{}, LauncherDeps{})
	f.idle(0)
	second, err := NewLauncher(LauncherConfig{}, LauncherDeps{Installation: f.Installation})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("error = %v", err)
	}
}

// A newer program that a package has brought takes the place of an installed
// one; an older one does not.
func TestLauncherOwnRelease(t *testing.T) {
	t.Parallel()
	for own, want := range map[Number]struct {
		runs  Number
		floor Floor
	}{4: {5, Floor{Release: 5}}, 5: {5, Floor{Release: 5}}, 6: {0, Floor{Release: 6}}} {
		t.Run(strconv.Itoa(int(own)), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, "works")
			f.have(5, "works")
			f.order(6, "works", nil)
			if own != 6 { // or else the order is what already runs
				if err := os.Remove(f.path("orders", "006")); err != nil {
					t.Fatal(err)
				}
			}
			f.launch(LauncherConfig{OwnRelease: own}, LauncherDeps{})
			f.idle(0)
			f.current(want.runs, want.floor)
			if got := f.log()[0].release; got != want.runs {
				t.Errorf("runs %d, want %d", got, want.runs)
			}
		})
	}
}

func TestNewLauncherTellsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := NewLauncher(LauncherConfig{Gate: -1, RestartMin: time.Hour}, LauncherDeps{})
	for _, want := range []string{"installation is missing", "gate is -1ns", "restart max is 30s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}

// What a process on trial has said counts also when it has ended, and although
// something that it has started holds its end of the pipe.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, reason string }{
		"healthy, asks for an update": {"echo healthy >&3; exit 75", ""},
		"healthy, crashes":            {"echo healthy >&3; exit 1", "as soon as it was healthy: exit status 1"},
		"asks for an update":          {"exit 75", "before it was healthy: exit status 75"},
		"half a word":                 {"printf heal >&3; exit 75", "before it was healthy"},
		"much else":                   {"head -c 1000000 /dev/zero >&3; exit 75", "before it was healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t)
			l, err := NewLauncher(LauncherConfig{}, LauncherDeps{Installation: in})
			if err != nil {
				t.Fatal(err)
			}
			path := in.path("script")
			if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 300 & echo $! > "+path+".pid\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			child, err := l.spawn(path, true)
			if err != nil {
				t.Fatal(err)
			}
			<-child.done
			if v := lastWords(child); (v.reason == "") != (c.reason == "") || !strings.Contains(v.reason, c.reason) {
				t.Errorf("verdict = %+v, want %q", v, c.reason)
			}
			child.close()
			b, err := os.ReadFile(path + ".pid")
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}
