package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/carillon-cron/carillon/api"
)

// nextVersion is what the other build of the scheduler says that it is.
const nextVersion = "next"

// buildNext builds the scheduler once more, as another version, and returns its path.
func buildNext(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "scheduler-"+nextVersion)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "fault", "-ldflags", "-X main.version="+nextVersion, "-o", path,
		"github.com/carillon-cron/carillon/cmd/scheduler")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the next scheduler: %w\n%s", err, out)
	}
	return path, nil
}

// rollOut has the nodes run another build, one after another: a node is asked to leave,
// and the next one once all are members again. The first time it is a newer one, then it
// is the one before.
func rollOut(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	from := c.schedulers[0].path
	to := c.builds[(slices.Index(c.builds, from)+1)%len(c.builds)]
	c.event("roll out %s", filepath.Base(to))
	versions := map[string]bool{}
	for _, i := range rnd.Perm(schedulerCount) {
		p := c.schedulers[i]
		c.takeovers.lose(p.name, causeHandover)
		code, err := p.stop(syscall.SIGTERM)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("%s left with exit code %d, want 0; see %s", p.name, code, p.log)
		}
		p.path = to
		if err := p.start(); err != nil {
			return err
		}
		if err := c.allMembers(ctx); err != nil {
			return err
		}
		var v api.Version
		if err := c.api.askNode(ctx, c.api.nodes[i], http.MethodGet, "/v1/version", nil, &v); err != nil {
			return err
		}
		versions[v.Version] = true
	}
	if len(versions) != 1 {
		return fmt.Errorf("after a roll-out the nodes run %v", versions)
	}
	return nil
}
