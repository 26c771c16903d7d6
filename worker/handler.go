package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/shim"
)

// HandlerPrefix begins the first word of a command that a Go handler runs: the
// command ["go:mail", "--all"] is run by the handler "mail" with one argument.
const HandlerPrefix = job.HandlerPrefix

// Handler runs a task inside of the minion's process. It should end when ctx
// does: then the task is cancelled, over its timeout, or the minion stops. An
// error means that the task has failed. It is called once for each task; if the
// process dies meanwhile, the task is recorded as indeterminate. It may be
// called by many goroutines at a time.
type Handler func(ctx context.Context, call *Call) error

// Call is one task of a Handler.
type Call struct {
	// FireID names the occurrence, and is the same for each attempt. Token is
	// the fencing token of its owner.
	FireID  job.FireID
	Token   job.Token
	Job     job.Key
	Attempt int
	// Args are the words behind the handler's name.
	Args []string
	// Env is the job's own environment; nothing of the process's is in it.
	Env map[string]string
	// ScheduledAt is the occurrence's instant.
	ScheduledAt time.Time

	// RunID is the run, Deadline when the context ends.
	RunID    job.RunID
	Deadline time.Time

	out *shim.Capture
	// tell has what is told of the task changed, and told.
	tell func(change func(*entry))
	// share asks for what tasks share.
	share func(context.Context, shared.Request) shared.Answer
}

// Share answers a request for what the task shares with others.
func (c *Call) Share(ctx context.Context, r shared.Request) shared.Answer {
	if err := r.Check(); err != nil {
		return shared.Refusef("%v", err)
	}
	if c.share == nil { // it is of a test
		return shared.Refusef("the call is of no minion")
	}
	return c.share(ctx, r)
}

// Progress tells how far the task is. What is told in the same second is left out but for
// the last.
func (c *Call) Progress(p job.Progress) {
	if c.tell != nil { // else it is of a test
		c.tell(func(e *entry) { e.progress = &p })
	}
}

// Checkpoint keeps a text, JSON, for the next attempt of the item.
func (c *Call) Checkpoint(text string) error {
	if _, ok := c.Item(); !ok {
		return errors.New("only items of queues have checkpoints")
	}
	if len(text) > job.MaxCheckpoint || !json.Valid([]byte(text)) {
		return fmt.Errorf("a checkpoint is JSON of at most %d bytes", job.MaxCheckpoint)
	}
	if c.tell != nil {
		c.tell(func(e *entry) { e.checkpoint = text })
	}
	return nil
}

// Item is the item of a queue that a call does.
type Item struct {
	Queue, ID string
	Payload   []byte
	// Token fences the item: it rises with each claim, and what must not happen twice
	// compares it.
	Token job.Token
	// Job and FireID are the job and the occurrence that the item does. Zero: of none.
	Job    job.Key
	FireID job.FireID
}

// Item returns the item that is to be done; false: the call is of a job.
func (c *Call) Item() (Item, bool) {
	id, ok := c.Env[job.EnvItem]
	if !ok || c.Env[job.EnvQueue] == "" {
		return Item{}, false
	}
	it := Item{Queue: c.Env[job.EnvQueue], ID: id, Payload: []byte(c.Env[job.EnvPayload])}
	// What a node writes can be read; what cannot is zero.
	it.Token, _ = job.ParseToken(c.Env[job.EnvItemToken])
	if key, err := job.ParseKey(c.Env[job.EnvItemJob]); err == nil {
		it.Job = key
		it.FireID, _ = job.ParseFireID(c.Env[job.EnvItemFire])
	}
	return it, true
}

// Write adds to the task's output, of which head and tail go into its record, and all of it,
// up to Config.OutputCap, to its file. It may be called by many goroutines.
func (c *Call) Write(p []byte) (int, error) {
	c.WriteStream(shim.Stdout, p)
	return len(p), nil
}

// WriteStream is Write on a stream: 1 or 2.
func (c *Call) WriteStream(stream int, p []byte) {
	if c.out != nil {
		c.out.Write(stream, p)
	}
}

// handled reports whether a Go handler runs the order.
func handled(o *job.Order) bool {
	return o != nil && len(o.Command) > 0 && strings.HasPrefix(o.Command[0], HandlerPrefix)
}

// handlers runs the tasks of Go handlers.
type handlers struct {
	*base
	tasks     *tasks
	reporting *reporting

	byName map[string]Handler
	// share answers for what tasks share.
	share func(context.Context, taskKey, shared.Request) shared.Answer
	// ctx ends when the minion stops.
	ctx   context.Context // the lifetime of what it runs
	stop  context.CancelCauseFunc
	wg    sync.WaitGroup
	ended chan *job.Report
	// open counts tasks whose ends are not durable yet.
	open atomic.Int64
}

func newHandlers(b *base, t *tasks, r *reporting) *handlers {
	ctx, stop := context.WithCancelCause(context.Background())
	return &handlers{base: b, tasks: t, reporting: r, byName: b.deps.Handlers, ctx: ctx, stop: stop, ended: make(chan *job.Report, settleChunk)}
}

// settleChunk bounds how many ends of tasks are made durable together.
const settleChunk = 256

// start starts tasks whose intents are durable. The intent names this process,
// so that a later one knows that it cannot know what came of them.
func (hs *handlers) start(chunk []*entry, orders []*job.Order) {
	hs.tasks.mu.Lock()
	now := time.Now()
	type started struct {
		e    *entry
		o    *job.Order
		ctx  context.Context
		stop context.CancelCauseFunc
	}
	var run []started
	for i, e := range chunk {
		if e.settling != nil || e.final != nil {
			continue
		}
		ctx, stop := context.WithCancelCause(hs.ctx)
		e.phase, e.startedAt, e.stop, e.found = phaseRunning, now.UnixNano(), stop, nil
		if !orders[i].ScheduledAt.IsZero() {
			hs.metrics.startDelay.Observe(now.Sub(orders[i].ScheduledAt).Seconds())
		}
		hs.tasks.out.tell(e)
		run = append(run, started{e, orders[i], ctx, stop})
	}
	hs.tasks.mu.Unlock()
	for _, s := range run {
		hs.open.Add(1)
		hs.wg.Go(func() {
			defer s.stop(nil)
			hs.ended <- hs.call(s.ctx, s.e, s.o, now)
		})
	}
}

// tellEvery is how often a task's progress is told at most.
const tellEvery = time.Second

// teller returns what changes and tells what is said of a task that runs.
func (hs *handlers) teller(e *entry) func(change func(*entry)) {
	now := func() { // the caller holds mu
		if e.final == nil && e.settling == nil {
			e.toldAt = time.Now()
			hs.tasks.out.tell(e)
		}
	}
	return func(change func(*entry)) {
		hs.tasks.mu.Lock()
		defer hs.tasks.mu.Unlock()
		change(e)
		wait := tellEvery - time.Since(e.toldAt)
		switch {
		case wait <= 0:
			now()
		case !e.telling:
			e.telling = true
			time.AfterFunc(wait, func() {
				hs.tasks.mu.Lock()
				defer hs.tasks.mu.Unlock()
				e.telling = false
				now()
			})
		}
	}
}

// The errors with which a Handler says that it could not be called, or that nobody knows
// what came of the call.
var (
	// ErrUnserved: nothing has happened, and the task is given back.
	ErrUnserved = errors.New("no process of this host serves the handler now")
	// ErrGone: the process that had the task has gone.
	ErrGone = errors.New("the process that served the handler has gone; the task may or may not have been done")
)

// unservedError is an ErrUnserved that says what there is instead.
type unservedError struct{ text string }

func (e *unservedError) Error() string        { return e.text }
func (e *unservedError) Is(target error) bool { return target == ErrUnserved }

// unservedFor is for how long an item is left alone that nobody here could do.
const unservedFor = 5 * time.Second

// call runs one task and returns its last report.
func (hs *handlers) call(ctx context.Context, e *entry, o *job.Order, now time.Time) *job.Report {
	r := &job.Report{Task: e.key.id(hs.cfg.ID), Shard: o.Shard, Known: true, Spooled: true, State: job.StateSucceeded, StartedAt: now.UTC()}
	name := strings.TrimPrefix(o.Command[0], HandlerPrefix)
	c := &Call{
		FireID: o.Task.Fire, Token: o.Token, Job: o.Key, Attempt: o.Task.Attempt, Args: o.Command[1:], Env: o.Env, ScheduledAt: o.ScheduledAt,
		RunID: o.RunID, Deadline: now.Add(o.Timeout),
		out: shim.NewCapture(hs.cfg.path("output", e.key.String()), hs.cfg.OutputCap, masked(o)), tell: hs.teller(e),
		share: func(ctx context.Context, r shared.Request) shared.Answer { return hs.share(ctx, e.key, r) },
	}
	if o.Limits != (job.Limits{}) {
		r.State, r.EndedAt = job.StateRejected, time.Now().UTC()
		r.Reason = "limits cannot be enforced on a Go handler, which runs inside of the minion's process"
		return r
	}
	if err := hs.admitHandler(o); err != nil {
		r.State, r.EndedAt, r.Reason = job.StateRejected, time.Now().UTC(), err.Error()
		return r
	}
	err := hs.callByName(ctx, name, c, o.Timeout)
	stdout, stderr := c.out.Close()
	r.EndedAt, r.Stdout, r.Stderr = time.Now().UTC(), output(stdout), output(stderr)
	hs.judge(ctx, r, o.Timeout, err)
	if r.State != job.StateSucceeded {
		hs.tasks.mu.Lock()
		r.Checkpoint = e.checkpoint
		hs.tasks.mu.Unlock()
	}
	if texts := masked(o); len(texts) > 0 {
		m := shim.NewMasker(texts)
		r.Reason = string(m.Mask([]byte(r.Reason))) + string(m.Rest())
	}
	return r
}

// judge writes into a report how a call has ended.
func (hs *handlers) judge(ctx context.Context, r *job.Report, timeout time.Duration, err error) {
	if err == nil {
		return
	}
	var permanent *handler.PermanentError
	var snooze *handler.SnoozeError
	r.State, r.Reason = job.StateFailed, err.Error()
	switch {
	case errors.Is(context.Cause(ctx), handler.ErrCancelled):
		r.State, r.Reason = job.StateCancelled, "cancelled while it ran: "+err.Error()
	case errors.Is(err, context.DeadlineExceeded) && r.EndedAt.Sub(r.StartedAt) >= timeout:
		r.State, r.Reason = job.StateTimedOut, fmt.Sprintf("exceeded its %s timeout and was killed", timeout)
	case errors.As(err, &snooze):
		r.Verdict, r.After = job.VerdictSnooze, job.Duration(max(0, min(snooze.After, job.MaxSnooze)))
	case errors.Is(err, ErrUnserved):
		r.Verdict, r.After = job.VerdictInterrupted, job.Duration(unservedFor)
	case errors.Is(err, ErrGone):
		r.State = job.StateIndeterminate
	case hs.ctx.Err() != nil:
		r.Verdict, r.Reason = job.VerdictInterrupted, "ended because the minion stopped: "+err.Error()
	case errors.Is(err, handler.ErrStopping):
		r.Verdict, r.Reason = job.VerdictInterrupted, "ended because its worker stopped: "+err.Error()
	case errors.As(err, &permanent):
		r.Verdict = job.VerdictPermanent
	}
}

// callByName calls a handler, and makes a panic an error: the other tasks of the
// process are not to die of it.
func (hs *handlers) callByName(ctx context.Context, name string, c *Call, timeout time.Duration) (err error) {
	h := hs.byName[name]
	if h == nil && hs.deps.Served != nil {
		h = hs.deps.Served(name)
	}
	if h == nil {
		known := slices.Sorted(maps.Keys(hs.byName))
		if len(known) == 0 {
			return &unservedError{fmt.Sprintf("this minion has no handlers, so none that is called %q", name)}
		}
		return &unservedError{fmt.Sprintf("this minion has no handler %q; it has %s", name, strings.Join(known, ", "))}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			hs.log.Error("a Go handler panicked", zap.String("handler", name), zap.Any("panic", p), zap.Stack("stack"))
			stack := debug.Stack()
			c.out.Write(shim.Stderr, fmt.Appendf(nil, "panic: %v\n%s", p, stack))
			err = &handler.PanicError{Value: p, Stack: stack}
		}
	}()
	return h(ctx, c)
}

// settle makes the ends of handlers' tasks durable, many at a time, until
// no more can come.
func (hs *handlers) settle() {
	for r := range hs.ended {
		batch := []*job.Report{r}
	more:
		for len(batch) < settleChunk {
			select {
			case r, ok := <-hs.ended:
				if !ok {
					break more
				}
				batch = append(batch, r)
			default:
				break more
			}
		}
		hs.reporting.settle(batch)
		hs.open.Add(-int64(len(batch)))
	}
}

// handlerGrace is how long handlers may take to end when the minion stops; what
// does not end then is indeterminate for the next process.
const handlerGrace = 5 * time.Second

// interrupt has the handlers stop: what they give back is told while there is a session.
func (hs *handlers) interrupt() { hs.stop(handler.ErrStopping) }

// end ends the handlers' tasks.
func (hs *handlers) end() {
	hs.interrupt()
	done := make(chan struct{})
	go func() {
		hs.wg.Wait()
		close(hs.ended)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(handlerGrace):
		hs.log.Warn("handlers go on, and their tasks will be indeterminate")
	}
}

// admitHandler reports why a Go handler may not run an order.
func (hs *handlers) admitHandler(o *job.Order) error {
	if hs.deps.Allow == nil {
		return nil
	}
	s := allow.Start{
		Subject: o.Subject, Author: o.Author,
		Handler: strings.TrimPrefix(o.Command[0], HandlerPrefix), Args: o.Command[1:], User: o.User, Own: o.User == "", Dir: o.WorkingDir, Env: o.Env, Secrets: secretNames(o),
	}
	_, err := hs.deps.Allow.Check(&s)
	return err
}
