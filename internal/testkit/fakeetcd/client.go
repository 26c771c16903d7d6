package fakeetcd

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Config configures a Server. The zero value is a server at etcd's defaults that
// never compacts.
type Config struct {
	// MinTTL is the shortest lease that is granted, in seconds. Zero: 2.
	MinTTL int64
	// CompactEvery: what is older than this is compacted, once in that time.
	// Zero: never.
	CompactEvery time.Duration
	// MaxTxnOps bounds a transaction. Zero: 128.
	MaxTxnOps int
	// ProgressEvery is how often quiet watches get a sign of life. Zero: 10 min.
	ProgressEvery time.Duration
}

// New starts a server. In a bubble of testing/synctest it must be closed there.
func New(cfg Config) *Server {
	enterBubbles()
	if cfg.MinTTL == 0 {
		cfg.MinTTL = 2
	}
	if cfg.MaxTxnOps == 0 {
		cfg.MaxTxnOps = 128
	}
	if cfg.ProgressEvery == 0 {
		cfg.ProgressEvery = 10 * time.Minute
	}
	s := &Server{
		cfg: cfg, rev: 1, compacted: -1, history: map[string][]version{}, leases: map[int64]*lease{},
		stop: make(chan struct{}),
	}
	s.ticking.Go(s.tick)
	s.ticking.Go(s.signs)
	return s
}

// signs gives signs of life to quiet watches until the server is closed.
func (s *Server) signs() {
	ticker := time.NewTicker(s.cfg.ProgressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		s.progress()
		s.mu.Unlock()
	}
}

// Close ends leases' clocks. Clients are closed by whoever made them.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.ticking.Wait()
}

// NewClient returns a client, and its link, whose faults are drawn from seed.
// The client has no connection and no maintenance; all else is etcd's own.
func (s *Server) NewClient(seed uint64) (*clientv3.Client, *Link) {
	l := newLink(seed)
	c := clientv3.NewCtxClient(context.Background())
	k := &remote{s: s, link: l}
	c.KV = clientv3.NewKVFromKVClient(k, c)
	c.Watcher = clientv3.NewWatchFromWatchClient(k, c)
	c.Lease = &lessor{Lease: clientv3.NewLeaseFromLeaseClient(k, c, 5*time.Second), remote: k}
	return c, l
}

// remote answers a client's requests, over its link.
type remote struct {
	s    *Server
	link *Link
}

// locked runs fn under the server's lock.
func locked[T any](s *Server, fn func() (T, error)) func() (T, error) {
	return func() (T, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return fn()
	}
}

// Range implements pb.KVClient.
func (k *remote) Range(ctx context.Context, r *pb.RangeRequest, _ ...grpc.CallOption) (*pb.RangeResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.RangeResponse, error) {
		if len(r.Key) == 0 {
			return nil, rpctypes.ErrGRPCEmptyKey
		}
		return k.s.read(r, k.s.rev)
	}))
}

// RangeStream implements pb.KVClient; it is not there.
func (k *remote) RangeStream(context.Context, *pb.RangeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return nil, status.Error(codes.Unimplemented, "fakeetcd: no streamed ranges")
}

// Put implements pb.KVClient.
func (k *remote) Put(ctx context.Context, r *pb.PutRequest, _ ...grpc.CallOption) (*pb.PutResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.PutResponse, error) {
		if err := checkPutForm(r); err != nil {
			return nil, err
		}
		if err := k.s.checkPut(r); err != nil {
			return nil, err
		}
		w := &writing{s: k.s}
		out := w.put(r)
		w.commit()
		return out, nil
	}))
}

// DeleteRange implements pb.KVClient.
func (k *remote) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest, _ ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.DeleteRangeResponse, error) {
		if len(r.Key) == 0 {
			return nil, rpctypes.ErrGRPCEmptyKey
		}
		w := &writing{s: k.s}
		out := w.remove(r)
		w.commit()
		return out, nil
	}))
}

// Txn implements pb.KVClient.
func (k *remote) Txn(ctx context.Context, r *pb.TxnRequest, _ ...grpc.CallOption) (*pb.TxnResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.TxnResponse, error) {
		if err := checkForm(r, k.s.cfg.MaxTxnOps); err != nil {
			return nil, err
		}
		for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
			if _, err := checkOverlap(ops); err != nil {
				return nil, err
			}
		}
		p, err := k.s.decide(r)
		if err != nil {
			return nil, err
		}
		w := &writing{s: k.s}
		out, err := w.run(p)
		if err != nil {
			return nil, err
		}
		w.commit()
		out.Header = k.s.header(k.s.rev)
		return out, nil
	}))
}

// Compact implements pb.KVClient.
func (k *remote) Compact(ctx context.Context, r *pb.CompactionRequest, _ ...grpc.CallOption) (*pb.CompactionResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.CompactionResponse, error) {
		if err := k.s.compact(r.Revision); err != nil {
			return nil, err
		}
		return &pb.CompactionResponse{Header: k.s.header(k.s.rev)}, nil
	}))
}

// LeaseGrant implements pb.LeaseClient.
func (k *remote) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest, _ ...grpc.CallOption) (*pb.LeaseGrantResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.LeaseGrantResponse, error) { return k.s.grant(r) }))
}

// LeaseRevoke implements pb.LeaseClient.
func (k *remote) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest, _ ...grpc.CallOption) (*pb.LeaseRevokeResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.LeaseRevokeResponse, error) { return k.s.revoke(r.ID) }))
}

// LeaseKeepAlive implements pb.LeaseClient; a lease is renewed once at a time.
func (k *remote) LeaseKeepAlive(context.Context, ...grpc.CallOption) (pb.Lease_LeaseKeepAliveClient, error) {
	return nil, status.Error(codes.Unimplemented, "fakeetcd: no stream of renewals; use KeepAliveOnce")
}

// LeaseTimeToLive implements pb.LeaseClient.
func (k *remote) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest, _ ...grpc.CallOption) (*pb.LeaseTimeToLiveResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.LeaseTimeToLiveResponse, error) { return k.s.timeToLive(r), nil }))
}

// LeaseLeases implements pb.LeaseClient.
func (k *remote) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest, _ ...grpc.CallOption) (*pb.LeaseLeasesResponse, error) {
	return call(ctx, k.link, locked(k.s, func() (*pb.LeaseLeasesResponse, error) {
		out := &pb.LeaseLeasesResponse{Header: k.s.header(k.s.rev)}
		for id := range k.s.leases {
			out.Leases = append(out.Leases, &pb.LeaseStatus{ID: id})
		}
		return out, nil
	}))
}

// lessor is etcd's own, but for renewals, which need no stream here.
type lessor struct {
	clientv3.Lease
	remote *remote
}

// KeepAliveOnce implements clientv3.Lease.
func (l *lessor) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	type renewal struct {
		resp *pb.LeaseKeepAliveResponse
		gone <-chan struct{}
	}
	for {
		r, err := call(ctx, l.remote.link, locked(l.remote.s, func() (renewal, error) {
			resp, gone := l.remote.s.renew(int64(id))
			return renewal{resp, gone}, nil
		}))
		switch {
		case err != nil:
			return nil, clientv3.ContextError(ctx, err)
		case r.gone != nil:
			select {
			case <-r.gone:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("renew lease: %w", ctx.Err())
			}
		case r.resp.TTL <= 0:
			return nil, rpctypes.ErrLeaseNotFound
		}
		return &clientv3.LeaseKeepAliveResponse{ResponseHeader: r.resp.Header, ID: id, TTL: r.resp.TTL}, nil
	}
}

// Dump returns all that is stored, for checks after a simulation.
func (s *Server) Dump() []*mvccpb.KeyValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*mvccpb.KeyValue
	for _, k := range s.keys {
		if kv := s.at(k, s.rev); kv != nil {
			out = append(out, clone(kv))
		}
	}
	return out
}

// LeaseClient returns what lies below a client of NewClient, for requests that
// the client library has no words for.
func LeaseClient(c *clientv3.Client) pb.LeaseClient {
	l, ok := c.Lease.(*lessor)
	if !ok {
		return nil
	}
	return l.remote
}
