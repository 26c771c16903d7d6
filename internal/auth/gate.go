package auth

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
)

// ErrBusy is why the Gate closes a connection.
var ErrBusy = errors.New("too many connections at once")

// GateConfig says how many handshakes a server takes on. Zero values stand for
// the defaults.
type GateConfig struct {
	// Handshakes is how many compute at once. Default: 2 for each core.
	Handshakes int
	// PerSecond is how many connections are accepted in a second, and Burst how
	// many at once after a quiet time. Defaults 2500, and as PerSecond.
	PerSecond int
	Burst     int
	// Waiting is how many handshakes may wait for a turn when another one wants
	// its first: it is refused then. Default 64 for each of Handshakes.
	Waiting int
	// Wait is how long a handshake may wait for its turn. Default 5 s.
	Wait time.Duration
	// Showed is told of a connection whose client has shown a certificate, and
	// says whether it may stay. Nil: it may.
	Showed func(raw net.Conn, id Identity) error
}

func (c GateConfig) filled() GateConfig {
	if c.Handshakes <= 0 {
		c.Handshakes = 2 * runtime.GOMAXPROCS(0)
	}
	if c.PerSecond <= 0 {
		c.PerSecond = 2500
	}
	if c.Burst <= 0 {
		c.Burst = c.PerSecond
	}
	if c.Waiting <= 0 {
		c.Waiting = 64 * c.Handshakes
	}
	if c.Wait <= 0 {
		c.Wait = 5 * time.Second
	}
	return c
}

// Gate wraps the transport credentials of a gRPC server so that thousands of
// clients that come back at once do not starve those that are connected. It
// closes what is above the rate before any cryptography, bounds how many
// handshakes compute at once, and gives methods an AuthInfo in place of
// credentials.TLSInfo. The client's side is inner's.
//
// The rate is a guess of what the host can do, and may be too high: then a queue
// grows, and if everybody waited in it, all would be given up, each after some
// of its work was done. So who has not begun is refused while the queue is long,
// and who has begun gets through.
func Gate(inner credentials.TransportCredentials, cfg GateConfig) credentials.TransportCredentials {
	cfg = cfg.filled()
	return &gate{
		TransportCredentials: inner,
		accepts:              rate.NewLimiter(rate.Limit(cfg.PerSecond), cfg.Burst),
		turns:                make(chan struct{}, cfg.Handshakes),
		queue:                new(atomic.Int64),
		longest:              int64(cfg.Waiting),
		wait:                 cfg.Wait,
		showed:               cfg.Showed,
	}
}

// AuthInfo is what a server keeps of a handshake: who the client is, and not
// its chains. Identity is zero where the client showed no certificate.
type AuthInfo struct {
	credentials.CommonAuthInfo
	Identity Identity
}

// AuthType implements credentials.AuthInfo.
func (AuthInfo) AuthType() string { return "tls" }

type gate struct {
	credentials.TransportCredentials

	accepts *rate.Limiter
	turns   chan struct{}
	// queue is how many wait for a turn.
	queue   *atomic.Int64
	longest int64
	wait    time.Duration
	showed  func(net.Conn, Identity) error
}

func (g *gate) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if !g.accepts.Allow() {
		_ = raw.Close() // it is refused either way
		return nil, nil, fmt.Errorf("%s: %w: the rate of new connections is reached", raw.RemoteAddr(), ErrBusy)
	}
	turn := &turnConn{Conn: raw, gate: g}
	conn, info, err := g.TransportCredentials.ServerHandshake(turn)
	turn.finish()
	if err != nil {
		return nil, nil, err
	}
	slim, err := slimmed(info)
	if known, ok := slim.(AuthInfo); err == nil && ok && g.showed != nil && known.Identity != (Identity{}) {
		if err = g.showed(raw, known.Identity); err != nil {
			err = fmt.Errorf("%s from %s: %w", known.Identity, raw.RemoteAddr(), err)
		}
	}
	if err != nil {
		_ = conn.Close() // it is refused either way
		return nil, nil, err
	}
	return conn, slim, nil
}

// Clone shares the bounds: they are the server's.
func (g *gate) Clone() credentials.TransportCredentials {
	c := *g
	c.TransportCredentials = g.TransportCredentials.Clone()
	return &c
}

func slimmed(info credentials.AuthInfo) (credentials.AuthInfo, error) {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return info, nil
	}
	slim := AuthInfo{CommonAuthInfo: t.CommonAuthInfo}
	if len(t.State.VerifiedChains) == 0 {
		return slim, nil
	}
	id, err := IdentityOf(t.State.PeerCertificates[0])
	if err != nil {
		return nil, err
	}
	slim.Identity = id
	return slim, nil
}

// turnConn is a connection whose handshake gives its turn back while it waits
// for the client. The handshake is one goroutine, and so needs no lock; after
// finish the fields are only read.
type turnConn struct {
	net.Conn

	gate *gate
	held bool
	// begun: it has had a turn.
	begun bool
	done  bool
}

func (c *turnConn) Read(p []byte) (int, error) {
	if c.done {
		return c.Conn.Read(p)
	}
	c.leave()
	n, err := c.Conn.Read(p)
	if err != nil {
		return n, err
	}
	return n, c.enter()
}

// SyscallConn gives gRPC access to the socket's options.
func (c *turnConn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no socket", c.Conn)
	}
	return s.SyscallConn()
}

func (c *turnConn) enter() error {
	g := c.gate
	select {
	case g.turns <- struct{}{}:
		c.held, c.begun = true, true
		return nil
	default:
	}
	defer g.queue.Add(-1)
	if g.queue.Add(1) > g.longest && !c.begun {
		return fmt.Errorf("%s: %w: %d handshakes wait for a turn", c.RemoteAddr(), ErrBusy, g.longest)
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.turns <- struct{}{}:
		c.held, c.begun = true, true
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: %w: no turn for the handshake within %s", c.RemoteAddr(), ErrBusy, g.wait)
	}
}

func (c *turnConn) leave() {
	if c.held {
		<-c.gate.turns
		c.held = false
	}
}

// finish ends the handshake: from now on reads go straight through.
func (c *turnConn) finish() {
	c.leave()
	c.done = true
}
