package lock

import (
	"context"
	"encoding/json"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A guard keeps out whoever its hold keeps out. That of a hold with a lock delay
// lies on no lease: if it is found without its hold, the hold was lost
// uncleanly, and the guard is put on a lease of its own, whose end is the end of
// the delay.

// guardOf reads a guard. It returns false for a key that is none.
func guardOf(kv *mvccpb.KeyValue) (guardRecord, bool) {
	if at, ok := locate(string(kv.Key)); !ok || at.what != 'g' {
		return guardRecord{}, false
	}
	var g guardRecord
	if err := json.Unmarshal(kv.Value, &g); err != nil {
		return guardRecord{}, false
	}
	return g, true
}

// orphans returns the guards among taken whose hold is gone and which nobody
// has let expire yet.
func (c *contender) orphans(taken map[string]*mvccpb.KeyValue) []*mvccpb.KeyValue {
	var orphans []*mvccpb.KeyValue
	for _, kv := range taken {
		if kv.Lease != 0 {
			continue
		}
		if g, ok := guardOf(kv); ok && taken[g.Hold] == nil {
			orphans = append(orphans, kv)
		}
	}
	return orphans
}

// letGuardExpire starts the lock delay of an orphaned guard, unless somebody
// else has done so.
func (s *Session) letGuardExpire(guard *mvccpb.KeyValue) {
	g, ok := guardOf(guard)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(s.work, 2*tryTimeout)
	defer cancel()
	lease, err := s.client.Grant(ctx, max(1, int64((g.Delay+time.Second-1)/time.Second)))
	if err != nil {
		s.log.Warn("lock delay not started; another look will", zap.Error(err))
		return
	}
	key := string(guard.Key)
	r, err := s.client.Txn(ctx).If(unchanged(key, guard.ModRevision), absent(g.Hold)).
		Then(clientv3.OpPut(key, string(guard.Value), clientv3.WithLease(lease.ID))).Commit()
	if err == nil && r.Succeeded {
		return
	}
	// A lease that was put to use by a lost request does not outlive the delay.
	if err == nil {
		_, err = s.client.Revoke(ctx, lease.ID)
	}
	if err != nil {
		s.log.Warn("lease of a lock delay is left to end by itself", zap.Error(err))
	}
}
