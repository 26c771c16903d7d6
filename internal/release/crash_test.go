package release

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process starts a launcher that can be killed.
func (f fleet) process(point string) *exec.Cmd {
	f.Helper()
	exe, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	cmd := exec.Command(exe, "launcher", f.Dir(), point)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd
}

// sound fails the test if what is durable breaks an invariant.
func (f fleet) sound(before State) State {
	f.Helper()
	s := stateOf(f, f.Installation)
	if s.Floor.Release < before.Floor.Release || s.Floor.Minimum < before.Floor.Minimum {
		f.Errorf("I2: the floor fell from %+v to %+v", before.Floor, s.Floor)
	}
	if s.Current.Release != 0 && s.Current.Manifest != s.Floor.Release {
		f.Errorf("I3: current is %+v, the floor %+v", s.Current, s.Floor)
	}
	for _, p := range []Program{s.Current, s.Previous, s.Staged, s.Trial} {
		if p.Release == 0 {
			continue
		}
		info, err := os.Stat(f.worker(p.Release))
		if err != nil {
			f.Errorf("I5: %v", err)
			continue
		}
		if good, err := matches(f.worker(p.Release), Artifact{Size: info.Size(), SHA256: p.SHA256}); !good || err != nil {
			f.Errorf("I4: release %d: %v", p.Release, err)
		}
	}
	return s
}

// Wherever the launcher is killed, the minion dies with it, and the next
// launcher ends on a working release, never below the floor.
func TestLauncherKilled(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"staged", "recorded", "flipped", "started", "healthy", "confirmed", "failed", "flipped back"} {
		for _, behaviour := range []string{"works", "crashes"} {
			for _, from := range []Number{0, 1} {
				failing := point == "failed" || point == "flipped back"
				if failing && behaviour == "works" || (point == "healthy" || point == "confirmed") && behaviour == "crashes" {
					continue // never gets there
				}
				t.Run(fmt.Sprintf("%s, %s, from %d", point, behaviour, from), func(t *testing.T) {
					t.Parallel()
					first := "works"
					if point == "staged" {
						first = "assassin"
					}
					f := newFleet(t, first)
					if from != 0 {
						f.have(from, first)
					}
					f.order(2, behaviour, nil)
					s := f.sound(State{})

					cmd := f.process(point)
					_ = cmd.Wait() // the state tells
					if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
						t.Fatalf("launcher: %v; log: %s", cmd.ProcessState, f.story())
					}
					f.gone()
					s = f.sound(s)
					if confirmed := s.Current.Release == 2; confirmed != (point == "confirmed") {
						t.Errorf("after the kill: state = %+v", s)
					}
					unsettled := s.Trial.Release != 0
					if want := point != "staged" && point != "confirmed"; unsettled != want {
						t.Errorf("after the kill: on trial = %v, want %v", unsettled, want)
					}

					if point == "staged" { // the next minion would kill again
						f.write("own", program("works", 0), 0o755)
						if from != 0 {
							f.write("versions/1/worker", program("works", 1), 0o755)
							if err := f.update(func(s *State) error {
								s.Current.SHA256 = artifactOf([]byte(program("works", 1)), "").SHA256
								return nil
							}); err != nil {
								t.Fatal(err)
							}
						}
					}
					before := len(f.log())
					f.process("never")
					f.idle(before)
					s = f.sound(s)
					want := map[string]Number{"works": 2, "crashes": from}[behaviour]
					if s.Current.Release != want || s.Trial.Release != 0 || s.Staged.Release != 0 {
						t.Errorf("in the end: state = %+v, want release %d", s, want)
					}
					// What ran first after the restart was the confirmed release.
					first2, wantFirst := f.log()[before], from
					if point == "confirmed" {
						wantFirst = 2
					}
					if first2.release != wantFirst || first2.what != "start" {
						t.Errorf("the restart began with %+v, want release %d", first2, wantFirst)
					}
					f2, failed := s.Failure(2)
					if behaviour == "crashes" && (!failed || !f2.Final) {
						t.Errorf("failures = %+v", s.Failures)
					}
				})
			}
		}
	}
}

// A launcher that is killed in each trial of a release, as by a host that does
// not bear it, gives the release up.
func TestLauncherKilledInEveryTrial(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "works")
	f.have(1, "works")
	f.order(2, "works", nil)
	for range MaxInterrupted {
		_ = f.process("started").Wait() // it kills itself
		f.gone()
	}
	before := len(f.log())
	f.process("started") // never gets there
	f.idle(before)
	s := f.sound(State{})
	if failure, ok := s.Failure(2); s.Current.Release != 1 || !ok || !failure.Final || failure.Interrupted != MaxInterrupted {
		t.Errorf("state = %+v", s)
	}
}

// Killed again and again, at any time, a launcher keeps the invariants, and ends
// on a release that works.
func TestLauncherKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, "works")
			for n, behaviour := range []string{"works", "crashes", "works", "ends", "works", "works"} {
				f.order(Number(n+1), behaviour, nil)
			}
			random := rand.New(rand.NewPCG(seed, 0))
			var s State
			for range 12 {
				cmd := f.process("never")
				time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
				_ = cmd.Process.Kill() // it runs until it is killed
				_ = cmd.Wait()
				f.gone()
				s = f.sound(s)
			}
			before := len(f.log())
			f.process("never")
			f.idle(before)
			s = f.sound(s)
			if bad := s.Current.Release; bad == 2 || bad == 4 || s.Trial.Release != 0 {
				t.Errorf("in the end: state = %+v", s)
			}
			// What works is refused only if too many of its trials were cut short.
			if failure, ok := s.Failure(6); s.Current.Release != 6 && (!ok || failure.Interrupted < MaxInterrupted) {
				t.Errorf("in the end: state = %+v", s)
			}
		})
	}
}

// What cannot be made durable is not done: no trial begins, and none is
// confirmed. When the disk is well again, the release is taken.
func TestLauncherDiskFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		own, story    string
		staged, trial Number
	}{
		// The disk fails when the minion has asked for the update, or when the new one is healthy.
		"no trial":  {"[ -e %[1]s/once ] || { touch %[1]s/once; mkdir %[1]s/.state.new; exit 75; }\n", "0 start, 0 error, 0 idle", 2, 0},
		"unsettled": {"", "0 start, 0 update, 2 start, 2 trial, 0 start, 0 idle", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, "works")
			f.order(2, "works", nil)
			broken := f.path(".state.new") // a directory where a file is to be written
			if c.own != "" {
				if staged, err := stageOrders(f.Dir()); !staged || err != nil {
					t.Fatal(staged, err)
				}
				shebang, rest, _ := strings.Cut(program("works", 0), "\n")
				f.write("own", shebang+"\n"+fmt.Sprintf(c.own, f.Dir())+rest, 0o755)
			}
			stop := f.launch(LauncherConfig{}, LauncherDeps{crash: func(at string) {
				if at == "healthy" && c.own == "" {
					if err := os.Mkdir(broken, 0o700); err != nil {
						t.Error(err)
					}
				}
			}})
			// The one on trial may get further before it is told to end.
			f.until(c.story, func() bool {
				return strings.HasPrefix(strings.Replace(f.story()+", ", "2 trial, 2 idle, ", "2 trial, ", 1), c.story+", ")
			})
			if s := f.sound(State{}); s.Current.Release != 0 || s.Trial.Release != c.trial || s.Staged.Release != c.staged {
				t.Errorf("state = %+v", s)
			}
			if link, err := os.Readlink(f.path("current")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("link = %q, %v", link, err)
			}
			stop()
			if err := os.Remove(broken); err != nil {
				t.Fatal(err)
			}
			before := len(f.log())
			f.launch(LauncherConfig{}, LauncherDeps{})
			f.idle(before)
			f.current(2, Floor{Release: 2})
		})
	}
}
