package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

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

	out capture
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

// masking has texts kept out of the output.
func (c *capture) masking(texts []string) {
	if len(texts) > 0 {
		c.mask = shim.NewMasker(texts)
	}
}

// Write adds to the task's output. What is more than its record can hold is
// counted only. It may be called by many goroutines.
func (c *Call) Write(p []byte) (int, error) { return c.out.Write(p) }

// capture keeps the head of what is written.
type capture struct {
	mu   sync.Mutex // guards all below
	head []byte
	n    int64
	mask *shim.Masker // nil: nothing is masked
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mask == nil {
		c.take(p)
	} else {
		c.take(c.mask.Mask(p))
	}
	return len(p), nil
}

// take takes what may be told. The caller holds mu.
func (c *capture) take(p []byte) {
	c.n += int64(len(p))
	if room := job.MaxOutputPart - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(room, len(p))]...)
	}
}

func (c *capture) output() job.Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mask != nil {
		c.take(c.mask.Rest())
	}
	return job.Output{Head: strings.ToValidUTF8(string(c.head), "\uFFFD"), Bytes: c.n, Truncated: c.n > int64(len(c.head))}
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
	// ctx ends when the minion stops.
	ctx   context.Context // the lifetime of what it runs
	stop  context.CancelFunc
	wg    sync.WaitGroup
	ended chan *job.Report
}

func newHandlers(b *base, t *tasks, r *reporting) *handlers {
	ctx, stop := context.WithCancel(context.Background())
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
		hs.wg.Go(func() {
			defer s.stop(nil)
			hs.ended <- hs.call(s.ctx, s.e.key, s.o, now)
		})
	}
}

// errCancelled is the cause with which a handler's context ends when its task is
// cancelled.
var errCancelled = errors.New("cancelled")

// call runs one task and returns its last report.
func (hs *handlers) call(ctx context.Context, key taskKey, o *job.Order, now time.Time) *job.Report {
	r := &job.Report{Task: key.id(hs.cfg.ID), Shard: o.Shard, Known: true, Spooled: true, State: job.StateSucceeded, StartedAt: now.UTC()}
	name := strings.TrimPrefix(o.Command[0], HandlerPrefix)
	c := &Call{
		FireID: o.Task.Fire, Token: o.Token, Job: o.Key, Attempt: o.Task.Attempt, Args: o.Command[1:], Env: o.Env, ScheduledAt: o.ScheduledAt,
	}
	c.out.masking(masked(o))
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
	r.EndedAt, r.Stdout = time.Now().UTC(), c.out.output()
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errCancelled):
		r.State, r.Reason = job.StateCancelled, "cancelled while it ran: "+err.Error()
	case errors.Is(err, context.DeadlineExceeded) && r.EndedAt.Sub(r.StartedAt) >= o.Timeout:
		r.State, r.Reason = job.StateTimedOut, fmt.Sprintf("exceeded its %s timeout and was killed", o.Timeout)
	case hs.ctx.Err() != nil:
		r.State, r.Reason = job.StateFailed, "ended because the minion stopped: "+err.Error()
	default:
		r.State, r.Reason = job.StateFailed, err.Error()
	}
	if texts := masked(o); len(texts) > 0 {
		m := shim.NewMasker(texts)
		r.Reason = string(m.Mask([]byte(r.Reason))) + string(m.Rest())
	}
	return r
}

// callByName calls a handler, and makes a panic an error: the other tasks of the
// process are not to die of it.
func (hs *handlers) callByName(ctx context.Context, name string, c *Call, timeout time.Duration) (err error) {
	h := hs.byName[name]
	if h == nil {
		known := slices.Sorted(maps.Keys(hs.byName))
		if len(known) == 0 {
			return fmt.Errorf("this minion has no Go handlers, so none that is called %q", name)
		}
		return fmt.Errorf("this minion has no Go handler %q; it has %s", name, strings.Join(known, ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			hs.log.Error("a Go handler panicked", zap.String("handler", name), zap.Any("panic", p), zap.Stack("stack"))
			err = fmt.Errorf("the handler panicked: %v", p)
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
	}
}

// handlerGrace is how long handlers may take to end when the minion stops; what
// does not end then is indeterminate for the next process.
const handlerGrace = 5 * time.Second

// end ends the handlers' tasks.
func (hs *handlers) end() {
	hs.stop()
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
