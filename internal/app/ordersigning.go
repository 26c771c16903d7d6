package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// orderSigning decides when the node begins to sign its orders: once all nodes of the
// cluster can, those that are not live now included. A minion that has seen one signed
// order takes none without a signature from then on, so nobody may be left that sends
// such. What has begun does not end while the node lives.
type orderSigning struct {
	node   job.NodeID
	client *clientv3.Client
	keys   etcdkv.Keys
	log    *zap.Logger
	// signer is nil where connections prove nothing.
	signer *signature.Signer
	ready  atomic.Bool
	// waitsFor is the node that was told of last.
	waitsFor job.NodeID
}

// lookForSigners is how often it is looked whether all nodes can sign.
const lookForSigners = 2 * time.Second

// look finds out whether all nodes can sign.
func (s *orderSigning) look(ctx context.Context) error {
	if s.signer == nil || s.ready.Load() {
		return nil
	}
	resp, err := s.client.Txn(ctx).Then(
		clientv3.OpGet(s.keys.KnownNodes(), clientv3.WithPrefix()), clientv3.OpGet(s.keys.Members(), clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return fmt.Errorf("look whether all nodes sign orders: %w", etcdkv.Unavailable(err))
	}
	var known []etcdkv.KnownNode
	for _, kv := range resp.Responses[0].GetResponseRange().GetKvs() {
		n, err := etcdkv.Decode[etcdkv.KnownNode](string(kv.Key), kv.Value)
		if err != nil {
			return err
		}
		known = append(known, n)
	}
	var live []etcdkv.Member
	for _, kv := range resp.Responses[1].GetResponseRange().GetKvs() {
		m, err := etcdkv.Decode[etcdkv.Member](string(kv.Key), kv.Value)
		if err != nil {
			return err
		}
		live = append(live, m)
	}
	for _, node := range etcdkv.Unsigning(known, live) {
		if node == s.node {
			continue // its former release has written that it exists
		}
		if s.waitsFor != node {
			s.waitsFor = node
			s.log.Info("orders are not signed yet, as a node is of a release that does not sign: update it, or have it forgotten (carillon nodes forget)", zap.String("of", string(node)))
		}
		return nil
	}
	s.ready.Store(true)
	return nil
}

// run looks until the node signs, or ctx is done.
func (s *orderSigning) run(ctx context.Context) error {
	ticker := time.NewTicker(lookForSigners)
	defer ticker.Stop()
	for s.signer != nil && !s.ready.Load() {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.look(ctx); err != nil {
			s.log.Warn("orders are not signed yet", zap.Error(err))
		}
	}
	return nil
}
