// Command peer runs github.com/diagridio/go-etcd-cron, the engine of Dapr's
// scheduler, against an etcd, with triggers that do nothing, and prints how
// many it fires a second. It is a module of its own, so that nothing of Carillon
// depends on it.
//
//	peer ENDPOINT JOBS INSTANCES SECONDS
package main

import (
	"context"
	"fmt"
	"os"
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

func main() {
	rate, err := measure(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	fmt.Printf("%.1f\n", rate)
}

func measure(ctx context.Context, args []string) (float64, error) {
	if len(args) != 4 {
		return 0, fmt.Errorf("usage: peer ENDPOINT JOBS INSTANCES SECONDS")
	}
	var n [3]int
	for i := range n {
		v, err := strconv.Atoi(args[i+1])
		if err != nil {
			return 0, err
		}
		n[i] = v
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var fired atomic.Int64
	var crons []api.Interface
	for i := range n[1] {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{args[0]}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return 0, err
		}
		defer client.Close()
		c, err := cron.New(cron.Options{
			Log: zapr.NewLogger(zap.NewNop()), Client: client, Namespace: "peer", ID: strconv.Itoa(i),
			TriggerFn: func(context.Context, *api.TriggerRequest) *api.TriggerResponse {
				fired.Add(1)
				return &api.TriggerResponse{Result: api.TriggerResponseResult_SUCCESS}
			},
		})
		if err != nil {
			return 0, err
		}
		go func() {
			if err := c.Run(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "peer: instance", i, err)
			}
		}()
		crons = append(crons, c)
	}
	if err := addJobs(ctx, crons[0], n[0]); err != nil {
		return 0, err
	}
	// All jobs must have fired about once: what follows is the steady state.
	for begun := time.Now(); fired.Load() < int64(n[0]); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			break // it does not keep up: the window below says how far it comes
		}
	}
	from, begun := fired.Load(), time.Now()
	time.Sleep(time.Duration(n[2]) * time.Second)
	return float64(fired.Load()-from) / time.Since(begun).Seconds(), nil
}

// dueAfter is how long nothing is due: while jobs are added they must not fire.
const dueAfter = 20 * time.Second

// addJobs adds jobs that are due every second, from some time on.
func addJobs(ctx context.Context, c api.Interface, n int) error {
	const workers = 64
	every, due := "@every 1s", time.Now().Add(dueAfter).UTC().Format(time.RFC3339)
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
