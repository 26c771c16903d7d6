package sharesock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler/shared"
)

// serve starts a server whose answers tell which task has asked.
func serve(t *testing.T, dir string) *Server {
	t.Helper()
	return serveFor(t, Config{Path: filepath.Join(dir, "s"), Key: filepath.Join(dir, "k")})
}

func serveFor(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Listen(cfg, Deps{
		Ask: func(ctx context.Context, task string, r shared.Request) shared.Answer {
			if r.Op == shared.OpBarrier {
				<-ctx.Done()
			}
			return shared.Answer{Code: shared.CodeOK, Value: task + " " + r.Key}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return s
}

// say sends a line, and returns the answer.
func say(conn net.Conn, line string) (shared.Answer, error) {
	var a shared.Answer
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte(line + "\n")); err != nil {
		return a, err
	}
	in := bufio.NewScanner(conn)
	in.Buffer(nil, shared.MaxLine)
	if !in.Scan() {
		return a, errors.Join(in.Err(), errors.New("closed"))
	}
	return a, json.Unmarshal(in.Bytes(), &a)
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestTokens: a token is good for its task and account, and for nothing else (T1, T2).
func TestTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir)
	token := s.Token("task-1", 1000)
	if task, err := s.task(token, 1000); err != nil || task != "task-1" {
		t.Errorf("its own: %q, %v", task, err)
	}
	if task, err := s.task(token, 0); err != nil || task != "task-1" {
		t.Errorf("root: %q, %v", task, err)
	}
	other := serve(t, t.TempDir())
	for name, c := range map[string]struct {
		token string
		uid   uint32
	}{
		"another account":       {token, 1001},
		"another task":          {strings.Replace(token, "task-1", "task-2", 1), 1000},
		"an account changed":    {strings.Replace(token, "~1000~", "~1001~", 1), 1001},
		"another minion's":      {other.Token("task-1", 1000), 1000},
		"cut":                   {token[:len(token)-1], 1000},
		"without a code":        {"task-1~1000~", 1000},
		"nothing":               {"", 1000},
		"a name with the sign":  {"task-1~1000~x~" + token, 1000},
		"an account out of all": {strings.Replace(token, "~1000~", "~4294968296~", 1), 1000},
	} {
		if task, err := s.task(c.token, c.uid); err == nil {
			t.Errorf("%s: is taken for %q", name, task)
		}
	}
	// The minion's next process knows it.
	next, err := openKey(filepath.Join(dir, "k"))
	if err != nil || string(next) != string(s.key) {
		t.Errorf("the key: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, "k")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", st.Mode(), err)
	}
}

// TestSocket: programs ask as package shared does; what is no request is refused, and ends
// the connection (T1, T3, T4).
func TestSocket(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	token := s.Token("task-1", uint32(os.Geteuid()))
	state, err := shared.Open(s.Path(), token)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	for range 3 {
		if e, err := state.Get(t.Context(), "k"); err != nil || e.Value != "task-1 k" {
			t.Errorf("%+v, %v", e, err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := state.Barrier(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is given up: %v", err)
	}
	if e, err := state.Get(t.Context(), "k"); err != nil {
		t.Errorf("after it: %+v, %v", e, err)
	}
	for line, stays := range map[string]bool{
		`nonsense`:                           false,
		`{"token":"x","op":"get","key":"k"}`: false,
		`{"op":"get","key":"k"}`:             false,
		`{"token":"` + token + `","op":"get","key":"k","task":"task-2"}`:                                false,
		`{"token":"` + token + `","op":"get","key":"../` + "\\u0000" + `"}`:                             true,
		`{"token":"` + token + `","op":"get","key":"k","scope":"cluster"}`:                              true,
		`{"token":"` + token + `","op":"set","key":"k","value":"` + strings.Repeat("x", MaxLine) + `"}`: false,
	} {
		conn := dial(t, s)
		a, err := say(conn, line)
		if err == nil && a.Code != shared.CodeRefused {
			t.Errorf("%.60s: %+v", line, a)
		}
		a, err = say(conn, `{"token":"`+token+`","op":"get","key":"k"}`)
		if good := err == nil && a.Code == shared.CodeOK; good != stays {
			t.Errorf("%.60s: the next line: %+v, %v", line, a, err)
		}
	}
}

// TestStrangers: connections that show no token keep nobody out who has one, and end (T3).
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	uid := uint32(os.Geteuid())
	good := dial(t, s)
	line := `{"token":"` + s.Token("task-1", uid) + `","op":"get","key":"k"}`
	if a, err := say(good, line); err != nil || a.Code != shared.CodeOK {
		t.Fatalf("%+v, %v", a, err)
	}
	s.mu.Lock()
	if s.known.all != 1 || s.strangers.all != 0 {
		t.Errorf("who has shown a token: %d known, %d strangers", s.known.all, s.strangers.all)
	}
	s.strangers.of[uid] += AccountStrangers - 1
	s.strangers.all += AccountStrangers - 1
	s.mu.Unlock()
	if a, err := say(dial(t, s), line); err != nil || a.Code != shared.CodeOK {
		t.Errorf("the last place: %+v, %v", a, err)
	}
	s.mu.Lock()
	s.strangers.of[uid]++
	s.strangers.all++
	s.mu.Unlock()
	var a shared.Answer
	if err := json.NewDecoder(dial(t, s)).Decode(&a); err != nil || a.Code != shared.CodeFull {
		t.Errorf("a stranger too many: %+v, %v", a, err)
	}
	if a, err := say(good, line); err != nil || a.Code != shared.CodeOK {
		t.Errorf("who is known already: %+v, %v", a, err)
	}
}

// TestSilence: who says nothing is cut (T3).
func TestSilence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveFor(t, Config{Path: filepath.Join(dir, "s"), Key: filepath.Join(dir, "k"), tokenWait: 50 * time.Millisecond})
	conn := dial(t, s)
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestOtherAccount: the kernel says who is at the other end: another account's process gets
// nothing with a token that it has read (T1). Root alone can be somebody else; others see
// that the socket is closed to them.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "sharesock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	if os.Geteuid() != 0 {
		if st, err := os.Stat(s.Path()); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", st.Mode(), err)
		}
		return
	}
	const stranger, owner = 64_321, 64_322
	token := s.Token("task-1", owner)
	for uid, want := range map[int]string{stranger: shared.CodeRefused, owner: shared.CodeOK} {
		got := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its rights
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				got <- errno
				return
			}
			got <- func() error {
				conn, err := net.Dial("unix", s.Path())
				if err != nil {
					return err
				}
				defer conn.Close()
				a, err := say(conn, `{"token":"`+token+`","op":"get","key":"k"}`)
				if err == nil && a.Code != want {
					err = fmt.Errorf("%+v, want %s", a, want)
				}
				return err
			}()
		}()
		if err := <-got; err != nil {
			t.Errorf("account %d: %v", uid, err)
		}
	}
}
