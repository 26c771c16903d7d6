package handlersock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// conn is a connected process.
type conn struct {
	s   *Server
	nc  net.Conn
	log *zap.Logger
	out sync.Mutex // one line at a time

	// offers and queues are of its hello, and do not change.
	offers map[string]protocol.Offer
	queues job.QueueOffers
	// gone is closed when nothing comes any more.
	gone chan struct{}

	mu sync.Mutex
	// mu guards what follows. leaving: it gets no more tasks, and ends with the last.
	tasks   map[string]*task
	last    int
	leaving bool
	// shares counts requests for shared state that are being answered.
	shares int
}

// task is one that the process has.
type task struct {
	call *worker.Call
	done chan error // has one place
	// ctx is the call's.
	ctx context.Context // the lifetime of what is asked for it
}

// last is how the task of a connection that has gone has ended.
func (t *task) last() error {
	select {
	case err := <-t.done:
		return err
	default:
		return worker.ErrGone
	}
}

// run serves what the process says until it has gone.
func (c *conn) run() {
	defer close(c.gone)
	lines := bufio.NewScanner(c.nc)
	lines.Buffer(nil, protocol.MaxLine)
	_ = c.nc.SetReadDeadline(time.Now().Add(HelloWait))
	for first := true; lines.Scan(); first = false {
		err := c.line(lines.Bytes(), first)
		if errors.Is(err, errBye) {
			return
		}
		if err != nil {
			c.log.Warn("a handler does not keep to the protocol, and was refused", zap.Error(err))
			_ = c.send(&protocol.Line{Type: protocol.Refused, Reason: err.Error()})
			return
		}
		_ = c.nc.SetReadDeadline(time.Time{})
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		_ = c.send(&protocol.Line{Type: protocol.Refused, Reason: fmt.Sprintf("a line has more than %d bytes", protocol.MaxLine)})
	}
}

// errBye ends a connection in good order.
var errBye = errors.New("bye")

func (c *conn) line(text []byte, first bool) error {
	var l protocol.Line
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("a line is no JSON object of the protocol: %w", err)
	}
	switch {
	case first && l.Type != protocol.Hello:
		return fmt.Errorf("the first line is of type %q; say hello", l.Type)
	case first:
		return c.hello(&l)
	case l.Type == protocol.Bye:
		c.s.leave(c)
		return c.closeIfIdle(true)
	}
	c.mu.Lock()
	t := c.tasks[l.Task]
	c.mu.Unlock()
	switch l.Type {
	case protocol.Progress:
		if l.Percent < 0 || l.Percent > 100 {
			return fmt.Errorf("progress of %d percent; say 0 to 100", l.Percent)
		}
		if t != nil {
			t.call.Progress(job.Progress{Percent: l.Percent, Text: agentpb.Cut(l.Text, job.MaxProgressText)})
		}
	case protocol.Output:
		if l.Stream < 0 || l.Stream > 2 {
			return fmt.Errorf("output on stream %d; say 1 or 2", l.Stream)
		}
		if t != nil {
			t.call.WriteStream(max(l.Stream, 1), []byte(l.Data))
		}
	case protocol.Checkpoint:
		if t != nil {
			if err := t.call.Checkpoint(string(l.Checkpoint)); err != nil {
				return err
			}
		}
	case protocol.Share:
		if l.Request == nil || l.ID == "" || len(l.ID) > job.MaxNameLen {
			return fmt.Errorf("a line of type share has to have a request, and an id of at most %d bytes", job.MaxNameLen)
		}
		return c.share(t, &l)
	case protocol.Done:
		err, known := resultOf(&l)
		if !known {
			return fmt.Errorf("result %q; say ok, failed, permanent, snooze or interrupted", l.Result)
		}
		if t != nil {
			t.done <- err
			c.mu.Lock()
			delete(c.tasks, l.Task)
			c.mu.Unlock()
		}
		return c.closeIfIdle(false)
	default:
		return fmt.Errorf("a line is of type %q, which handlers do not say", l.Type)
	}
	return nil
}

// share answers a request for what a task shares with others, in its time.
func (c *conn) share(t *task, l *protocol.Line) error {
	answer := func(a shared.Answer) {
		_ = c.send(&protocol.Line{Type: protocol.Shared, Task: l.Task, ID: l.ID, Answer: &a}) // else it is gone
	}
	if t == nil {
		answer(shared.Refusef("this connection has no task %.40q", l.Task))
		return nil
	}
	c.mu.Lock()
	full := c.shares >= protocol.MaxShares
	if !full {
		c.shares++
	}
	c.mu.Unlock()
	if full {
		answer(shared.Answer{Code: shared.CodeFull, Reason: fmt.Sprintf("the connection has %d requests open", protocol.MaxShares)})
		return nil
	}
	c.s.wg.Go(func() {
		ctx, stop := context.WithCancel(t.ctx)
		defer stop()
		go func() { // ends with the request
			select {
			case <-c.gone:
				stop()
			case <-ctx.Done():
			}
		}()
		answer(t.call.Share(ctx, *l.Request))
		c.mu.Lock()
		c.shares--
		c.mu.Unlock()
	})
	return nil
}

// hello takes the process's handlers, or tells all that is wrong with them.
func (c *conn) hello(l *protocol.Line) error {
	if l.Protocol != protocol.Version {
		return fmt.Errorf("the protocol is %d; this minion speaks %d", l.Protocol, protocol.Version)
	}
	if n := len(l.Handlers); n == 0 || n > MaxHandlers {
		return fmt.Errorf("there are %d handlers; say 1 to %d", n, MaxHandlers)
	}
	c.offers, c.queues = map[string]protocol.Offer{}, job.QueueOffers{}
	var wrong []error
	var warnings []string
	for _, o := range l.Handlers {
		if err := job.CheckName(o.Name); err != nil {
			wrong = append(wrong, fmt.Errorf("name: %w", err))
		}
		if _, twice := c.offers[o.Name]; twice {
			wrong = append(wrong, fmt.Errorf("there are two handlers %q", o.Name))
		}
		c.offers[o.Name] = o
		if len(o.Schema) > agentpb.MaxFact {
			warnings = append(warnings, fmt.Sprintf("the schema of handler %s has %d bytes, and is not told to the cluster, as at most %d can be: put it into payloadSchema of the queue", o.Name, len(o.Schema), agentpb.MaxFact))
		}
		if o.Queue == "" {
			continue
		}
		places := max(o.Places, 1)
		offers, err := job.ParseQueueOffers(o.Queue + ":" + strconv.Itoa(places))
		if err != nil {
			wrong = append(wrong, err)
		}
		for k, n := range offers {
			c.queues[k] += n
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	c.log = c.log.With(zap.String("program", agentpb.Cut(l.Name, job.MaxNameLen)))
	if err := c.send(&protocol.Line{Type: protocol.Welcome, Protocol: protocol.Version, Minion: string(c.s.cfg.Minion), Warnings: warnings}); err != nil {
		return errBye
	}
	c.log.Info("a process serves handlers", zap.Int("handlers", len(c.offers)))
	c.s.join(c)
	return nil
}

// resultOf is what a line says of the end of a task; false: it says nothing known.
func resultOf(l *protocol.Line) (error, bool) {
	reason := l.Reason
	if reason == "" {
		reason = "the handler has not said why"
	}
	err := errors.New(agentpb.Cut(reason, agentpb.MaxReason))
	switch l.Result {
	case protocol.OK:
		return nil, true
	case protocol.Failed:
		return err, true
	case protocol.Permanent:
		return handler.Permanent(err), true
	case protocol.Snooze:
		after := time.Duration(min(max(l.After, 0), job.MaxSnooze.Seconds()) * float64(time.Second))
		return handler.Snooze(after), true
	case protocol.Interrupted:
		return fmt.Errorf("%w: %w", handler.ErrStopping, err), true
	}
	return nil, false
}

// closeIfIdle ends a connection that is leaving once it has no tasks; with leave it leaves
// from now on.
func (c *conn) closeIfIdle(leave bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving = c.leaving || leave; c.leaving && len(c.tasks) == 0 {
		_ = c.nc.Close()
		return errBye
	}
	return nil
}

func (c *conn) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tasks)
}

func (c *conn) send(l *protocol.Line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	c.out.Lock()
	defer c.out.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(WriteTimeout))
	if _, err := c.nc.Write(append(text, '\n')); err != nil {
		_ = c.nc.Close() // half a line may have gone out
		return err
	}
	return nil
}

// do has the process do a task (S2).
func (c *conn) do(ctx context.Context, name string, call *worker.Call) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	t := &task{call: call, done: make(chan error, 1), ctx: ctx}
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		return worker.ErrUnserved
	}
	c.last++
	id := strconv.Itoa(c.last)
	c.tasks[id] = t
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.tasks, id)
		c.mu.Unlock()
		_ = c.closeIfIdle(false) // its reader sees it
	}()
	if err := c.send(taskLine(id, name, call)); err != nil {
		return worker.ErrGone
	}
	select {
	case err := <-t.done:
		return err
	case <-c.gone:
		return t.last()
	case <-ctx.Done():
	}
	cause := protocol.Stopping
	switch err := context.Cause(ctx); {
	case errors.Is(err, handler.ErrCancelled):
		cause = protocol.Cancelled
	case errors.Is(err, context.DeadlineExceeded):
		cause = protocol.Timeout
	}
	_ = c.send(&protocol.Line{Type: protocol.Cancel, Task: id, Cause: cause}) // else it is gone
	select {
	case err := <-t.done:
		if cause == protocol.Timeout && err != nil {
			return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		return err
	case <-c.gone:
		return t.last()
	case <-time.After(EndWait):
	}
	if cause == protocol.Stopping {
		return worker.ErrGone // it may go on
	}
	return ctx.Err()
}

// taskLine is the line that gives a task.
func taskLine(id, name string, call *worker.Call) *protocol.Line {
	l := &protocol.Line{
		Type: protocol.Task, Task: id, Handler: name, Input: inputOf(call), Args: call.Args, Env: call.Env,
		FireID: call.FireID.String(), RunID: string(call.RunID), Job: call.Job.String(), Token: call.Token.String(), Attempt: call.Attempt,
		ScheduledAt: call.ScheduledAt, Deadline: call.Deadline,
	}
	if it, ok := call.Item(); ok {
		l.Queue, l.Item, l.Token = it.Queue, it.ID, it.Token.String()
		if text := call.Env[job.EnvCheckpoint]; json.Valid([]byte(text)) {
			l.Checkpoint = json.RawMessage(text)
		}
	}
	return l
}
