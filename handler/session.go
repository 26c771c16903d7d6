package handler

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// session is one connection to a minion.
type session struct {
	w    *Worker
	conn net.Conn

	out sync.Mutex // one line at a time

	mu sync.Mutex
	// mu guards calls: those that run, by their tasks; and shares, requests that wait for
	// their answers, by their ids. gone: no answer comes any more.
	calls  map[string]context.CancelCauseFunc
	shares map[string]chan shared.Answer
	last   int
	gone   bool
	wg     sync.WaitGroup
}

func newSession(w *Worker, conn net.Conn) *session {
	return &session{w: w, conn: conn, calls: map[string]context.CancelCauseFunc{}, shares: map[string]chan shared.Answer{}}
}

// run does what comes until the connection or ctx ends, and all calls have.
func (s *session) run(ctx context.Context) error {
	defer s.conn.Close()
	if err := s.send(&protocol.Line{Type: protocol.Hello, Protocol: protocol.Version, Name: s.w.cfg.Name, Handlers: s.w.offer}); err != nil {
		return err
	}
	// Calls outlive ctx by the grace.
	calling, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(ErrStopping)
	received := make(chan struct{})
	var lost error
	go func() { defer close(received); lost = s.receive(calling) }()
	select {
	case <-received: // the minion has gone
		stop(ErrStopping)
		s.wg.Wait()
		return lost
	case <-ctx.Done():
	}
	_ = s.send(&protocol.Line{Type: protocol.Bye}) // the results tell whether it is heard
	stop(ErrStopping)
	ended := make(chan struct{})
	go func() { defer close(ended); s.wg.Wait() }()
	select {
	case <-ended:
	case <-time.After(s.w.cfg.Grace):
	}
	_ = s.conn.Close()
	<-received // it was told to end, and that is why it did
	return nil
}

func (s *session) send(l *protocol.Line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	s.out.Lock()
	defer s.out.Unlock()
	if _, err := s.conn.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("the minion does not hear: %w", err)
	}
	return nil
}

func (s *session) receive(ctx context.Context) error {
	defer s.unanswered()
	lines := bufio.NewScanner(s.conn)
	lines.Buffer(nil, protocol.MaxLine)
	for lines.Scan() {
		var l protocol.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("a line of the minion cannot be read: %w", err)
		}
		switch l.Type {
		case protocol.Welcome:
			s.w.cfg.Log.Info("connected", "minion", l.Minion, "socket", s.w.cfg.Socket)
			for _, warning := range l.Warnings {
				s.w.cfg.Log.Warn(warning)
			}
		case protocol.Refused:
			return &RefusedError{l.Reason}
		case protocol.Task:
			s.begin(ctx, &l)
		case protocol.Shared:
			s.answered(&l)
		case protocol.Cancel:
			s.mu.Lock()
			if end := s.calls[l.Task]; end != nil {
				end(causes()[l.Cause])
			}
			s.mu.Unlock()
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the minion has closed the connection")
}

func causes() map[string]error {
	return map[string]error{protocol.Cancelled: ErrCancelled, protocol.Timeout: ErrTimeout, protocol.Stopping: ErrStopping}
}

// begin calls a handler for a task.
func (s *session) begin(ctx context.Context, l *protocol.Line) {
	c := &Call{
		Handler: l.Handler, RunID: job.RunID(l.RunID), Attempt: l.Attempt, ScheduledAt: l.ScheduledAt, Deadline: l.Deadline,
		Queue: l.Queue, Item: l.Item, Args: l.Args, Env: l.Env, Input: l.Input, link: &lineLink{s, l.Task}, checkpoint: l.Checkpoint,
	}
	// What a minion writes can be read; what cannot is zero.
	c.FireID, _ = job.ParseFireID(l.FireID)
	c.Token, _ = job.ParseToken(l.Token)
	c.Job, _ = job.ParseKey(l.Job)
	c.Log = slog.New(slog.NewTextHandler(c, nil))
	ctx, end := context.WithCancelCause(ctx)
	s.mu.Lock()
	s.calls[l.Task] = end
	s.mu.Unlock()
	s.wg.Go(func() {
		defer end(nil)
		err := s.w.Call(ctx, c)
		s.mu.Lock()
		delete(s.calls, l.Task)
		s.mu.Unlock()
		if p, ok := errors.AsType[*PanicError](err); ok {
			_, _ = c.Write(append([]byte(p.Error()+"\n"), p.Stack...)) // as far as it goes
		}
		_ = s.send(ending(ctx, l.Task, err)) // a minion that has gone knows
	})
}

// ending is the line that tells how a call has ended.
func ending(ctx context.Context, task string, err error) *protocol.Line {
	l := &protocol.Line{Type: protocol.Done, Task: task, Result: protocol.OK}
	if err == nil {
		return l
	}
	l.Result, l.Reason = protocol.Failed, strings.ToValidUTF8(err.Error(), "\uFFFD")
	var permanent *PermanentError
	var snooze *SnoozeError
	switch {
	case errors.As(err, &snooze):
		l.Result, l.After = protocol.Snooze, snooze.After.Seconds()
	case errors.Is(context.Cause(ctx), ErrStopping):
		l.Result = protocol.Interrupted
	case errors.As(err, &permanent):
		l.Result = protocol.Permanent
	}
	return l
}

// lineLink tells the minion what a call has to say.
type lineLink struct {
	s    *session
	task string
}

func (k *lineLink) progress(p job.Progress) error {
	return k.s.send(&protocol.Line{Type: protocol.Progress, Task: k.task, Percent: p.Percent, Text: p.Text})
}

func (k *lineLink) checkpoint(text json.RawMessage) error {
	return k.s.send(&protocol.Line{Type: protocol.Checkpoint, Task: k.task, Checkpoint: text})
}

// outputMost is how much output goes into one line.
const outputMost = 32 << 10

func (k *lineLink) output(p []byte) error {
	for text := strings.ToValidUTF8(string(p), "\uFFFD"); len(text) > 0; {
		n := min(len(text), outputMost)
		for n < len(text) && text[n]&0xC0 == 0x80 { // no character is cut in two
			n++
		}
		if err := k.s.send(&protocol.Line{Type: protocol.Output, Task: k.task, Data: text[:n]}); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// answered hands an answer to the call that waits for it.
func (s *session) answered(l *protocol.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.shares[l.ID]; wait != nil && l.Answer != nil {
		delete(s.shares, l.ID)
		wait <- *l.Answer // it has one place
	}
}

// unanswered tells calls that no answer comes any more.
func (s *session) unanswered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	for id, wait := range s.shares {
		delete(s.shares, id)
		close(wait)
	}
}

// share asks the minion for what tasks share.
func (k *lineLink) share(ctx context.Context, r shared.Request) (shared.Answer, error) {
	s, wait := k.s, make(chan shared.Answer, 1)
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return shared.Answer{}, fmt.Errorf("%w: the minion has gone", shared.ErrUnavailable)
	}
	s.last++
	id := strconv.Itoa(s.last)
	s.shares[id] = wait
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.shares, id)
		s.mu.Unlock()
	}()
	if err := s.send(&protocol.Line{Type: protocol.Share, Task: k.task, ID: id, Request: &r}); err != nil {
		return shared.Answer{}, fmt.Errorf("%w: %w", shared.ErrUnavailable, err)
	}
	select {
	case a, ok := <-wait:
		if !ok {
			return a, fmt.Errorf("%w: the minion has gone", shared.ErrUnsure)
		}
		return a, nil
	case <-ctx.Done():
		return shared.Answer{}, context.Cause(ctx)
	}
}
