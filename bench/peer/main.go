// Command peer runs github.com/diagridio/go-etcd-cron, the engine of Dapr's
// scheduler, against an etcd, with triggers that do nothing, and prints as JSON
// how many it fires a second, and its version. It is a module of its own, so that
// nothing of Carillon depends on it.
//
//	peer ENDPOINT JOBS INSTANCES WINDOW
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/diagridio/go-etcd-cron/api"
	"github.com/diagridio/go-etcd-cron/cron"
	"github.com/go-logr/zapr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// result is what is printed.
type result struct {
	Version   string
	PerSecond float64
}

func main() {
	r, err := measure(context.Background(), os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, args []string) (r result, err error) {
	if len(args) != 4 {
		return r, errors.New("usage: peer ENDPOINT JOBS INSTANCES WINDOW")
	}
	jobs, err := strconv.Atoi(args[1])
	if err != nil {
		return r, err
	}
	instances, err := strconv.Atoi(args[2])
	if err != nil {
		return r, err
	}
	window, err := time.ParseDuration(args[3])
	if err != nil {
		return r, err
	}
	if r.Version, err = version(); err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var fired atomic.Int64
	var crons []api.Interface
	failed := make(chan error, instances)
	for i := range instances {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{args[0]}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return r, err
		}
		defer client.Close()
		c, err := cron.New(cron.Options{
			Log: zapr.NewLogger(zap.NewNop()), Client: client, Namespace: "peer", ID: strconv.Itoa(i),
			TriggerFn: func(_ *api.TriggerRequest, done func(*api.TriggerResponse)) {
				fired.Add(1)
				done(&api.TriggerResponse{Result: api.TriggerResponseResult_SUCCESS})
			},
		})
		if err != nil {
			return r, err
		}
		go func() {
			if err := c.Run(ctx); ctx.Err() == nil {
				failed <- fmt.Errorf("instance %d has ended: %w", i, err)
			}
		}()
		crons = append(crons, c)
	}
	due := make(chan struct{})
	go func() {
		if err := addJobs(ctx, crons[0], jobs); err != nil {
			failed <- err
		}
		close(due)
	}()
	select {
	case err := <-failed:
		return r, err
	case <-due:
	}
	// All jobs must have fired about once: what follows is the steady state. If it
	// does not keep up, the window says how far it comes.
	for begun := time.Now(); fired.Load() < int64(jobs); {
		if time.Since(begun) > warmUp && fired.Load() > 0 {
			break
		}
		select {
		case err := <-failed:
			return r, err
		case <-time.After(50 * time.Millisecond):
		}
	}
	from, begun := fired.Load(), time.Now()
	select {
	case err := <-failed:
		return r, err
	case <-time.After(window):
	}
	r.PerSecond = float64(fired.Load()-from) / time.Since(begun).Seconds()
	return r, nil
}

// warmUp is how long all jobs may take to fire once, from when they are stored.
const warmUp = 20 * time.Second

// dueAfter is how long after it is stored a job is due: while jobs are added few
// fire.
func dueAfter(jobs int) time.Duration { return time.Second + time.Duration(jobs)*400*time.Microsecond }

// addJobs adds jobs that are due every second, from some time on.
func addJobs(ctx context.Context, c api.Interface, n int) error {
	const workers = 64
	every, due := "@every 1s", time.Now().Add(dueAfter(n)).UTC().Format(time.RFC3339)
	var g errgroup.Group
	var next atomic.Int64
	for range workers {
		g.Go(func() error {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := c.Add(ctx, fmt.Sprintf("job-%07d", i), &api.Job{Schedule: &every, DueTime: &due}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// version is the peer's, as it was built in.
func version() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/diagridio/go-etcd-cron" {
				return m.Version, nil
			}
		}
	}
	return "", errors.New("the build does not tell the version")
}
