package agentpush

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/carillon-cron/carillon/job"
)

// peers are the connections to the cluster's other nodes, made when one is
// needed.
type peers struct {
	*base
	life        *lifetime
	dialOptions []grpc.DialOption

	mu sync.Mutex
	// mu guards conns, by address.
	conns map[string]*grpc.ClientConn
}

// close closes all connections.
func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, conn := range p.conns {
		if err := conn.Close(); err != nil {
			p.log.Debug("close connection to peer", zap.String("addr", addr), zap.Error(err))
		}
	}
	clear(p.conns)
}

// connTo returns the connection to a peer, and makes it if need be.
func (p *peers) connTo(node job.NodeID) (*grpc.ClientConn, error) {
	addr, ok := p.directory.PeerAddr(node)
	if !ok || addr == "" {
		return nil, fmt.Errorf("peer %s: %w", node, errNoAddr)
	}
	return p.conn(addr)
}

func (p *peers) conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[addr]; c != nil {
		return c, nil
	}
	if p.life.ctx.Err() != nil {
		return nil, errStopping
	}
	opts := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithStaticStreamWindowSize(1 << 20),
		grpc.WithStaticConnWindowSize(2 << 20),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}
	if len(p.dialOptions) == 0 {
		opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	c, err := grpc.NewClient("passthrough:///"+addr, append(opts, p.dialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to peer at %s: %w", addr, err)
	}
	p.conns[addr] = c
	return c, nil
}

// askAll calls ask for all other nodes at once, for PeerWait at most, and
// returns the errors of all.
func (p *peers) askAll(ctx context.Context, ask func(ctx context.Context, addr string) error) error {
	own, _ := p.directory.PeerAddr(p.cfg.Node)
	ctx, cancel := context.WithTimeout(ctx, p.cfg.PeerWait)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	var asked sync.WaitGroup
	for _, addr := range slices.Compact(slices.Sorted(slices.Values(p.directory.Servers()))) {
		if addr == own {
			continue
		}
		asked.Go(func() {
			err := ask(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	asked.Wait()
	return errors.Join(errs...)
}
