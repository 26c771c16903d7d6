package handler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/job"
)

// EnvSocket is the variable that has the socket of the minion, where Config has none.
const EnvSocket = "CARILLON_HANDLERS"

// Config says where the minion is. The zero value goes by EnvSocket.
type Config struct {
	// Socket is the path that the minion was given by --handlers.
	Socket string
	// Name is what the minion calls this program. Empty: that of its file.
	Name string
	// Grace is how long calls may take to end once Run's context has. Zero: 10 s.
	Grace time.Duration
	// Log is told of connections. Nil: nobody is.
	Log *slog.Logger
}

// Func is a handler as middleware sees it.
type Func func(ctx context.Context, c *Call) error

// Middleware makes a handler of another one.
type Middleware func(next Func) Func

// Worker is a set of handlers, and the connection to the minion. Use New. All is to be
// added before Run.
type Worker struct {
	cfg   Config
	funcs map[string]Func
	offer []protocol.Offer
	use   []Middleware
	wrong []job.Problem
}

// New returns a Worker without handlers.
func New(cfg Config) *Worker {
	cfg.Socket = cmp.Or(cfg.Socket, os.Getenv(EnvSocket))
	cfg.Name = cmp.Or(cfg.Name, filepath.Base(os.Args[0]))
	cfg.Grace = cmp.Or(cfg.Grace, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{cfg: cfg, funcs: map[string]Func{}}
}

// Use has all calls go through middleware, the first one first.
func (w *Worker) Use(m ...Middleware) { w.use = append(w.use, m...) }

// Option is a setting of a handler.
type Option func(*protocol.Offer)

// OnQueue has the handler work on a queue, NAMESPACE/NAME, as `worker --queue` has a
// minion: places is how many items at once.
func OnQueue(queue string, places int) Option {
	return func(o *protocol.Offer) { o.Queue, o.Places = queue, places }
}

// Handle adds a handler. Its input is read as JSON into a T, strictly; the schema of T is
// told to the cluster, which refuses what does not keep to it. What is wrong is told by
// Run.
func Handle[T any](w *Worker, name string, fn func(ctx context.Context, c *Call, input T) error, options ...Option) {
	o := protocol.Offer{Name: name}
	for _, option := range options {
		option(&o)
	}
	var err error
	if o.Schema, err = SchemaOf[T](); err != nil {
		w.problem(name, err)
	}
	if reflect.TypeFor[T]() == reflect.TypeFor[json.RawMessage]() {
		o.Schema = nil
	}
	if err := job.CheckName(name); err != nil {
		w.problem(name, err)
	}
	if w.funcs[name] != nil {
		w.problem(name, errors.New("there are two of this name"))
	}
	w.offer = append(w.offer, o)
	w.funcs[name] = func(ctx context.Context, c *Call) error {
		var input T
		if err := decode(c.Input, &input); err != nil {
			return Permanent(fmt.Errorf("the input is not what handler %s takes: %w", name, err))
		}
		return fn(ctx, c, input)
	}
}

func (w *Worker) problem(name string, err error) {
	w.wrong = append(w.wrong, job.Problem{Path: "handler " + name, Message: err.Error()})
}

// decode reads one JSON value strictly. Nothing is the zero value.
func decode(text json.RawMessage, into any) error {
	if len(text) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the first value")
	}
	return nil
}

// Call calls a handler as a task would, through all middleware, and returns what becomes of
// it. It is for tests; see package handlertest.
func (w *Worker) Call(ctx context.Context, c *Call) (err error) {
	fn := w.funcs[c.Handler]
	if fn == nil {
		return Permanent(fmt.Errorf("there is no handler %q", c.Handler))
	}
	for _, m := range slices.Backward(w.use) {
		fn = m(fn)
	}
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn(ctx, c)
}

// Handlers are the names of the handlers that were added.
func (w *Worker) Handlers() []string { return slices.Sorted(maps.Keys(w.funcs)) }

// Problems are what is wrong with the handlers that were added; none: they can run.
func (w *Worker) Problems() []job.Problem {
	wrong := slices.Clone(w.wrong)
	if len(w.funcs) == 0 {
		wrong = append(wrong, job.Problem{Message: "there is no handler; add one with handler.Handle"})
	}
	return wrong
}

// The pauses before a connection is tried again.
const (
	retryLeast = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Run does what the minion brings until ctx ends. It returns nil then; an error tells what
// is wrong with the handlers or settings, or why the minion has refused them.
func (w *Worker) Run(ctx context.Context) error {
	wrong := w.Problems()
	if w.cfg.Socket == "" {
		wrong = append(wrong, job.Problem{Path: "socket", Message: "is not given; set Config.Socket or " + EnvSocket + " to what the minion was given by --handlers"})
	}
	if len(wrong) > 0 {
		return &job.InvalidError{Problems: wrong}
	}
	pause := retryLeast
	for ctx.Err() == nil {
		begun := time.Now()
		err := w.connect(ctx)
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			return err
		case ctx.Err() != nil:
			return nil
		case time.Since(begun) > retryMost:
			pause = retryLeast
		}
		w.cfg.Log.Warn("no connection to the minion; trying again", "socket", w.cfg.Socket, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, retryMost)
	}
	return nil
}

// RefusedError is a minion that does not take the handlers.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return "the minion refuses these handlers: " + e.Reason }

func (w *Worker) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: retryMost}).DialContext(ctx, "unix", w.cfg.Socket)
	if err != nil {
		return err
	}
	return newSession(w, conn).run(ctx)
}
