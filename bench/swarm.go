package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// perProcess is how many minions one process holds: far fewer than it may have
// files, and than there are ports at one address.
const perProcess = 4500

// swarmSpec is what a process of fake minions is told.
type swarmSpec struct {
	Servers      []string
	First, Count int
	// Authority signs their certificates. Nil: the connections are plain, and the
	// server echoes.
	Authority *authority
	// Source is the address that connections come from.
	Source string
}

// openingAtOnce is how many sessions one process opens at a time.
const openingAtOnce = 128

// minionName is the id of a fake minion.
func minionName(i int) job.MinionID { return job.MinionID(fmt.Sprintf("m%05d", i)) }

// The pauses of a real minion (worker/session.go).
const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 10 * time.Second
)

// runSwarm runs fake minions. A line on its input is a question: "connected"
// and "executed" are answered by a count, "why" by what ended a session.
func runSwarm(ctx context.Context, spec swarmSpec, lines <-chan string) error {
	dials, err := spec.dialers()
	if err != nil {
		return err
	}
	opening := make(chan struct{}, openingAtOnce)
	swarm := agenttest.NewSwarm(spec.Count, func(i int) agenttest.Config {
		return agenttest.Config{
			ID: minionName(spec.First + i), Instance: fmt.Sprintf("swarm-%d-%d", os.Getpid(), i), Version: "bench",
			Dial: dials[i], Reconnect: backoffMin, ReconnectMax: backoffMax, Spool: true, Opening: opening,
		}
	})
	done := make(chan error, 1)
	go func() { done <- swarm.Run(ctx) }()
	for line := range lines {
		var v any
		switch line {
		case "connected":
			v = swarm.Connected()
		case "executed":
			v = swarm.Executed()
		case "why":
			v = fmt.Sprint(swarm.LastError())
		}
		if err := answer(v); err != nil {
			return err
		}
	}
	return <-done
}

// dialers returns a function for each minion that connects to its node.
func (s *swarmSpec) dialers() ([]func() (*grpc.ClientConn, error), error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.Source)}, KeepAlive: -1, Control: latePort}
	opts := []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return from.DialContext(ctx, "tcp", addr)
	})}
	var ca *auth.Authority
	if s.Authority != nil {
		var err error
		if ca, err = auth.ParseAuthority([]byte(s.Authority.Certificate), []byte(s.Authority.Key)); err != nil {
			return nil, err
		}
	}
	out := make([]func() (*grpc.ClientConn, error), s.Count)
	for i := range out {
		own := opts
		if ca != nil {
			conf, err := minionTLS(ca, minionName(s.First+i))
			if err != nil {
				return nil, err
			}
			own = append(own[:len(own):len(own)], grpc.WithTransportCredentials(credentials.NewTLS(conf)))
		}
		out[i] = agenttest.Dialer(s.Servers[i%len(s.Servers)], own...)
	}
	return out, nil
}

// ipBindAddressNoPort lets the kernel choose the port when it knows the other
// end: a port may then be used towards several servers.
const ipBindAddressNoPort = 24

func latePort(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}

// minionTLS is the client's side of a minion that was enrolled.
func minionTLS(ca *auth.Authority, id job.MinionID) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := auth.NewRequest(id, key)
	if err != nil {
		return nil, err
	}
	der, err := ca.SignMinion(csr, id, 0, time.Now())
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return auth.ClientTLS(auth.ClientConfig{
		CA: ca.Certificate(), Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Sessions: tls.NewLRUClientSessionCache(1),
	})
}

// swarms are processes of fake minions.
type swarms []*process

// startSwarms starts so many fake minions as clients of the servers, and waits
// until they are connected. Without an authority the connections are plain.
func startSwarms(ctx context.Context, e *env, count int, servers []string, a *authority) (_ swarms, err error) {
	var s swarms
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	spec := swarmSpec{Servers: servers, Authority: a}
	for first := 0; first < count; first += perProcess {
		spec.First, spec.Count = first, min(perProcess, count-first)
		spec.Source = fmt.Sprintf("127.0.1.%d", len(s)+1)
		p, err := start(ctx, "swarm", spec)
		if err != nil {
			return s, err
		}
		s = append(s, p)
	}
	return s, s.await(ctx, e, count)
}

// connected adds up the answers of all processes.
func (s swarms) connected(ctx context.Context) (int, error) {
	sum := 0
	for _, p := range s {
		n := 0
		if err := p.ask(ctx, "connected", time.Minute, &n); err != nil {
			return sum, err
		}
		sum += n
	}
	return sum, nil
}

// await waits until all minions are connected.
func (s swarms) await(ctx context.Context, e *env, count int) error {
	err := e.reach(ctx, "minions are connected", count, func() (int, error) { return s.connected(ctx) })
	if err == nil {
		return nil
	}
	why := ""
	for _, p := range s {
		_ = p.ask(ctx, "why", time.Second, &why)
	}
	return fmt.Errorf("%w (%s)", err, why)
}

func (s swarms) stop() {
	for _, p := range s {
		_ = p.in.Close()
	}
	for _, p := range s {
		p.stop()
	}
}
