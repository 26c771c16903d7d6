package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// attach connects to the shim and finds out what became of every open task.
func (m *Minion) attach(ctx context.Context) (*shim.Client, error) {
	client, hello, err := shim.Attach(ctx, shim.Config{
		Dir: m.cfg.path("shim"), Command: m.cfg.ShimCommand, Idle: m.cfg.ShimIdle,
	})
	if err != nil {
		return nil, err
	}
	m.log.Info("attached to the shim", zap.Int("pid", hello.PID),
		zap.Int("running", len(hello.Running)), zap.Int("ended", len(hello.Ended)))
	m.reconcile(client, &hello)
	return client, nil
}

// shimLoop takes the shim's news, and attaches again when it is lost.
func (m *Minion) shimLoop(ctx context.Context, client *shim.Client) {
	for pause := 50 * time.Millisecond; ; {
		if client != nil {
			pause = 50 * time.Millisecond
			m.follow(ctx, client)
			m.mu.Lock()
			m.shimLost = time.Now()
			m.mu.Unlock()
		}
		if ctx.Err() != nil {
			return
		}
		var err error
		if client, err = m.attach(ctx); err == nil {
			continue
		}
		m.log.Error("no shim", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// follow takes news until the connection ends.
func (m *Minion) follow(ctx context.Context, client *shim.Client) {
	stop := context.AfterFunc(ctx, func() { _ = client.Leave() })
	defer stop()
	for {
		e, err := client.Next()
		if err != nil {
			if ctx.Err() == nil {
				m.log.Error("shim is lost", zap.Error(err))
			}
			break
		}
		m.started(e.Started)
		if ended := m.tested(client, e.Ended); len(ended) > 0 {
			m.crash("exited")
			m.settle(m.reports(ended))
		}
	}
	m.mu.Lock()
	m.client = nil
	m.mu.Unlock()
	_ = client.Close()
}

// started notes commands that run.
func (m *Minion) started(list []shim.Started) {
	if len(list) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range list {
		key, err := parseTaskKey(s.Key)
		e := m.journal.live[key]
		if err != nil || e == nil || e.settling != nil || e.final != nil {
			continue
		}
		e.phase, e.startedAt, e.pid, e.ticks, e.seen = phaseRunning, s.At, s.PID, s.Ticks, true
		if e.order != nil && !e.order.ScheduledAt.IsZero() {
			m.metrics.startDelay.Observe(time.Unix(0, s.At).Sub(e.order.ScheduledAt).Seconds())
		}
		// Not synced by itself: without it the task is found in the shim, or
		// its outcome is not known, exactly as with it.
		if _, err := m.journal.add(&record{Kind: kindStarted, Task: &key, PID: s.PID, Ticks: s.Ticks, At: s.At}); err != nil {
			m.log.Warn("start not journaled", zap.Error(err))
		}
		m.out.tell(e)
	}
}

// reports makes final reports of exit records.
func (m *Minion) reports(list []shim.Ended) []*job.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*job.Report, 0, len(list))
	for i := range list {
		if strings.HasPrefix(list[i].Key, testPrefix) {
			continue // of an earlier process
		}
		key, err := parseTaskKey(list[i].Key)
		if err != nil {
			m.log.Warn("shim tells of an unknown key", zap.Error(err))
			continue
		}
		if e := m.journal.live[key]; e != nil && e.order != nil {
			if list[i].Late {
				out = append(out, m.returned(e, whyOver))
				continue
			}
			r := finalReport(key.id(m.cfg.ID), e.order, &list[i])
			if len(e.order.Steps) > 0 && list[i].Failure == "" {
				m.addSteps(r, key, e.order)
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

// reconcile compares the ledger with what a shim knows, right after attaching.
func (m *Minion) reconcile(client *shim.Client, hello *shim.Hello) {
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
	m.mu.Lock()
	m.held = nil
	for _, e := range m.journal.ordered() {
		key := e.key.String()
		s, runs := running[key]
		delete(running, key)
		switch {
		case e.settling != nil || e.final != nil || e.order == nil || ended[key]:
			// ended is settled below
		case e.stop != nil, e.orphaned:
			// a Go handler of this process runs it, or what is left of it is being ended
		case runs:
			m.count(e)
			e.phase, e.startedAt, e.pid, e.ticks, e.seen = phaseRunning, s.At, s.PID, s.Ticks, true
			if e.cancelled {
				kills = append(kills, shim.Kill{Key: key, Reason: e.cancelReason})
			}
		case e.phase == phaseRunning, e.recovered && m.journal.damaged,
			e.phase == phaseHanded && e.instance != hello.Instance && !m.neverStarted(e, noted):
			m.count(e)
			if m.mayHaveLeft(e) {
				m.orphan(e)
				continue
			}
			lost = append(lost, m.indeterminate(e, ""))
		case e.phase == phaseHanded:
			// The shim that it was handed to has not heard of it, and will not
			// any more, or has died before it came to it: it was not started.
			lost = m.retreat(e, lost)
		case e.phase == phaseAccepted && e.recovered:
			m.held = append(m.held, e)
		}
	}
	m.client, m.shimID = client, hello.Instance
	if m.clock.valid() {
		lost = append(lost, m.release()...)
	}
	m.mu.Unlock()

	for key := range running {
		m.log.Warn("shim runs a command that the journal does not know", zap.String("task", key))
	}
	if len(kills) > 0 {
		if err := client.Kill(kills); err != nil {
			m.log.Warn("kill was not passed on", zap.Error(err))
		}
	}
	m.settle(append(m.reports(hello.Ended), lost...))
	m.forgetStrangers(client, hello.Ended)
	m.sweepStarts()
	notify(m.startWake)
}

// forgetStrangers drops exit records of tasks that are settled already.
func (m *Minion) forgetStrangers(client *shim.Client, list []shim.Ended) {
	var keys []string
	m.mu.Lock()
	for i := range list {
		key, err := parseTaskKey(list[i].Key)
		if e := m.journal.live[key]; err != nil || e == nil || e.final != nil {
			keys = append(keys, list[i].Key)
		}
	}
	m.mu.Unlock()
	m.forget(client, keys)
}

// retreat brings a task that was handed over but not started back in line.
func (m *Minion) retreat(e *entry, lost []*job.Report) []*job.Report {
	m.unplace(e)
	e.phase = phaseAccepted
	switch {
	case e.cancelled:
		return append(lost, cancelled(e.key.id(m.cfg.ID), e.shard, m.clock.now(), "cancelled before it was started", e.cancelReason))
	case e.recovered:
		m.held = append(m.held, e)
	default:
		m.waiting.putBack(e)
	}
	return lost
}

// release lets tasks that an earlier process accepted go on, now that the
// servers' time is known. It returns reports of those that came too late.
func (m *Minion) release() []*job.Report {
	var late []*job.Report
	var early []*entry
	now := m.clock.now()
	for _, e := range m.held {
		if e.settling != nil || e.final != nil {
			continue
		}
		if why := m.overdue(e); why != "" {
			late = append(late, m.returned(e, why))
			continue
		}
		if o := e.order; !o.NotAfter.IsZero() && now.After(o.NotAfter) {
			late = append(late, &job.Report{
				Task: e.key.id(m.cfg.ID), Shard: e.shard, Known: true, State: job.StateExpired,
				Reason:  "accepted, but the minion was restarted before the start and the delivery deadline has passed",
				EndedAt: now, Spooled: true,
			})
			continue
		}
		e.recovered = false
		early = append(early, e)
	}
	m.held = nil
	m.waiting.putBack(early...)
	return late
}

// indeterminate says that nobody can tell what became of a task, and what was found
// of it.
func (m *Minion) indeterminate(e *entry, found string) *job.Report {
	reason := "the minion's supervising process died; the command may or may not have run to its end"
	switch {
	case e.recovered && m.journal.damaged:
		reason = "the minion's journal is damaged; the command may or may not have run"
	case e.boot != "" && e.boot != m.boot:
		reason = "the host was restarted before the command's end was recorded"
	case strings.HasPrefix(e.instance, HandlerPrefix):
		reason = "the minion's process ended while a Go handler ran the task, or was about to"
	case e.phase == phaseHanded:
		reason = "the minion's supervising process died; the command may or may not have been started"
	}
	return &job.Report{
		Task: e.key.id(m.cfg.ID), Shard: e.shard, Known: true, State: job.StateIndeterminate,
		Reason: reason + found, StartedAt: instant(e.startedAt), EndedAt: time.Now().UTC(), Spooled: true,
	}
}
