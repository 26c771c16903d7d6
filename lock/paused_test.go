package lock

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// pausedVariable makes this program hold a lock until it is killed, and write
// under its fence all the time; its value is the endpoint of etcd.
const pausedVariable = "CARILLON_LOCK_PAUSED"

// paused is the process that is stopped. It tells what became of each write.
func paused(endpoint, prefix string) {
	ctx := context.Background()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	s, err := Open(ctx, SessionConfig{Holder: "paused", TTL: 12 * time.Second, Epoch: 1, Marks: prefix + "marks/"}, Deps{Client: c})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	m, err := NewMutex(s, prefix+"lock", MutexOptions{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	h, err := m.Lock(ctx)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for {
		held := h.Held()
		r, err := c.Txn(ctx).If(h.Fence()).Then(clientv3.OpPut(prefix+"data", "x")).Commit()
		fmt.Println("write", held, err == nil && r.Succeeded)
		time.Sleep(10 * time.Millisecond)
	}
}

// TestI3I6_PausedHolder stops a process that holds the lock, past its lease, and
// lets it go on: it knows at its next look, and its writes fail.
func TestI3I6_PausedHolder(t *testing.T) {
	t.Parallel()
	server := shared.Server(t)
	prefix := etcdtest.Prefix(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), pausedVariable+"="+server.Endpoints[0], pausedVariable+"_PREFIX="+prefix)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for range 5 {
		if !lines.Scan() || lines.Text() != "write true true" {
			t.Fatalf("the holder says %q, want that it holds and writes", lines.Text())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s := openSession(t, server.Client(t), nil)
	h, err := newMutex(t, s, prefix+"lock", MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// What it said before it was stopped may still be in the pipe.
	for fenced := 0; fenced < 20; {
		if !lines.Scan() {
			t.Fatalf("the woken process is gone: %v", lines.Err())
		}
		switch text := lines.Text(); {
		case strings.HasSuffix(text, "false"):
			if fenced++; fenced > 2 && text != "write false false" {
				t.Errorf("the woken holder says %q, want that it holds nothing", text)
			}
		case fenced > 0:
			t.Errorf("a write of the woken holder went through: %q", text)
		}
	}
	if !h.Held() {
		t.Error("the new holder has lost the lock")
	}
}
