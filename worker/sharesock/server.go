package sharesock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/peercred"
)

// The bounds of what processes may do (T3).
const (
	MaxLine      = 32 << 10
	MaxConns     = 2048
	AccountConns = 1024
	WriteTimeout = 10 * time.Second
	// TokenWait is how long a connection may take to show a token. Until it has, it is one
	// of MaxStrangers, and AccountStrangers of its account's.
	TokenWait        = 10 * time.Second
	MaxStrangers     = 512
	AccountStrangers = 128

	// pathMost is how long the path of a socket may be on Linux.
	pathMost = 107
)

// Config says where the socket is.
type Config struct {
	// Path is the socket's, Key that of the file with the key of tokens. The directory is
	// the minion's alone to write.
	Path, Key string
	// tokenWait is TokenWait, but in tests.
	tokenWait time.Duration
}

// Deps is what a Server stands on. Ask must be set.
type Deps struct {
	Logger *zap.Logger
	// Ask answers a request of a task. It may take its time, until ctx ends.
	Ask func(ctx context.Context, task string, r shared.Request) shared.Answer
}

// Server serves the socket. Use Listen.
type Server struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	key  []byte
	l    net.Listener
	// notes bounds how often a wrong token is logged: anybody can show one.
	notes *rate.Limiter

	mu sync.Mutex
	// mu guards known and strangers: connections that have shown a token, and others.
	known, strangers crowd
	wg               sync.WaitGroup
}

// Listen opens the socket, in the place of one that an earlier process has left.
func Listen(cfg Config, deps Deps) (*Server, error) {
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if cfg.tokenWait == 0 {
		cfg.tokenWait = TokenWait
	}
	if n := len(cfg.Path); n > pathMost {
		return nil, fmt.Errorf("the path of the socket, %s, has %d bytes, and may have %d: give a shorter data directory", cfg.Path, n, pathMost)
	}
	key, err := openKey(cfg.Key)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(cfg.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket of shared state: %w", err)
	}
	l, err := net.Listen("unix", cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("socket of shared state: %w", err)
	}
	mode := os.FileMode(0o600)
	if os.Geteuid() == 0 {
		mode = 0o666 // commands run as others: who may ask is seen by token and account
	}
	if err := os.Chmod(cfg.Path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket of shared state: %w", err)
	}
	return &Server{cfg: cfg, deps: deps, log: deps.Logger.Named("shared"), key: key, l: l, notes: rate.NewLimiter(1, 10),
		known: newCrowd(MaxConns, AccountConns), strangers: newCrowd(MaxStrangers, AccountStrangers)}, nil
}

// Path is where the socket is.
func (s *Server) Path() string { return s.cfg.Path }

// Run serves until ctx ends, and all connections have.
func (s *Server) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.l.Close() })
	defer stop()
	for {
		c, err := s.l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			break
		}
		if err != nil {
			s.log.Warn("connection of a task failed", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.wg.Go(func() { s.serve(ctx, c) })
	}
	s.wg.Wait()
}

// enter counts a connection that has shown no token, unless there are too many.
func (s *Server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strangers.enter(uid)
}

// greet counts a connection among those that have shown a token, unless there are too many.
func (s *Server) greet(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known.enter(uid) {
		return false
	}
	s.strangers.leave(uid)
	return true
}

func (s *Server) leave(uid uint32, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known {
		s.known.leave(uid)
		return
	}
	s.strangers.leave(uid)
}

func (s *Server) serve(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	cred, err := peercred.Of(nc)
	if err != nil {
		s.log.Warn("who is at the other end of a connection is not known", zap.Error(err))
		return
	}
	uid := cred.Uid
	if !s.enter(uid) {
		s.tell(nc, full())
		return
	}
	known := false
	defer func() { s.leave(uid, known) }()
	_ = nc.SetReadDeadline(time.Now().Add(s.cfg.tokenWait))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	lines := make(chan []byte)
	s.wg.Go(func() {
		defer cancel() // T4
		in := bufio.NewScanner(nc)
		in.Buffer(nil, MaxLine)
		for in.Scan() {
			select {
			case lines <- bytes.Clone(in.Bytes()):
			case <-ctx.Done():
				return
			}
		}
		if errors.Is(in.Err(), bufio.ErrTooLong) {
			s.tell(nc, shared.Refusef("a line has more than %d bytes", MaxLine))
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-lines:
			task, ask, refused := s.read(uid, text)
			if refused != nil {
				s.tell(nc, *refused)
				return
			}
			if !known {
				if known = s.greet(uid); !known {
					s.tell(nc, full())
					return
				}
				_ = nc.SetReadDeadline(time.Time{})
			}
			a := s.answer(ctx, task, ask)
			if ctx.Err() != nil || !s.tell(nc, a) {
				return
			}
		}
	}
}

func full() shared.Answer {
	return shared.Answer{Code: shared.CodeFull, Reason: "the minion has too many connections of tasks"}
}

// read returns whose request a line is; or why its connection is to end.
func (s *Server) read(uid uint32, text []byte) (task string, ask shared.Ask, refused *shared.Answer) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&ask); err != nil {
		a := shared.Refusef("a line is no request: %v", err)
		return "", ask, &a
	}
	task, err := s.task(ask.Token, uid)
	if err != nil {
		if s.notes.Allow() {
			s.log.Warn("a process has shown a token that is not its own", zap.Uint32("uid", uid))
		}
		a := shared.Refusef("%v", err)
		return "", ask, &a
	}
	return task, ask, nil
}

// answer answers a request of a task.
func (s *Server) answer(ctx context.Context, task string, ask shared.Ask) shared.Answer {
	if err := ask.Check(); err != nil {
		return shared.Refusef("%v", err)
	}
	return s.deps.Ask(ctx, task, ask.Request)
}

// tell sends an answer. It reports false when it could not.
func (s *Server) tell(nc net.Conn, a shared.Answer) bool {
	text, err := json.Marshal(a)
	if err != nil {
		return false
	}
	_ = nc.SetWriteDeadline(time.Now().Add(WriteTimeout))
	_, err = nc.Write(append(text, '\n'))
	return err == nil
}
