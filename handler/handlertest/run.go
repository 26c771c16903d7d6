package handlertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/handler/shared"
)

// Task is what a handler gets. Zero values are filled in.
type Task struct {
	// Input is encoded as JSON; a json.RawMessage is sent as it is. Nil: none comes.
	Input any
	Args  []string
	Env   map[string]string
	// Attempt is 1 unless it is given.
	Attempt int
	// Queue and Item: without them the task is the item "item-1" of the queue "test".
	Queue, Item string
	// NoItem: the task is of a job, and of no queue.
	NoItem bool
	// Checkpoint is what an attempt before has left, encoded as Input. Nil: none has.
	Checkpoint any
	// Shared is what the tasks of the run share; nil: nothing yet. Watches are answered at
	// once, and barriers are open, or broken where Broken says why.
	Shared *shared.Values
	Broken map[string]string
	// CancelAfter, unless 0, has the task cancelled so long after its start, with Cause
	// (protocol.Cancelled unless it is given).
	CancelAfter time.Duration
	Cause       string
	// Timeout is how long its end is awaited. Zero: 30 s.
	Timeout time.Duration

	// stray has an answer to a request that there is not come before each answer.
	stray bool
}

// Outcome is what became of a task.
type Outcome struct {
	// Result is one of package protocol, Reason why.
	Result, Reason string
	// After is for how long a snoozed item is to be left alone.
	After  time.Duration
	Output string
	// Checkpoint is the last one; empty: none was left.
	Checkpoint json.RawMessage
	// Progress are all that were told.
	Progress []protocol.Line
	// Barriers are those that it has come to.
	Barriers []string
}

// Run runs w for one task of a handler, over a socket, and returns what became of it.
func Run(t testing.TB, w func(socket string) *handler.Worker, name string, task Task) Outcome {
	t.Helper()
	m := Listen(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w(m.Socket).Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return m.Do(name, task)
}

// Minion is the minion's side of a socket. Use Listen.
type Minion struct {
	// Socket is where handlers connect.
	Socket string

	t     testing.TB
	conns chan *Conn

	mu sync.Mutex
	// mu guards last: the connection that tasks go to.
	last *Conn
}

// patience bounds waits that have no time of their own.
const patience = 30 * time.Second

// Listen opens a socket until the test ends.
func Listen(t testing.TB) *Minion {
	t.Helper()
	m := &Minion{Socket: filepath.Join(t.TempDir(), "h.sock"), t: t, conns: make(chan *Conn, 16)}
	l, err := net.Listen("unix", m.Socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			wg.Go(func() {
				if c, err := meet(nc); err == nil {
					m.conns <- c
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return m
}

// Connected waits for a process that has said hello, and welcomes it.
func (m *Minion) Connected() *Conn {
	m.t.Helper()
	select {
	case c := <-m.conns:
		m.mu.Lock()
		m.last = c
		m.mu.Unlock()
		return c
	case <-time.After(patience):
		m.t.Fatal("no handler has connected")
		return nil
	}
}

// Do gives a task to the process that is connected, which it waits for, and returns what
// became of it.
func (m *Minion) Do(name string, task Task) Outcome {
	m.t.Helper()
	m.mu.Lock()
	c := m.last
	m.mu.Unlock()
	if c == nil {
		c = m.Connected()
	}
	out, err := c.Do(name, task)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// Conn is a process that serves handlers.
type Conn struct {
	// Hello is what it has said first.
	Hello protocol.Line

	nc    net.Conn
	lines *json.Decoder
	next  int
}

// meet takes the hello of a process.
func meet(nc net.Conn) (*Conn, error) {
	c := &Conn{nc: nc, lines: json.NewDecoder(nc)}
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if err := c.lines.Decode(&c.Hello); err != nil {
		return nil, err
	}
	if c.Hello.Type != protocol.Hello || c.Hello.Protocol != protocol.Version {
		_ = c.Send(&protocol.Line{Type: protocol.Refused, Reason: "say hello, with protocol 1"})
		return nil, fmt.Errorf("hello is %+v", c.Hello)
	}
	return c, c.Send(&protocol.Line{Type: protocol.Welcome, Protocol: protocol.Version, Minion: "test"})
}

// Send sends a line.
func (c *Conn) Send(l *protocol.Line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err = c.nc.Write(append(text, '\n'))
	return err
}

// Receive returns the next line.
func (c *Conn) Receive(within time.Duration) (protocol.Line, error) {
	var l protocol.Line
	_ = c.nc.SetReadDeadline(time.Now().Add(within))
	return l, c.lines.Decode(&l)
}

func encoded(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}

// Do gives a task and returns what became of it.
func (c *Conn) Do(name string, task Task) (Outcome, error) {
	c.next++
	l := &protocol.Line{
		Type: protocol.Task, Task: fmt.Sprintf("t%d", c.next), Handler: name, Args: task.Args, Env: task.Env, Attempt: max(task.Attempt, 1),
		FireID: "00000000000000000000000000000000/0/manual", RunID: "test", Job: "default/queue.test", Token: "1.1", ScheduledAt: time.Now(), Deadline: time.Now().Add(time.Hour),
	}
	if !task.NoItem {
		l.Queue, l.Item = "test", "item-1"
		if task.Queue != "" {
			l.Queue = task.Queue
		}
		if task.Item != "" {
			l.Item = task.Item
		}
	}
	var err1, err2 error
	l.Input, err1 = encoded(task.Input)
	l.Checkpoint, err2 = encoded(task.Checkpoint)
	if err := errors.Join(err1, err2, c.Send(l)); err != nil {
		return Outcome{}, err
	}
	if task.CancelAfter > 0 {
		cause := task.Cause
		if cause == "" {
			cause = protocol.Cancelled
		}
		timer := time.AfterFunc(task.CancelAfter, func() { _ = c.Send(&protocol.Line{Type: protocol.Cancel, Task: l.Task, Cause: cause}) })
		defer timer.Stop()
	}
	var out Outcome
	var text strings.Builder
	within := task.Timeout
	if within == 0 {
		within = patience
	}
	for end := time.Now().Add(within); ; {
		got, err := c.Receive(time.Until(end))
		if err != nil {
			return out, fmt.Errorf("handler %s has not said done: %w", name, err)
		}
		if got.Task != l.Task {
			return out, fmt.Errorf("a line of type %s is of task %q, and the process has %q", got.Type, got.Task, l.Task)
		}
		switch got.Type {
		case protocol.Output:
			text.WriteString(got.Data)
		case protocol.Progress:
			out.Progress = append(out.Progress, got)
		case protocol.Checkpoint:
			out.Checkpoint = got.Checkpoint
		case protocol.Share:
			if err := c.share(&task, &out, &got); err != nil {
				return out, err
			}
		case protocol.Done:
			out.Result, out.Reason, out.Output = got.Result, got.Reason, text.String()
			out.After = time.Duration(got.After * float64(time.Second))
			return out, nil
		default:
			return out, fmt.Errorf("a line is of type %q, which handlers do not say", got.Type)
		}
	}
}

// share answers a request for what tasks share.
func (c *Conn) share(task *Task, out *Outcome, l *protocol.Line) error {
	if l.Request == nil || l.ID == "" {
		return fmt.Errorf("a line of type share has no request, or no id: %+v", l)
	}
	if task.Shared == nil {
		task.Shared = &shared.Values{}
	}
	a := shared.Answer{Code: shared.CodeOK}
	switch err := l.Request.Check(); {
	case err != nil:
		a = shared.Refusef("%v", err)
	case l.Request.Op != shared.OpBarrier:
		if a = task.Shared.Do(l.Request); a.Code == shared.CodeAgain {
			a.Code = shared.CodeTimeout
		}
	default:
		out.Barriers = append(out.Barriers, l.Request.Key)
		if why := task.Broken[l.Request.Key]; why != "" {
			a = shared.Answer{Code: shared.CodeBroken, Reason: why}
		}
	}
	if task.stray {
		stray := shared.Answer{Code: shared.CodeRefused, Reason: "it is of another request"}
		if err := c.Send(&protocol.Line{Type: protocol.Shared, Task: l.Task, ID: l.ID + "-other", Answer: &stray}); err != nil {
			return err
		}
	}
	return c.Send(&protocol.Line{Type: protocol.Shared, Task: l.Task, ID: l.ID, Answer: &a})
}
