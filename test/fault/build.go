package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// build builds the daemons into dir, and this program, which is etcd, the crowd
// and what is busy. A test's own program would be slow at that: it has the race
// detector.
func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "fault", "-o", dir+string(filepath.Separator),
		"github.com/carillon-cron/carillon/cmd/scheduler", "github.com/carillon-cron/carillon/cmd/worker", "github.com/carillon-cron/carillon/test/fault")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}
