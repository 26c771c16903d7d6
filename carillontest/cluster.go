package carillontest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// Config is how a cluster is. Its zero value will do.
type Config struct {
	// Log gets what the cluster logs, warnings and errors of it. Nil: nobody does. It may be
	// written by many goroutines at once, and until the test has ended.
	Log io.Writer
}

// Cluster is a cluster of one node. Use Start.
type Cluster struct {
	t      testing.TB
	dir    string
	etcd   []string
	node   *app.Node
	client *client.Client
	log    *zap.Logger

	mu sync.Mutex
	// mu guards minions, how many there are, and failed: which part has ended before the
	// test, and why.
	minions int
	failed  error
}

// shards is how many there are: few are taken soon.
const shards = 4

// Start starts a cluster, which ends when the test does. It fails the test if it cannot.
func Start(t testing.TB) *Cluster {
	t.Helper()
	return StartWith(t, Config{})
}

// StartWith is Start with settings.
func StartWith(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c := &Cluster{t: t, dir: directory(t), log: logger(cfg.Log)}
	c.etcd = etcdtest.Start(t).Endpoints
	settings := configs.DefaultScheduler()
	settings.Node, settings.DataDir = "node", filepath.Join(c.dir, "node")
	settings.Listen, settings.PeerListen = "127.0.0.1:0", "127.0.0.1:0"
	settings.Insecure, settings.Shards, settings.Access = true, shards, string(access.Open)
	settings.Etcd.Endpoints, settings.Etcd.Given = c.etcd, true
	if err := settings.Validate(); err != nil {
		t.Fatalf("carillontest: settings of the node: %v", err)
	}
	var err error
	if c.node, err = app.Open(t.Context(), settings, app.Build{Version: "test"}, c.log.Named("node")); err != nil {
		t.Fatalf("carillontest: start a node: %v", err)
	}
	c.run("node", c.node.Run)
	if c.client, err = client.New(client.Config{Server: c.node.APIURL(), By: "carillontest"}); err != nil {
		t.Fatalf("carillontest: %v", err)
	}
	t.Cleanup(c.client.Close)
	return c
}

// directory makes one whose name is short: it has sockets, whose paths may not be long.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carillon")
	if err != nil {
		t.Fatalf("carillontest: directory for data: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("carillontest: remove the data: %v", err)
		}
	})
	return dir
}

func logger(w io.Writer) *zap.Logger {
	if w == nil {
		return zap.NewNop()
	}
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(w), zap.WarnLevel))
}

// run runs a part of the cluster until the test ends, and returns once it has started.
func (c *Cluster) run(name string, part func(ctx context.Context, started func()) error) {
	c.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		err := part(ctx, sync.OnceFunc(func() { close(started) }))
		if ctx.Err() == nil {
			c.mu.Lock()
			c.failed = errors.Join(c.failed, fmt.Errorf("%s has ended before the test: %w", name, cmp.Or(err, errEnded)))
			c.mu.Unlock()
		}
		ended <- err
	}()
	end := func() {
		stop()
		if err := <-ended; err != nil {
			c.t.Errorf("carillontest: %s: %v", name, err)
		}
	}
	select {
	case <-started:
		c.t.Cleanup(end)
	case err := <-ended:
		stop()
		c.t.Fatalf("carillontest: %s has ended: %v", name, err)
	case <-c.t.Context().Done():
		end()
		c.t.Fatalf("carillontest: %s has not started by the end of the test", name)
	}
}

// errEnded is why a part has ended that says nothing of it.
var errEnded = errors.New("nothing went wrong")

// Client is a client of the node's API. Whoever asks may do everything.
func (c *Cluster) Client() *client.Client { return c.client }

// Endpoints are those of the etcd, for package client/overetcd. Everything in it has the
// prefix that is the default there.
func (c *Cluster) Endpoints() []string { return c.etcd }

// poll is how often is asked for what is awaited.
const poll = 20 * time.Millisecond

// until asks until what is asked for is so, or the test ends. Ask returns what is missing.
func (c *Cluster) until(ask func(ctx context.Context) (missing string)) {
	c.t.Helper()
	for {
		missing := ask(c.t.Context())
		if missing == "" {
			return
		}
		c.mu.Lock()
		failed := c.failed
		c.mu.Unlock()
		if failed != nil {
			c.t.Fatalf("carillontest: %s: %v", missing, failed)
		}
		select {
		case <-time.After(poll):
		case <-c.t.Context().Done():
			c.t.Fatalf("carillontest: the test has ended, and still: %s", missing)
		}
	}
}

// Run starts a job, with parameters, and returns the run once it has ended, however that
// was.
func (c *Cluster) Run(key job.Key, params map[string]string) job.Run {
	c.t.Helper()
	var started api.Started
	c.until(func(ctx context.Context) string {
		var err error
		if started, err = c.client.Jobs.Start(ctx, key, api.StartRequest{Params: params}); errors.Is(err, job.ErrUnavailable) {
			return fmt.Sprintf("job %s is not started: %v", key, err)
		} else if err != nil {
			c.t.Fatalf("carillontest: start job %s: %v", key, err)
		}
		return ""
	})
	return c.Ended(started.RunID)
}

// Ended returns a run once it has ended.
func (c *Cluster) Ended(id job.RunID) job.Run {
	c.t.Helper()
	var run job.Run
	c.until(func(ctx context.Context) string {
		var err error
		run, err = c.client.Runs.Get(ctx, id)
		switch {
		case err != nil:
			return fmt.Sprintf("run %s: %v", id, err)
		case !run.State.Final():
			return fmt.Sprintf("run %s is %s: %s", id, run.State, strings.TrimSpace(run.Reason))
		}
		return ""
	})
	return run
}
