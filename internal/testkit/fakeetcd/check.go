package fakeetcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// checkPutForm refuses a put that is wrong whatever is stored.
func checkPutForm(r *pb.PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

// checkForm refuses a transaction that is too big or has a part that is wrong.
// A transaction inside another has what the outer one leaves of the limit.
func checkForm(r *pb.TxnRequest, limit int) error {
	n := max(len(r.Compare), len(r.Success), len(r.Failure))
	if n > limit {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if err := checkOp(op, limit-n); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, limit int) error {
	switch o := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		if len(o.RequestRange.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	case *pb.RequestOp_RequestPut:
		return checkPutForm(o.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		if len(o.RequestDeleteRange.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	case *pb.RequestOp_RequestTxn:
		return checkForm(o.RequestTxn, limit)
	default:
		return rpctypes.ErrGRPCKeyNotFound
	}
	return nil
}

// touched are the keys that a branch may put, and the ranges it may delete.
type touched struct {
	puts map[string]bool
	dels []*pb.DeleteRangeRequest
}

// deleted is as blind as etcd's own check: a range without an end escapes it.
func (t *touched) deleted(key string) bool {
	for _, d := range t.dels {
		if !isAbove(d.RangeEnd) && within([]byte(key), d.Key, d.RangeEnd) {
			return true
		}
	}
	return false
}

// checkOverlap refuses a branch that writes a key twice. The two branches of a
// transaction inside it exclude each other.
func checkOverlap(ops []*pb.RequestOp) (touched, error) {
	all := touched{puts: map[string]bool{}}
	for _, op := range ops {
		if d := op.GetRequestDeleteRange(); d != nil {
			all.dels = append(all.dels, d)
		}
	}
	for _, op := range ops {
		r := op.GetRequestTxn()
		if r == nil {
			continue
		}
		then, err := checkOverlap(r.Success)
		if err != nil {
			return all, err
		}
		other, err := checkOverlap(r.Failure)
		if err != nil {
			return all, err
		}
		for k := range then.puts {
			if all.puts[k] || all.deleted(k) {
				return all, rpctypes.ErrGRPCDuplicateKey
			}
			all.puts[k] = true
		}
		for k := range other.puts {
			if all.puts[k] && !then.puts[k] || all.deleted(k) {
				return all, rpctypes.ErrGRPCDuplicateKey
			}
			all.puts[k] = true
		}
		all.dels = append(append(all.dels, then.dels...), other.dels...)
	}
	for _, op := range ops {
		r := op.GetRequestPut()
		if r == nil {
			continue
		}
		k := string(r.Key)
		if all.puts[k] || all.deleted(k) {
			return all, rpctypes.ErrGRPCDuplicateKey
		}
		all.puts[k] = true
	}
	return all, nil
}
