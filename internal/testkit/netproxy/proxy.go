// Package netproxy puts a faulty network between a client and a server in a
// test. It knows bytes only, no protocol.
package netproxy

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a target. A fault holds for all present
// and later connections until Heal. Its methods may be called by many
// goroutines.
type Proxy struct {
	dial     func() (net.Conn, error)
	listener net.Listener
	wg       sync.WaitGroup

	mu sync.Mutex
	// mu guards all below.
	fault   fault
	changed chan struct{} // closed, and replaced, when fault changes
	links   map[*link]struct{}
	closed  bool
}

// fault is what is wrong with the network. The zero fault is none.
type fault struct {
	refuse, blackhole, dropReplies bool

	delay time.Duration
}

// link is one forwarded connection.
type link struct {
	client, server net.Conn
	done           chan struct{}
	once           sync.Once
	torn           bool // bytes are missing; guarded by Proxy.mu
}

func (l *link) cut() {
	l.once.Do(func() {
		close(l.done)
		_ = l.client.Close()
		if l.server != nil {
			_ = l.server.Close()
		}
	})
}

// New starts a proxy to target, "host:port" or "http://host:port", on a free
// port of 127.0.0.1. It ends with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Listen is as New for who is no test; Close ends the proxy.
func Listen(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: listen: %w", err)
	}
	target = strings.TrimPrefix(target, "http://")
	return Between(ln, func() (net.Conn, error) { return net.DialTimeout("tcp", target, 5*time.Second) }), nil
}

// Between is as Listen with a listener, and a way to the target, of one's own: they may
// lie in different networks. Close closes the listener, too.
func Between(ln net.Listener, dial func() (net.Conn, error)) *Proxy {
	p := &Proxy{dial: dial, listener: ln, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	return p
}

// Addr returns the proxy's "host:port".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Endpoint returns the proxy's "http://host:port".
func (p *Proxy) Endpoint() string { return "http://" + p.Addr() }

// Drop closes all present connections, once. New ones are accepted.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Refuse closes all present connections, and every new one at once.
func (p *Proxy) Refuse() {
	p.set(func(f *fault) { f.refuse = true })
	p.Drop()
}

// Blackhole holds all bytes back, both ways, without closing anything. Heal
// lets them through, as TCP does after a partition.
func (p *Proxy) Blackhole() { p.set(func(f *fault) { f.blackhole = true }) }

// DropReplies forwards what the client sends and swallows what the server
// answers. Heal closes the connections that miss bytes.
func (p *Proxy) DropReplies() { p.set(func(f *fault) { f.dropReplies = true }) }

// Delay holds every piece of data back for d, each way.
func (p *Proxy) Delay(d time.Duration) { p.set(func(f *fault) { f.delay = d }) }

// Heal ends every fault.
func (p *Proxy) Heal() {
	p.mu.Lock()
	for l := range p.links {
		if l.torn {
			l.cut()
		}
	}
	p.mu.Unlock()
	p.set(func(f *fault) { *f = fault{} })
}

func (p *Proxy) set(change func(*fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.fault)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends the proxy, and all its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Drop()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client, done: make(chan struct{})}
	defer l.cut()
	p.mu.Lock()
	refuse := p.fault.refuse
	p.mu.Unlock()
	if refuse {
		return
	}
	server, err := p.dial()
	if err != nil {
		return
	}
	l.server = server

	p.mu.Lock()
	if p.closed || p.fault.refuse {
		p.mu.Unlock()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()

	var wg sync.WaitGroup
	wg.Go(func() { p.pump(l, client, server, false) })
	wg.Go(func() { p.pump(l, server, client, true) })
	wg.Wait()
}

func (p *Proxy) pump(l *link, from, to net.Conn, reply bool) {
	defer l.cut()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		// An end is data too: a black hole holds it back.
		if forward, ok := p.admit(l, reply); !ok {
			return
		} else if forward {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// admit waits until data may pass; forward is false when it is to be swallowed.
// It returns false when the link is cut.
func (p *Proxy) admit(l *link, reply bool) (forward, ok bool) {
	for {
		p.mu.Lock()
		f, changed := p.fault, p.changed
		if reply && f.dropReplies {
			l.torn = true
		}
		p.mu.Unlock()
		switch {
		case f.blackhole:
			select {
			case <-changed:
			case <-l.done:
				return false, false
			}
			continue
		case reply && f.dropReplies:
			return false, true
		case f.delay > 0:
			t := time.NewTimer(f.delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-l.done:
				return false, false
			}
		}
		return true, true
	}
}
