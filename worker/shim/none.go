package shim

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// None stands in the place of a shim for an agent that has no commands to start: it starts
// none, and tells of each why. It is part of the agent's process, and ends with it. Use
// ServeNone.
type None struct {
	listener *net.UnixListener
	instance string
	why      string
	wg       sync.WaitGroup

	mu sync.Mutex
	// mu guards what follows: connections, and the records that were not forgotten.
	conns  map[net.Conn]bool
	ended  map[string]Ended
	closed bool
}

// ServeNone listens where the shim of a directory does, until Close. Why says why commands
// are not started.
func ServeNone(dir, why string) (*None, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("stand in for a shim: %w", err)
	}
	n := &None{listener: l, instance: rand.Text(), why: why, conns: map[net.Conn]bool{}, ended: map[string]Ended{}}
	n.wg.Go(n.accept)
	return n, nil
}

// Close ends it, and its connections.
func (n *None) Close() {
	_ = n.listener.Close()
	n.mu.Lock()
	n.closed = true
	for c := range n.conns {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

func (n *None) accept() {
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			_ = c.Close()
			return
		}
		n.conns[c] = true
		n.mu.Unlock()
		n.wg.Go(func() {
			n.serve(c)
			_ = c.Close()
			n.mu.Lock()
			delete(n.conns, c)
			n.mu.Unlock()
		})
	}
}

// serve answers an agent until the connection ends.
func (n *None) serve(c net.Conn) {
	n.mu.Lock()
	hello := Hello{Instance: n.instance, PID: os.Getpid(), Masks: true, Ended: slices.Collect(maps.Values(n.ended))}
	n.mu.Unlock()
	if writeFrame(c, Event{Hello: &hello}) != nil {
		return
	}
	for r := bufio.NewReader(c); ; {
		var q request
		if readFrame(r, &q) != nil {
			return
		}
		if e := (Event{Ended: n.take(&q)}); len(e.Ended) > 0 && writeFrame(c, e) != nil {
			return
		}
	}
}

// take returns the exit records of what is to be started.
func (n *None) take(q *request) []Ended {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range q.Forget {
		delete(n.ended, key)
	}
	var out []Ended
	now := time.Now().UnixNano()
	for i := range q.Start {
		key := q.Start[i].Key
		if _, known := n.ended[key]; !known {
			n.ended[key] = Ended{Key: key, Failure: n.why, StartedAt: now, EndedAt: now}
		}
		out = append(out, n.ended[key])
	}
	return out
}
