package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

var (
	// bin holds the binaries; other accounts may run them.
	bin string // made once for all tests, by TestMain
	// shared is the etcd of nodes that have none of their own.
	shared etcdtest.Shared
)

// TestMain builds the binaries once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "carillon-attack-*"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		if err := build(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return shared.Run(m)
	}())
}

// build builds every command of the repository into dir.
func build(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // other accounts run them
		return err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator), "-ldflags", "-s -X main.version=1.2.3-test -X main.commit=abcdef"}
	for _, name := range []string{"scheduler", "worker", "carillon"} {
		args = append(args, "../../cmd/"+name)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}
