package handlersock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/internal/peercred"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// The bounds of what processes may do (S5).
const (
	MaxConns    = 256
	MaxHandlers = 64
	// HelloWait is how long a connection may take to say hello, WriteTimeout to read a
	// line, EndWait a task to end that was told to.
	HelloWait    = 10 * time.Second
	WriteTimeout = 10 * time.Second
	EndWait      = 4 * time.Second

	// socketMode lets the owner and the group connect.
	socketMode = 0o660
)

// Config says where processes connect. Both must be set.
type Config struct {
	// Path is the socket's.
	Path   string
	Minion job.MinionID
}

// Deps is what a Server stands on. Both may be nil.
type Deps struct {
	Logger *zap.Logger
	// Changed is called when facts or offers have changed.
	Changed func()
}

// Server serves the socket. Use Listen.
type Server struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	l    net.Listener
	// group is that of the socket.
	group int

	mu sync.Mutex
	// mu guards conns: those that have said hello, and not bye.
	conns map[*conn]bool
	open  int // connections, whatever they have said
	wg    sync.WaitGroup
}

// Listen opens the socket. A socket that nobody serves any more is replaced.
func Listen(cfg Config, deps Deps) (*Server, error) {
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if deps.Changed == nil {
		deps.Changed = func() {}
	}
	if err := removeStale(cfg.Path); err != nil {
		return nil, fmt.Errorf("socket of handlers %s: %w", cfg.Path, err)
	}
	l, err := net.Listen("unix", cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("socket of handlers: %w", err)
	}
	s := &Server{cfg: cfg, deps: deps, log: deps.Logger.Named("handlers"), l: l, group: os.Getegid(), conns: map[*conn]bool{}}
	err = os.Chmod(cfg.Path, socketMode)
	st, err2 := os.Stat(cfg.Path)
	if err = errors.Join(err, err2); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket of handlers: %w", err)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.group = int(sys.Gid)
	}
	return s, nil
}

// removeStale removes a socket that nobody serves.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file already that is no socket; give another path")
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return errors.New("another process serves it; give each minion its own")
	}
	return os.Remove(path)
}

// Run serves until ctx ends, and all connections have.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.l.Close() })
	defer stop()
	s.log.Info("handlers connect to a socket", zap.String("path", s.cfg.Path))
	for {
		c, err := s.l.Accept()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.log.Warn("connection of a handler failed", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.mu.Lock()
		full := s.open >= MaxConns
		s.open++
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(ctx, c, full)
			s.mu.Lock()
			s.open--
			s.mu.Unlock()
		})
	}
	s.wg.Wait()
	return nil
}

// admit tells whose connection it is, or why it is not served (S1).
func (s *Server) admit(nc net.Conn) (string, error) {
	cred, err := peercred.Of(nc)
	if err != nil {
		return "", err
	}
	id := strconv.FormatUint(uint64(cred.Uid), 10)
	who := "uid " + id + ", process " + strconv.Itoa(int(cred.Pid))
	if cred.Uid == 0 || int(cred.Uid) == os.Geteuid() || int(cred.Gid) == s.group {
		return who, nil
	}
	if u, err := user.LookupId(id); err == nil {
		if groups, err := u.GroupIds(); err == nil && slices.Contains(groups, strconv.Itoa(s.group)) {
			return who, nil
		}
	}
	return who, fmt.Errorf("%s is neither root, nor the minion's account, nor in the group of the socket", who)
}

func (s *Server) serve(ctx context.Context, nc net.Conn, full bool) {
	defer nc.Close()
	c := &conn{s: s, nc: nc, tasks: map[string]*task{}, gone: make(chan struct{})}
	who, err := s.admit(nc)
	if err == nil && full {
		err = fmt.Errorf("there are %d connections already", MaxConns)
	}
	if err != nil {
		s.log.Warn("a process was refused that wants to be a handler", zap.String("who", who), zap.Error(err))
		_ = c.send(&protocol.Line{Type: protocol.Refused, Reason: err.Error()})
		return
	}
	c.log = s.log.With(zap.String("who", who))
	stop := context.AfterFunc(ctx, func() {
		// Tasks are told to stop by their own contexts; their results are awaited.
		time.AfterFunc(EndWait, func() { _ = nc.Close() })
		s.leave(c)
		_ = c.closeIfIdle(true) // the connection ends in any case
	})
	defer stop()
	c.run()
	s.leave(c)
}

// join makes a connection one that gets tasks.
func (s *Server) join(c *conn) {
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	s.deps.Changed()
}

// leave makes it one that gets none any more.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	was := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if was {
		s.deps.Changed()
	}
}

// Handler returns what does the tasks of a handler; nil: no process has it.
func (s *Server) Handler(name string) worker.Handler {
	if s.pick(name) == nil {
		return nil
	}
	return func(ctx context.Context, call *worker.Call) error {
		c := s.pick(name)
		if c == nil {
			return worker.ErrUnserved
		}
		return c.do(ctx, name, call)
	}
}

// pick returns the least busy connection that has a handler.
func (s *Server) pick(name string) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *conn
	least := 0
	for c := range s.conns {
		if _, ok := c.offers[name]; !ok {
			continue
		}
		if n := c.busy(); best == nil || n < least {
			best, least = c, n
		}
	}
	return best
}

// Offers are the queues that the connected processes work on.
func (s *Server) Offers() job.QueueOffers {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := job.QueueOffers{}
	for c := range s.conns {
		for k, n := range c.queues {
			out[k] = min(out[k]+n, job.MaxQueuePlaces)
		}
	}
	return out
}

// Facts tell which handlers there are, and what they take: a schema where it is short
// enough, and all processes that have the handler agree.
func (s *Server) Facts() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for c := range s.conns {
		for name, o := range c.offers {
			fact := job.FactHandler + name
			text := string(o.Schema)
			if len(text) > agentpb.MaxFact {
				text = ""
			}
			if other, ok := out[fact]; ok && other != text {
				text = ""
			}
			out[fact] = text
		}
	}
	return out
}

// Merged are offers of a minion with those of its processes.
func Merged(own, theirs job.QueueOffers) job.QueueOffers {
	out := maps.Clone(own)
	if out == nil {
		out = job.QueueOffers{}
	}
	for k, n := range theirs {
		out[k] = min(out[k]+n, job.MaxQueuePlaces)
	}
	return out
}

// inputOf is what a call gives the handler: an item's payload, or the first word behind the
// handler's name.
func inputOf(call *worker.Call) json.RawMessage {
	text := ""
	if it, ok := call.Item(); ok {
		text = string(it.Payload)
	} else if len(call.Args) > 0 {
		text = call.Args[0]
	}
	return job.HandlerInput(text)
}
