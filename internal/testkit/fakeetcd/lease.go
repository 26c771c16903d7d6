package fakeetcd

import (
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// expireEvery is how often leases are looked at that may have ended.
	expireEvery = 500 * time.Millisecond
	// maxTTL is the longest that etcd grants, in seconds.
	maxTTL = 9_000_000_000
)

type lease struct {
	ttl    int64 // as granted, in seconds
	expiry time.Time
	keys   map[string]bool
	gone   chan struct{} // closed when the lease is
}

func (l *lease) refresh() { l.expiry = time.Now().Add(time.Duration(l.ttl) * time.Second) }

func (l *lease) expired() bool { return !time.Now().Before(l.expiry) }

func (s *Server) attach(id int64, key string) {
	if l := s.leases[id]; l != nil {
		l.keys[key] = true
	}
}

func (s *Server) detach(id int64, key string) {
	if l := s.leases[id]; l != nil {
		delete(l.keys, key)
	}
}

func (s *Server) grant(r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	id := r.ID
	for id == 0 || r.ID == 0 && s.leases[id] != nil {
		s.nextID++
		id = s.nextID
	}
	switch {
	case r.TTL > maxTTL:
		return nil, rpctypes.ErrGRPCLeaseTTLTooLarge
	case s.leases[id] != nil:
		return nil, rpctypes.ErrGRPCLeaseExist
	}
	l := &lease{ttl: max(r.TTL, s.cfg.MinTTL), keys: map[string]bool{}, gone: make(chan struct{})}
	l.refresh()
	s.leases[id] = l
	return &pb.LeaseGrantResponse{Header: s.header(s.rev), ID: id, TTL: l.ttl}, nil
}

// revoke ends a lease: all its keys are deleted at one revision.
func (s *Server) revoke(id int64) (*pb.LeaseRevokeResponse, error) {
	l := s.leases[id]
	if l == nil {
		return nil, rpctypes.ErrGRPCLeaseNotFound
	}
	w := &writing{s: s}
	for _, k := range slices.Sorted(maps.Keys(l.keys)) {
		w.change(k, nil)
	}
	delete(s.leases, id)
	close(l.gone)
	w.commit()
	return &pb.LeaseRevokeResponse{Header: s.header(s.rev)}, nil
}

// renew returns the answer to a renewal, or, for a lease that has expired and
// is about to be ended, what to wait for before asking again.
func (s *Server) renew(id int64) (*pb.LeaseKeepAliveResponse, <-chan struct{}) {
	l := s.leases[id]
	out := &pb.LeaseKeepAliveResponse{Header: s.header(s.rev), ID: id}
	switch {
	case l == nil:
		return out, nil
	case l.expired():
		return nil, l.gone
	}
	l.refresh()
	out.TTL = l.ttl
	return out, nil
}

func (s *Server) timeToLive(r *pb.LeaseTimeToLiveRequest) *pb.LeaseTimeToLiveResponse {
	out := &pb.LeaseTimeToLiveResponse{Header: s.header(s.rev), ID: r.ID, TTL: -1}
	l := s.leases[r.ID]
	if l == nil {
		return out
	}
	out.GrantedTTL = l.ttl
	out.TTL = int64(time.Until(l.expiry).Seconds())
	if r.Keys {
		for _, k := range slices.Sorted(maps.Keys(l.keys)) {
			out.Keys = append(out.Keys, []byte(k))
		}
	}
	return out
}

// tick ends leases that have expired, and compacts, until the server is closed.
func (s *Server) tick() {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	compactAt, last := time.Now().Add(s.cfg.CompactEvery), int64(0)
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		for _, id := range slices.Sorted(maps.Keys(s.leases)) {
			if s.leases[id].expired() {
				_, _ = s.revoke(id) // it is there
			}
		}
		if s.cfg.CompactEvery > 0 && time.Now().After(compactAt) {
			if last > s.compacted {
				_ = s.compact(last) // it lies between the two
			}
			compactAt, last = time.Now().Add(s.cfg.CompactEvery), s.rev
		}
		s.mu.Unlock()
	}
}
