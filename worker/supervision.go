package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// supervision keeps the connection to the shim, and takes its news.
type supervision struct {
	*base
	tasks     *tasks
	reporting *reporting
	commands  *commands
	orphans   *orphans
	tests     *selfTests
}

// attach connects to the shim and finds out what became of every open task.
func (sv *supervision) attach(ctx context.Context) (*shim.Client, error) {
	client, hello, err := shim.Attach(ctx, shim.Config{
		Dir: sv.cfg.path("shim"), Command: sv.cfg.ShimCommand, Idle: sv.cfg.ShimIdle,
	})
	if err != nil {
		return nil, err
	}
	sv.log.Info("attached to the shim", zap.Int("pid", hello.PID),
		zap.Int("running", len(hello.Running)), zap.Int("ended", len(hello.Ended)))
	sv.commands.masks.Store(hello.Masks)
	sv.reconcile(client, &hello)
	return client, nil
}

// run takes the shim's news, and attaches again when it is lost.
func (sv *supervision) run(ctx context.Context, client *shim.Client) {
	retry := backoff.Backoff{Least: 50 * time.Millisecond, Most: 5 * time.Second}
	for {
		if client != nil {
			retry.Reset()
			sv.follow(ctx, client)
			sv.tasks.mu.Lock()
			sv.orphans.shimLost = time.Now()
			sv.tasks.mu.Unlock()
		}
		if ctx.Err() != nil {
			return
		}
		var err error
		if client, err = sv.attach(ctx); err == nil {
			continue
		}
		sv.log.Error("no shim", zap.Error(err))
		if !retry.Pause(ctx) {
			return
		}
	}
}

// follow takes news until the connection ends.
func (sv *supervision) follow(ctx context.Context, client *shim.Client) {
	stop := context.AfterFunc(ctx, func() { _ = client.Leave() })
	defer stop()
	for {
		e, err := client.Next()
		if err != nil {
			if ctx.Err() == nil {
				sv.log.Error("shim is lost", zap.Error(err))
			}
			break
		}
		sv.started(e.Started)
		if ended := sv.tests.tested(client, e.Ended); len(ended) > 0 {
			sv.crash("exited")
			sv.reporting.settle(sv.reports(ended))
		}
	}
	sv.tasks.mu.Lock()
	sv.tasks.client = nil
	sv.tasks.mu.Unlock()
	_ = client.Close()
}

// started notes commands that run.
func (sv *supervision) started(list []shim.Started) {
	if len(list) == 0 {
		return
	}
	sv.tasks.mu.Lock()
	defer sv.tasks.mu.Unlock()
	for _, s := range list {
		key, err := parseTaskKey(s.Key)
		e := sv.tasks.journal.live[key]
		if err != nil || e == nil || e.settling != nil || e.final != nil {
			continue
		}
		e.phase, e.startedAt, e.pid, e.ticks, e.seen = phaseRunning, s.At, s.PID, s.Ticks, true
		if e.order != nil && !e.order.ScheduledAt.IsZero() {
			sv.metrics.startDelay.Observe(time.Unix(0, s.At).Sub(e.order.ScheduledAt).Seconds())
		}
		// Not synced by itself: without it the task is found in the shim, or
		// its outcome is not known, exactly as with it.
		if _, err := sv.tasks.journal.add(&record{Kind: kindStarted, Task: &key, PID: s.PID, Ticks: s.Ticks, At: s.At}); err != nil {
			sv.log.Warn("start not journaled", zap.Error(err))
		}
		sv.tasks.out.tell(e)
	}
}

// reports makes final reports of exit records.
func (sv *supervision) reports(list []shim.Ended) []*job.Report {
	sv.tasks.mu.Lock()
	defer sv.tasks.mu.Unlock()
	out := make([]*job.Report, 0, len(list))
	for i := range list {
		if strings.HasPrefix(list[i].Key, testPrefix) {
			continue // of an earlier process
		}
		key, err := parseTaskKey(list[i].Key)
		if err != nil {
			sv.log.Warn("shim tells of an unknown key", zap.Error(err))
			continue
		}
		if e := sv.tasks.journal.live[key]; e != nil && e.order != nil {
			if list[i].Late {
				out = append(out, sv.tasks.returned(e, whyOver))
				continue
			}
			r := finalReport(key.id(sv.cfg.ID), e.order, &list[i])
			if len(e.order.Steps) > 0 && list[i].Failure == "" {
				sv.commands.addSteps(r, key, e.order)
			}
			out = append(out, r)
		}
	}
	return out
}

// finalReport says how a command ended.
func finalReport(id job.TaskID, o *job.Order, x *shim.Ended) *job.Report {
	r := &job.Report{
		Task: id, Shard: o.Shard, Known: true, Spooled: true,
		StartedAt: instant(x.StartedAt), EndedAt: instant(x.EndedAt),
		Stdout: output(x.Stdout), Stderr: output(x.Stderr),
	}
	if x.Failure != "" {
		r.State, r.Reason = job.StateRejected, x.Failure // nothing was started
		return r
	}
	r.Exit = &job.Exit{
		Code: x.Code, Signal: x.Signal,
		UserCPU: job.Duration(x.UserCPU), SystemCPU: job.Duration(x.SystemCPU), MaxRSS: x.MaxRSS,
	}
	switch {
	case x.Cause == shim.CauseTimeout:
		r.State, r.Reason = job.StateTimedOut, fmt.Sprintf("exceeded its %s timeout and was killed", o.Timeout)
	case x.Cause == shim.CauseKill:
		r.State, r.Reason = job.StateCancelled, "cancelled while it ran"
		if x.Reason != "" {
			r.Reason += ": " + x.Reason
		}
	case x.Cause == shim.CauseStop:
		r.State, r.Reason = job.StateFailed, "ended because the minion's supervising process was stopped"
	case x.OOM && (x.Signal != "" || x.Code != 0):
		r.State, r.Reason = job.StateFailed, fmt.Sprintf("ended by the kernel: it needed more memory than its limit of %s", o.Limits.Memory)
	case x.Signal != "":
		r.State, r.Reason = job.StateFailed, "ended by "+x.Signal
	case x.Code != 0:
		r.State, r.Reason = job.StateFailed, fmt.Sprintf("exit code %d", x.Code)
	default:
		r.State = job.StateSucceeded
	}
	return r
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// reconcile compares the task table with what a shim knows, right after attaching.
func (sv *supervision) reconcile(client *shim.Client, hello *shim.Hello) {
	running, ended := map[string]shim.Started{}, map[string]bool{}
	for _, s := range hello.Running {
		running[s.Key] = s
	}
	for _, x := range hello.Ended {
		ended[x.Key] = true
	}
	noted := map[string]shim.Starts{}
	var lost []*job.Report
	var kills []shim.Kill
	sv.tasks.mu.Lock()
	sv.tasks.places.held = nil
	for _, e := range sv.tasks.journal.ordered() {
		key := e.key.String()
		s, runs := running[key]
		delete(running, key)
		switch {
		case e.settling != nil || e.final != nil || e.order == nil || ended[key]:
			// ended is settled below
		case e.stop != nil, e.orphaned:
			// a Go handler of this process runs it, or what is left of it is being ended
		case runs:
			sv.tasks.places.count(e)
			e.phase, e.startedAt, e.pid, e.ticks, e.seen = phaseRunning, s.At, s.PID, s.Ticks, true
			if e.cancelled {
				kills = append(kills, shim.Kill{Key: key, Reason: e.cancelReason})
			}
		case e.phase == phaseRunning, e.recovered && sv.tasks.journal.doubts(e),
			e.phase == phaseHanded && e.instance != hello.Instance && !sv.neverStarted(e, noted):
			sv.tasks.places.count(e)
			if sv.orphans.mayHaveLeft(e) {
				sv.orphans.add(e)
				continue
			}
			lost = append(lost, sv.tasks.indeterminate(e, ""))
		case e.phase == phaseHanded:
			// The shim that it was handed to has not heard of it, and will not
			// any more, or has died before it came to it: it was not started.
			lost = sv.tasks.retreat(e, lost)
		case e.phase == phaseAccepted && e.recovered:
			sv.tasks.places.held = append(sv.tasks.places.held, e)
		}
	}
	sv.tasks.client, sv.tasks.shimID = client, hello.Instance
	if sv.tasks.clock.valid() {
		lost = append(lost, sv.tasks.release()...)
	}
	sv.tasks.mu.Unlock()

	for key := range running {
		sv.log.Warn("shim runs a command that the journal does not know", zap.String("task", key))
	}
	if len(kills) > 0 {
		if err := client.Kill(kills); err != nil {
			sv.log.Warn("kill was not passed on", zap.Error(err))
		}
	}
	sv.reporting.settle(append(sv.reports(hello.Ended), lost...))
	sv.forgetStrangers(client, hello.Ended)
	sv.sweepStarts()
	notify(sv.tasks.startWake)
}

// forgetStrangers drops exit records of tasks that are settled already.
func (sv *supervision) forgetStrangers(client *shim.Client, list []shim.Ended) {
	var keys []string
	sv.tasks.mu.Lock()
	for i := range list {
		key, err := parseTaskKey(list[i].Key)
		if e := sv.tasks.journal.live[key]; err != nil || e == nil || e.final != nil {
			keys = append(keys, list[i].Key)
		}
	}
	sv.tasks.mu.Unlock()
	sv.reporting.forget(client, keys)
}
