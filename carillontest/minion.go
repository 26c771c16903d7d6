package carillontest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/internal/app/minion"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
	"github.com/carillon-cron/carillon/worker/shim"
)

// Minion is a minion of a cluster. Use Cluster.Minion.
type Minion struct {
	// ID is its name: m1, m2 and so on, in the order in which they were asked for.
	ID job.MinionID
	// Socket is where programs that do tasks connect, as with `worker --handlers`.
	Socket string

	c *Cluster
}

// noCommands is what tasks fail with that are no handler's.
const noCommands = "minions of package carillontest do tasks of handlers only, and start no commands"

// Minion adds a minion with labels, each NAME=VALUE, and returns once the node knows it.
func (c *Cluster) Minion(labels ...string) *Minion {
	c.t.Helper()
	c.mu.Lock()
	c.minions++
	m := &Minion{ID: job.MinionID(fmt.Sprintf("m%d", c.minions)), c: c}
	c.mu.Unlock()
	granted := map[string]string{}
	for _, l := range labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok {
			c.t.Fatalf("carillontest: label %q of a minion: want NAME=VALUE", l)
		}
		granted[name] = value
	}
	dir := filepath.Join(c.dir, string(m.ID))
	m.Socket = filepath.Join(c.dir, string(m.ID)+".sock")
	if err := os.MkdirAll(filepath.Join(dir, "shim"), 0o700); err != nil {
		c.t.Fatalf("carillontest: directory of minion %s: %v", m.ID, err)
	}
	none, err := shim.ServeNone(filepath.Join(dir, "shim"), noCommands)
	if err != nil {
		c.t.Fatalf("carillontest: minion %s: %v", m.ID, err)
	}
	c.t.Cleanup(none.Close)
	c.run("minion "+string(m.ID), func(ctx context.Context, started func()) error {
		started()
		return minion.Run(ctx, minion.Config{Insecure: true, Handlers: m.Socket, Worker: worker.Config{
			ID: m.ID, DataDir: dir, Servers: []string{c.node.PeerAddr()}, ShimCommand: []string{"/nonexistent"}, Cgroup: worker.NoCgroup, Version: "test",
		}}, c.log.Named(string(m.ID)))
	})
	c.until(func(ctx context.Context) string {
		if known, err := c.client.Minions.Get(ctx, m.ID); err != nil || known.Node == "" {
			return fmt.Sprintf("minion %s is not connected: %v", m.ID, err)
		}
		return ""
	})
	if len(granted) > 0 {
		c.until(func(ctx context.Context) string {
			if _, err := c.client.Minions.Label(ctx, m.ID, api.LabelRequest{Set: granted}); err != nil {
				return fmt.Sprintf("minion %s has no labels: %v", m.ID, err)
			}
			return ""
		})
		c.until(func(ctx context.Context) string {
			known, err := c.client.Minions.Get(ctx, m.ID)
			for name, value := range granted {
				if err != nil || known.Labels[name] != value {
					return fmt.Sprintf("label %s of minion %s is %q: %v", name, m.ID, known.Labels[name], err)
				}
			}
			return ""
		})
	}
	return m
}

// Work runs a worker beside the minion until the test ends, and returns once the node knows
// what handlers it has. NewWorker makes it for a socket, as programs do it that find theirs in
// handler.EnvSocket.
func (m *Minion) Work(newWorker func(socket string) *handler.Worker) {
	m.c.t.Helper()
	w := newWorker(m.Socket)
	if wrong := w.Problems(); len(wrong) > 0 {
		m.c.t.Fatalf("carillontest: worker of minion %s: %v", m.ID, &job.InvalidError{Problems: wrong})
	}
	m.c.run("a worker of minion "+string(m.ID), func(ctx context.Context, started func()) error {
		started()
		return w.Run(ctx)
	})
	names := w.Handlers()
	m.c.until(func(ctx context.Context) string {
		known, err := m.c.client.Minions.Get(ctx, m.ID)
		i := slices.IndexFunc(names, func(name string) bool { _, ok := known.Facts[job.FactHandler+name]; return !ok })
		if err != nil || i >= 0 {
			return fmt.Sprintf("the node does not know the handlers %s of minion %s: %v", strings.Join(names, ", "), m.ID, err)
		}
		return ""
	})
}

// Work adds a minion without labels, and a worker beside it.
func (c *Cluster) Work(newWorker func(socket string) *handler.Worker) *Minion {
	c.t.Helper()
	m := c.Minion()
	m.Work(newWorker)
	return m
}
