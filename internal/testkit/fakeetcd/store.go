package fakeetcd

import (
	"bytes"
	"slices"
	"sort"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Server is the etcd that clients share. Use New; Close it at the end. Its
// methods may be called by many goroutines.
type Server struct {
	cfg Config

	mu sync.Mutex // guards all below
	// rev is the last revision, compacted the first that can be read.
	rev, compacted int64
	// keys are the keys of history, sorted; history holds each one's versions.
	keys    []string
	history map[string][]version
	// log holds all events since compacted, in order.
	log     []*mvccpb.Event
	leases  map[int64]*lease
	nextID  int64
	watches []*stream
	closed  bool
	stop    chan struct{}
	ticking sync.WaitGroup
}

// version is a key's value from a revision on; no kv: the key was deleted.
type version struct {
	rev int64
	kv  *mvccpb.KeyValue
}

// Rev returns the last revision.
func (s *Server) Rev() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rev
}

func (s *Server) header(rev int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, MemberId: 1, Revision: rev, RaftTerm: 1}
}

// at returns the key's value at a revision; nil: there is none.
func (s *Server) at(key string, rev int64) *mvccpb.KeyValue {
	h := s.history[key]
	i := sort.Search(len(h), func(i int) bool { return h[i].rev > rev })
	if i == 0 {
		return nil
	}
	return h[i-1].kv
}

// span returns the keys of history in a range.
func (s *Server) span(key, end []byte) []string {
	if len(end) == 0 {
		if _, ok := s.history[string(key)]; ok {
			return []string{string(key)}
		}
		return nil
	}
	from := sort.SearchStrings(s.keys, string(key))
	to := len(s.keys)
	if !isAbove(end) {
		to = sort.SearchStrings(s.keys, string(end))
	}
	return s.keys[from:max(from, to)]
}

// isAbove reports whether a range's end means all keys from its start on.
func isAbove(end []byte) bool { return len(end) == 1 && end[0] == 0 }

// within reports whether a key lies in a range.
func within(k, key, end []byte) bool {
	if len(end) == 0 {
		return bytes.Equal(k, key)
	}
	return bytes.Compare(k, key) >= 0 && (isAbove(end) || bytes.Compare(k, end) < 0)
}

// list returns what lies in a range at a revision, in the order of keys.
func (s *Server) list(key, end []byte, rev int64) []*mvccpb.KeyValue {
	var out []*mvccpb.KeyValue
	for _, k := range s.span(key, end) {
		if kv := s.at(k, rev); kv != nil {
			out = append(out, kv)
		}
	}
	return out
}

// checkRev reports whether a revision can be read while now is the last one.
func (s *Server) checkRev(rev, now int64) error {
	switch {
	case rev > now:
		return rpctypes.ErrGRPCFutureRev
	case rev != 0 && rev < s.compacted:
		return rpctypes.ErrGRPCCompacted
	}
	return nil
}

// read answers a range request. now is the last revision: inside a transaction
// that has written, its own.
func (s *Server) read(r *pb.RangeRequest, now int64) (*pb.RangeResponse, error) {
	rev := max(r.Revision, 0)
	if err := s.checkRev(rev, now); err != nil {
		return nil, err
	}
	if rev == 0 {
		rev = now
	}
	all := s.list(r.Key, r.RangeEnd, rev)
	out := &pb.RangeResponse{Header: s.header(now), Count: int64(len(all))}
	if r.CountOnly {
		return out, nil
	}
	kvs := slices.DeleteFunc(all, func(kv *mvccpb.KeyValue) bool {
		return r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision ||
			r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision ||
			r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision ||
			r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision
	})
	order(kvs, r)
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, out.More = kvs[:r.Limit], true
	}
	for _, kv := range kvs {
		c := clone(kv)
		if r.KeysOnly {
			c.Value = nil
			if r.SortTarget != pb.RangeRequest_VALUE {
				c.Lease = 0 // the index, from which etcd answers then, has none
			}
		}
		out.Kvs = append(out.Kvs, c)
	}
	return out, nil
}

// order sorts what a range request found.
func order(kvs []*mvccpb.KeyValue, r *pb.RangeRequest) {
	if r.SortOrder == pb.RangeRequest_NONE && r.SortTarget == pb.RangeRequest_KEY {
		return
	}
	slices.SortStableFunc(kvs, func(a, b *mvccpb.KeyValue) int {
		if r.SortOrder == pb.RangeRequest_DESCEND {
			a, b = b, a
		}
		switch r.SortTarget {
		case pb.RangeRequest_VERSION:
			return compare(a.Version, b.Version)
		case pb.RangeRequest_CREATE:
			return compare(a.CreateRevision, b.CreateRevision)
		case pb.RangeRequest_MOD:
			return compare(a.ModRevision, b.ModRevision)
		case pb.RangeRequest_VALUE:
			return bytes.Compare(a.Value, b.Value)
		default:
			return bytes.Compare(a.Key, b.Key)
		}
	})
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func clone(kv *mvccpb.KeyValue) *mvccpb.KeyValue {
	if kv == nil {
		return nil
	}
	return &mvccpb.KeyValue{
		Key: kv.Key, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
		Version: kv.Version, Lease: kv.Lease,
	}
}

// Compact forgets what was before rev.
func (s *Server) Compact(rev int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compact(rev)
}

func (s *Server) compact(rev int64) error {
	switch {
	case rev <= s.compacted:
		return rpctypes.ErrGRPCCompacted
	case rev > s.rev:
		return rpctypes.ErrGRPCFutureRev
	}
	s.compacted = rev
	keys := s.keys[:0]
	for _, k := range s.keys {
		h := s.history[k]
		i := sort.Search(len(h), func(i int) bool { return h[i].rev > rev })
		if i > 0 && (h[i-1].kv != nil || h[i-1].rev == rev) {
			i--
		}
		if i == len(h) {
			delete(s.history, k)
			continue
		}
		s.history[k] = slices.Clone(h[i:])
		keys = append(keys, k)
	}
	clear(s.keys[len(keys):])
	s.keys = keys
	i := sort.Search(len(s.log), func(i int) bool { return s.log[i].Kv.ModRevision >= rev })
	s.log = slices.Clone(s.log[i:])
	return nil
}
