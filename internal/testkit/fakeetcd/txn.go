package fakeetcd

import (
	"bytes"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// writing is a transaction under way; the server's mu is held.
type writing struct {
	s      *Server
	events []*mvccpb.Event
}

// now is the revision that the transaction reads at.
func (w *writing) now() int64 {
	if len(w.events) > 0 {
		return w.s.rev + 1
	}
	return w.s.rev
}

func (w *writing) put(r *pb.PutRequest) *pb.PutResponse {
	key, rev := string(r.Key), w.s.rev+1
	old := w.s.at(key, rev)
	kv := &mvccpb.KeyValue{Key: r.Key, Value: r.Value, CreateRevision: rev, ModRevision: rev, Version: 1, Lease: r.Lease}
	if old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
		w.s.detach(old.Lease, key)
		if r.IgnoreValue {
			kv.Value = old.Value
		}
		if r.IgnoreLease {
			kv.Lease = old.Lease
		}
	}
	w.s.attach(kv.Lease, key)
	w.change(key, kv)
	out := &pb.PutResponse{Header: w.s.header(rev)}
	if r.PrevKv {
		out.PrevKv = clone(old)
	}
	return out
}

func (w *writing) remove(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	out := &pb.DeleteRangeResponse{}
	for _, kv := range w.s.list(r.Key, r.RangeEnd, w.s.rev+1) {
		if r.PrevKv {
			out.PrevKvs = append(out.PrevKvs, clone(kv))
		}
		w.s.detach(kv.Lease, string(kv.Key))
		w.change(string(kv.Key), nil)
		out.Deleted++
	}
	out.Header = w.s.header(w.now())
	return out
}

// change adds a version to a key's history.
func (w *writing) change(key string, kv *mvccpb.KeyValue) {
	rev := w.s.rev + 1
	h, known := w.s.history[key]
	if !known {
		i, _ := slices.BinarySearch(w.s.keys, key)
		w.s.keys = slices.Insert(w.s.keys, i, key)
	}
	w.s.history[key] = append(h, version{rev, kv})
	e := &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv}
	if kv == nil {
		e = &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
	}
	w.events = append(w.events, e)
}

// commit ends the transaction: its revision is the last one now, and watchers
// are told.
func (w *writing) commit() {
	if len(w.events) == 0 {
		return
	}
	w.s.rev++
	w.s.log = append(w.s.log, w.events...)
	w.s.notify(w.events)
}

// checkPut refuses a put that cannot be done.
func (s *Server) checkPut(r *pb.PutRequest) error {
	if r.Lease != 0 && s.leases[r.Lease] == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	if (r.IgnoreValue || r.IgnoreLease) && s.at(string(r.Key), s.rev) == nil {
		return rpctypes.ErrGRPCKeyNotFound
	}
	return nil
}

// path says which branch of a transaction is taken, and of those inside it, in
// order. All is decided before anything is written.
type path struct {
	succeeded bool
	ops       []*pb.RequestOp
	inner     []*path
}

func (s *Server) decide(r *pb.TxnRequest) (*path, error) {
	p := &path{succeeded: true, ops: r.Success}
	for _, c := range r.Compare {
		if !s.holds(c) {
			p.succeeded, p.ops = false, r.Failure
			break
		}
	}
	for _, op := range p.ops {
		var err error
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			err = s.checkRev(o.RequestRange.Revision, s.rev)
		case *pb.RequestOp_RequestPut:
			err = s.checkPut(o.RequestPut)
		case *pb.RequestOp_RequestTxn:
			var in *path
			in, err = s.decide(o.RequestTxn)
			p.inner = append(p.inner, in)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// holds reports whether a comparison is true. Where there is no key, all is
// compared with zero, and values never hold.
func (s *Server) holds(c *pb.Compare) bool {
	kvs := s.list(c.Key, c.RangeEnd, s.rev)
	if len(kvs) == 0 {
		return c.Target != pb.Compare_VALUE && holdsFor(c, &mvccpb.KeyValue{})
	}
	return !slices.ContainsFunc(kvs, func(kv *mvccpb.KeyValue) bool { return !holdsFor(c, kv) })
}

func holdsFor(c *pb.Compare, kv *mvccpb.KeyValue) bool {
	var d int
	switch c.Target {
	case pb.Compare_VALUE:
		d = bytes.Compare(kv.Value, c.GetValue())
	case pb.Compare_CREATE:
		d = compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_MOD:
		d = compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_VERSION:
		d = compare(kv.Version, c.GetVersion())
	case pb.Compare_LEASE:
		d = compare(kv.Lease, c.GetLease())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return d == 0
	case pb.Compare_NOT_EQUAL:
		return d != 0
	case pb.Compare_GREATER:
		return d > 0
	default:
		return d < 0
	}
}

// run does what the path says.
func (w *writing) run(p *path) (*pb.TxnResponse, error) {
	out := &pb.TxnResponse{Succeeded: p.succeeded}
	inner := p.inner
	for _, op := range p.ops {
		r := &pb.ResponseOp{}
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			got, err := w.s.read(o.RequestRange, w.now())
			if err != nil {
				return nil, err
			}
			r.Response = &pb.ResponseOp_ResponseRange{ResponseRange: got}
		case *pb.RequestOp_RequestPut:
			r.Response = &pb.ResponseOp_ResponsePut{ResponsePut: w.put(o.RequestPut)}
		case *pb.RequestOp_RequestDeleteRange:
			r.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: w.remove(o.RequestDeleteRange)}
		case *pb.RequestOp_RequestTxn:
			got, err := w.run(inner[0])
			if err != nil {
				return nil, err
			}
			inner = inner[1:]
			r.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: got}
		}
		out.Responses = append(out.Responses, r)
	}
	out.Header = &pb.ResponseHeader{} // etcd tells the revision on the outside only
	return out, nil
}
