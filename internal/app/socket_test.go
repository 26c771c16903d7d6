package app

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
)

// TestSocketTakesNobodysPlace: the local socket takes the place of one that a
// killed node has left, and of nothing else.
func TestSocketTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sock") // t.TempDir's paths may be too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := func(name string) string { return filepath.Join(dir, name) }
	listen := func(name string) error {
		n := &Node{cfg: configs.Scheduler{Socket: path(name)}, log: zap.NewNop()}
		t.Cleanup(n.Close)
		return n.listenSocket()
	}

	if err := os.WriteFile(path("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := listen("file"); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("in the place of a file: %v", err)
	}
	if b, err := os.ReadFile(path("file")); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q now (%v)", b, err)
	}

	if err := listen("new"); err != nil {
		t.Errorf("a new one: %v", err)
	}
	if err := listen("new"); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("in the place of one that is served: %v", err)
	}

	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("left"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as when its process is killed
	_ = left.Close()
	if err := listen("left"); err != nil {
		t.Errorf("in the place of one that is left over: %v", err)
	}
}
