package shared

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// The variables that commands of jobs find in their environment.
const (
	EnvSocket = "CARILLON_SHARED_SOCKET"
	EnvToken  = "CARILLON_SHARED_TOKEN"
)

// MaxLine is how many bytes a line on the socket has at most: a list of all that there is.
const MaxLine = 1 << 20

// Ask is a line that a task sends over the socket. Its answer is a line with an Answer.
type Ask struct {
	Token string `json:"token"`
	Request
}

// Connect returns the state of the run whose task this process is part of.
func Connect() (*State, error) { return Open(os.Getenv(EnvSocket), os.Getenv(EnvToken)) }

// Open returns the same for what stands in the two variables.
func Open(path, token string) (*State, error) {
	if path == "" || token == "" {
		return nil, fmt.Errorf("%w: %s and %s are not set, as they are in commands that a job starts", ErrUnavailable, EnvSocket, EnvToken)
	}
	c := &socket{path: path, token: token}
	return &State{asker: c, close: c.Close}, nil
}

// socket brings requests over a minion's socket, on a connection for each of those that are
// under way. Connections are kept for the next.
type socket struct {
	path, token string

	mu sync.Mutex
	// mu guards what follows.
	idle   []*line
	closed bool
}

// line is a connection.
type line struct {
	conn net.Conn
	in   *bufio.Scanner
}

// Close ends the connections.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.idle {
		_ = l.conn.Close() // nothing is under way on it
	}
	s.idle = nil
	return nil
}

// get returns a connection, one that was kept or a new one.
func (s *socket) get(ctx context.Context) (*line, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		l := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return l, nil
	}
	s.mu.Unlock()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", s.path)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, in: bufio.NewScanner(conn)}
	l.in.Buffer(nil, MaxLine)
	return l, nil
}

func (s *socket) put(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) > 0 {
		_ = l.conn.Close() // nothing is under way on it
		return
	}
	s.idle = append(s.idle, l)
}

// pauseAfter is the pause before a minion that is not there is tried again.
const pauseAfter = 200 * time.Millisecond

// Ask implements Asker. A minion that is being replaced is awaited, for a while.
func (s *socket) Ask(ctx context.Context, r Request) (Answer, error) {
	begun, wait := time.Now(), r.Timeout
	for until := begun.Add(30 * time.Second); ; {
		if wait > 0 {
			r.Timeout = max(wait-time.Since(begun).Seconds(), 0.001)
		}
		a, sent, err := s.try(ctx, r)
		switch {
		case err == nil:
			return a, nil
		case ctx.Err() != nil:
			return Answer{}, context.Cause(ctx)
		case sent && r.Writes():
			return Answer{}, fmt.Errorf("%w: the minion has gone: %w", ErrUnsure, err)
		case time.Now().After(until):
			return Answer{}, fmt.Errorf("%w: no minion serves %s: %w", ErrUnavailable, s.path, err)
		}
		select {
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		case <-time.After(pauseAfter):
		}
	}
}

// try asks once. It reports whether the minion may have been told.
func (s *socket) try(ctx context.Context, r Request) (_ Answer, sent bool, _ error) {
	text, err := json.Marshal(Ask{Token: s.token, Request: r})
	if err != nil {
		return Answer{}, false, fmt.Errorf("encode a request: %w", err)
	}
	l, err := s.get(ctx)
	if err != nil {
		return Answer{}, false, err
	}
	good := false
	defer func() {
		if !good {
			_ = l.conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := l.conn.Write(append(text, '\n')); err != nil {
		return Answer{}, false, err // half a line is no request
	}
	if !l.in.Scan() {
		err := l.in.Err()
		if err == nil {
			err = errors.New("it has closed the connection")
		}
		return Answer{}, true, err
	}
	var a Answer
	if err := json.Unmarshal(l.in.Bytes(), &a); err != nil {
		return Answer{}, true, fmt.Errorf("its answer cannot be read: %w", err)
	}
	if good = stop(); good { // else its deadline has passed
		s.put(l)
	}
	return a, true, nil
}
