// Command queuepeer runs a task queue of others with tasks that do nothing, and prints as
// JSON how many go through it a second, and its version: asynq on Redis, or river on
// PostgreSQL. It is a module of its own, so that nothing of Carillon depends on them.
//
//	queuepeer asynq ADDRESS TASKS WORKERS
//	queuepeer river URL TASKS WORKERS
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

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
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
		fmt.Fprintln(os.Stderr, "queuepeer:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, args []string) (r result, err error) {
	if len(args) != 4 {
		return r, errors.New("usage: queuepeer asynq|river ADDRESS TASKS WORKERS")
	}
	tasks, err := strconv.Atoi(args[2])
	if err != nil {
		return r, err
	}
	workers, err := strconv.Atoi(args[3])
	if err != nil {
		return r, err
	}
	switch args[0] {
	case "asynq":
		r.PerSecond, err = throughAsynq(ctx, args[1], tasks, workers)
		r.Version = version("github.com/hibiken/asynq")
	case "river":
		r.PerSecond, err = throughRiver(ctx, args[1], tasks, workers)
		r.Version = version("github.com/riverqueue/river")
	default:
		err = fmt.Errorf("there is no peer %q", args[0])
	}
	return r, err
}

// putters put at the same time, as they do here.
const putters = 4

// settled waits until so many tasks are done. Settled says whether the store has forgotten
// them all.
func settled(ctx context.Context, done *atomic.Int64, tasks int, empty func() (bool, error)) error {
	for {
		if done.Load() >= int64(tasks) {
			is, err := empty()
			if is || err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func throughAsynq(ctx context.Context, address string, tasks, workers int) (float64, error) {
	const kind, queue = "no-op", "default"
	redis := asynq.RedisClientOpt{Addr: address}
	var done atomic.Int64
	server := asynq.NewServer(redis, asynq.Config{Concurrency: workers, LogLevel: asynq.FatalLevel, TaskCheckInterval: 50 * time.Millisecond})
	mux := asynq.NewServeMux()
	mux.HandleFunc(kind, func(context.Context, *asynq.Task) error {
		done.Add(1)
		return nil
	})
	if err := server.Start(mux); err != nil {
		return 0, err
	}
	defer server.Shutdown()
	client := asynq.NewClient(redis)
	defer client.Close()
	look := asynq.NewInspector(redis)
	defer look.Close()
	begun := time.Now()
	var putting errgroup.Group
	for p := range putters {
		putting.Go(func() error {
			for n := p; n < tasks; n += putters { // it has no call that puts several
				if _, err := client.EnqueueContext(ctx, asynq.NewTask(kind, []byte("no-op")), asynq.Queue(queue)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := putting.Wait(); err != nil {
		return 0, err
	}
	err := settled(ctx, &done, tasks, func() (bool, error) {
		q, err := look.GetQueueInfo(queue)
		if err != nil {
			return false, err
		}
		return q.Active+q.Pending+q.Retry == 0, nil
	})
	return float64(tasks) / time.Since(begun).Seconds(), err
}

// noOp is a task of river.
type noOp struct{}

// Kind implements river.JobArgs.
func (noOp) Kind() string { return "no-op" }

// noOpWorker does it.
type noOpWorker struct {
	river.WorkerDefaults[noOp]
	done *atomic.Int64
}

// Work implements river.Worker.
func (w *noOpWorker) Work(context.Context, *river.Job[noOp]) error {
	w.done.Add(1)
	return nil
}

func throughRiver(ctx context.Context, url string, tasks, workers int) (float64, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return 0, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return 0, err
	}
	var done atomic.Int64
	known := river.NewWorkers()
	river.AddWorker(known, &noOpWorker{done: &done})
	client, err := river.NewClient(driver, &river.Config{Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}, Workers: known})
	if err != nil {
		return 0, err
	}
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	defer client.Stop(ctx)
	begun := time.Now()
	const batch = 50
	var putting errgroup.Group
	for p := range putters {
		putting.Go(func() error {
			for n := p * batch; n < tasks; n += putters * batch {
				params := make([]river.InsertManyParams, min(batch, tasks-n))
				for i := range params {
					params[i].Args = noOp{}
				}
				if _, err := client.InsertManyFast(ctx, params); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := putting.Wait(); err != nil {
		return 0, err
	}
	err = settled(ctx, &done, tasks, func() (bool, error) {
		var open int
		err := pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE finalized_at IS NULL").Scan(&open)
		return open == 0, err
	})
	return float64(tasks) / time.Since(begun).Seconds(), err
}

// version is a peer's, as it was built in.
func version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "of an unknown version"
}
