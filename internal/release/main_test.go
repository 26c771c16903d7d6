package release

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// now is when all tests happen.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// signingKey returns the same key for the same seed.
func signingKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicKey(seed byte) ed25519.PublicKey { return signingKey(seed).Public().(ed25519.PublicKey) }

func here() Platform { return PlatformOf(runtime.GOOS, runtime.GOARCH) }

// artifactOf describes a program that lies at url.
func artifactOf(program []byte, url string) Artifact {
	sum := sha256.Sum256(program)
	return Artifact{URL: url, Size: int64(len(program)), SHA256: hex.EncodeToString(sum[:])}
}

// manifestOf describes release n as a program for this platform.
func manifestOf(n Number, a Artifact) Manifest {
	return Manifest{Release: n, Version: "v" + string(rune('0'+n%10)), Expires: now.Add(time.Hour), Artifacts: map[Platform]Artifact{here(): a}}
}

// verified signs and verifies, as a node and its minion do.
func verified(t testing.TB, m Manifest, floor Floor) Verified {
	t.Helper()
	s, err := Sign(m, signingKey(1))
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verify([]ed25519.PublicKey{publicKey(1), publicKey(2)}, 1, now, floor)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The test binary is the launcher, and the minion that it launches, too.
func TestMain(m *testing.M) {
	// The race detector lets a process wait a second before it ends.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "launcher":
			os.Exit(launcherProcess(os.Args[2:]))
		case "minion":
			os.Exit(minionProcess(os.Args[2:]))
		}
	}
	goleak.VerifyTestMain(m)
}

// launcherProcess runs a launcher: DIR CRASHPOINT. It kills itself when it first
// passes the point.
func launcherProcess(args []string) int {
	in, err := Open(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	cfg := LauncherConfig{Own: filepath.Join(args[0], "own"), Args: []string{args[0]}, RestartMin: time.Millisecond, RestartMax: 10 * time.Millisecond}
	l, err := NewLauncher(cfg, LauncherDeps{Installation: in, crash: func(point string) {
		if point == args[1] {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := l.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// program is a minion of the given release that behaves so. Its process is the
// test binary; the shell gives way to it.
func program(behaviour string, release Number) string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("#!/bin/sh\nexec '%s' minion %s %d \"$@\"\n", exe, behaviour, release)
}

// minionProcess is a minion: BEHAVIOUR RELEASE DIR. It writes what it does to
// DIR/log. One that is healthy stages what lies in DIR/orders, in turn, and
// asks for an update; when nothing is left to do it says idle.
func minionProcess(args []string) int {
	behaviour, release, dir := args[0], args[1], args[2]
	say := func(format string, a ...any) {
		f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s %s %d\n", release, fmt.Sprintf(format, a...), os.Getpid())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			panic(err)
		}
	}
	if !Launched() {
		say("orphan")
		return 1
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	if syscall.Getpgrp() != os.Getpid() { // it would get a terminal's signals twice
		say("in the group of its launcher")
		return 1
	}
	say("start")
	switch behaviour {
	case "crashes":
		return 3
	case "ends":
		return 0
	case "hangs":
		// Its commands are not the launcher's business.
		command := exec.Command("sleep", "300")
		if err := command.Start(); err != nil {
			panic(err)
		}
		say("command %d", command.Process.Pid)
		for range signals {
		}
	case "lost": // finds no node
		for {
			if conn, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
				_ = conn.Close()
				return 9
			}
			time.Sleep(time.Millisecond)
		}
	case "updates": // before it has shown that it works
		return ExitUpdate
	}
	health, err := InheritHealth()
	if err != nil {
		say("error %v", err)
		return 4
	}
	if behaviour == "babbles" {
		_, err := health.pipe.WriteString("HEALTHY\n")
		say("babbled %v", err)
		for range signals {
		}
	}
	if health.Trial() {
		// What it starts must not be able to say that it is healthy.
		out, err := exec.Command("sh", "-c", `echo "$`+EnvHealthFD+`"; test -e /proc/$$/fd/3 && echo open; true`).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != "" {
			say("handed-on %q %v", got, err)
			return 5
		}
		say("trial")
	}
	if err := errors.Join(health.Healthy(), health.Healthy()); err != nil {
		say("error %v", err)
		return 6
	}
	if behaviour == "leaves" { // as soon as it is confirmed
		in, err := Open(dir)
		for err == nil {
			var s State
			if s, err = in.State(); s.Trial.Release == 0 {
				return 7
			}
			time.Sleep(time.Millisecond)
		}
	}
	switch staged, err := stageOrders(dir); {
	case err != nil:
		say("error %v", err)
	case staged:
		say("update")
		if behaviour == "assassin" {
			_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
			select {}
		}
		return ExitUpdate
	}
	say("idle")
	for sig := range signals {
		say("%s", sig)
		if sig == syscall.SIGTERM && behaviour != "stubborn" {
			return 0
		}
	}
	return 0
}

// stageOrders stages the first of the signed manifests in DIR/orders that may be.
func stageOrders(dir string) (bool, error) {
	in, err := Open(dir)
	if err != nil {
		return false, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "orders", "*"))
	if err != nil {
		return false, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		signed, err := ParseSigned(b)
		if err != nil {
			return false, err
		}
		state, err := in.State()
		if err != nil {
			return false, err
		}
		v, err := signed.Verify([]ed25519.PublicKey{publicKey(1)}, 1, now, state.Floor)
		if err == nil {
			err = in.Stage(context.Background(), NewFetch(nil), v)
		}
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, ErrOlder) && !errors.Is(err, ErrInstalled) && !errors.Is(err, ErrFailed):
			return false, err
		}
	}
	return false, nil
}

// fleet is an installation with the programs and orders of a test.
type fleet struct {
	*testing.T
	*Installation
}

func newFleet(t *testing.T, own string) fleet {
	t.Helper()
	f := fleet{t, install(t)}
	f.write("own", program(own, 0), 0o755)
	if err := os.MkdirAll(f.path("orders"), 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fleet) write(name, content string, mode os.FileMode) {
	f.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), mode); err != nil {
		f.Fatal(err)
	}
}

// order has the minions take release n, which behaves so; change may be nil.
func (f fleet) order(n Number, behaviour string, change func(*Manifest)) {
	f.Helper()
	m := manifestOf(n, Artifact{})
	if change != nil {
		change(&m)
	}
	p := program(behaviour, m.Program())
	name := fmt.Sprintf("artifact-%d", n)
	f.write(name, p, 0o644)
	m.Artifacts[here()] = artifactOf([]byte(p), "file://"+f.path(name))
	s, err := Sign(m, signingKey(1))
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.write(fmt.Sprintf("orders/%03d", n), string(b), 0o600)
}

// have makes release n the confirmed one.
func (f fleet) have(n Number, behaviour string) {
	f.Helper()
	p := program(behaviour, n)
	bring(f, f.Installation, manifestOf(n, artifactOf([]byte(p), "file:///x")), p)
}

// said is a line of the log.
type said struct {
	release Number
	what    string
	pid     int
}

func (f fleet) log() []said {
	f.Helper()
	b, err := os.ReadFile(f.path("log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.Fatal(err)
	}
	var all []said
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		release, err := strconv.Atoi(words[0])
		pid, err2 := strconv.Atoi(words[len(words)-1])
		if err := errors.Join(err, err2); err != nil {
			f.Fatal(err)
		}
		all = append(all, said{Number(release), strings.Join(words[1:len(words)-1], " "), pid})
	}
	return all
}

// story is the log without process ids.
func (f fleet) story() string {
	f.Helper()
	var all []string
	for _, s := range f.log() {
		what, _, _ := strings.Cut(s.what, " ")
		all = append(all, fmt.Sprintf("%d %s", s.release, what))
	}
	return strings.Join(all, ", ")
}

// until waits for something that must come.
func (f fleet) until(what string, come func() bool) {
	f.Helper()
	await.Missing(f, func() string {
		if come() {
			return ""
		}
		return fmt.Sprintf("%s; log: %s; state: %+v", what, f.story(), stateOf(f, f.Installation))
	})
}

// idle waits until a minion has nothing left to do, after the first n lines, and
// the launcher has heard that it is healthy.
func (f fleet) idle(n int) {
	f.Helper()
	f.until("idle", func() bool {
		all := f.log()
		return len(all) > n && all[len(all)-1].what == "idle" && stateOf(f, f.Installation).Trial.Release == 0
	})
}

// gone waits for the end of all that was started.
func (f fleet) gone() {
	f.Helper()
	for _, s := range f.log() {
		f.until(fmt.Sprintf("end of process %d", s.pid), func() bool { return !alive(s.pid) })
	}
}

// alive says whether a process is there and is not waiting to be reaped.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
