package registrar

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// nodeView is all that is stored about a host that is to be a node, at one revision.
type nodeView struct {
	node  entry[etcdkv.EtcdNode]
	live  entry[etcdkv.Member]
	token entry[etcdkv.JoinToken]
}

// JoinNode implements authpb.EnrollServer: it gives a host what it needs to be a node
// of a cluster that keeps its data itself. That is all that the cluster has; so it
// takes a token that was made for nodes, whatever certificate the caller may show: the
// seal key is for who has a node's host, and not for who can have a certificate made.
func (r *Registrar) JoinNode(ctx context.Context, req *authpb.JoinNodeRequest) (*authpb.JoinNodeResponse, error) {
	if err := within(r.ranges.joinNode, req); err != nil {
		return nil, err
	}
	for field, text := range map[string]string{"peer_url": req.GetPeerUrl(), "client_url": req.GetClientUrl()} {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" {
			return nil, status.Errorf(codes.InvalidArgument, "%s %q is not of the form https://HOST:PORT", field, text)
		}
	}
	token, err := auth.ParseToken(req.GetToken())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	node := job.NodeID(req.GetNode())
	a, err := r.asked(ctx, job.MinionID(node), req.GetCsr())
	if err != nil {
		return nil, err
	}
	a.token = &token
	leave, err := r.turn(ctx, a.token)
	if err != nil {
		return nil, err
	}
	defer leave()
	for range attempts {
		v, err := r.lookNode(ctx, node, token.ID)
		if err != nil {
			return nil, r.failed(a.id, err)
		}
		ops, err := r.decideNode(v, a, req)
		if _, refusal := status.FromError(err); err != nil && refusal {
			return nil, err
		}
		if err != nil {
			return nil, r.failed(a.id, err)
		}
		if len(ops) > 0 {
			bounded, cancel := context.WithTimeout(ctx, callTimeout)
			done, err := r.txn(bounded, []clientv3.Cmp{v.node.unchanged(), v.live.unchanged(), v.token.unchanged()}, ops)
			cancel()
			if err != nil {
				return nil, r.failed(a.id, etcdkv.Unavailable(err))
			}
			if !done.Succeeded {
				continue
			}
			r.log.Info("a host joined as a node by a token", zap.String("node", string(node)), zap.String("token", token.ID), zap.String("from", a.from))
		}
		return r.answerNode(ctx, node, req)
	}
	return nil, status.Errorf(codes.Aborted, "node %s: too many others join at this moment; ask again", node)
}

func (r *Registrar) lookNode(ctx context.Context, node job.NodeID, token string) (*nodeView, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, m, t := r.keys.EtcdNode(node), r.keys.Member(node), r.keys.AuthToken(token)
	got, err := r.client.Txn(ctx).Then(clientv3.OpGet(n), clientv3.OpGet(m), clientv3.OpGet(t)).Commit()
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", node, etcdkv.Unavailable(err))
	}
	kvs := func(i int) []*mvccpb.KeyValue { return got.Responses[i].GetResponseRange().Kvs }
	var v nodeView
	if v.node, err = entryOf[etcdkv.EtcdNode](n, kvs(0)); err != nil {
		return nil, err
	}
	if v.live, err = entryOf[etcdkv.Member](m, kvs(1)); err != nil {
		return nil, err
	}
	v.token, err = r.token(t, kvs(2))
	return &v, err
}

// decideNode decides on a host that wants to be a node: what is to be written, or why
// it is refused. Nothing is written for one that has joined with its key before.
func (r *Registrar) decideNode(v *nodeView, a *ask, req *authpb.JoinNodeRequest) ([]clientv3.Op, error) {
	t := v.token.value
	known := slices.Contains(t.Used, string(a.key)) // it has lost the answer
	if why := r.wrongWith(v.token, a, true, known); why != "" {
		return nil, status.Errorf(codes.PermissionDenied, "node %s: the join token %s; ask an operator for a new one (carillon nodes token)", a.id, why)
	}
	if r.store == nil {
		return nil, status.Errorf(codes.PermissionDenied, "this cluster's etcd is not its own, so that nodes do not join by tokens: "+
			"give the new node --etcd-endpoints and the seal key file of another one")
	}
	if v.live.exists() {
		return nil, status.Errorf(codes.AlreadyExists, "a node named %s is live: give this host another name (--node), or stop the other one", a.id)
	}
	if known && v.node.exists() && v.node.value.Key == string(a.key) {
		return nil, nil
	}
	now := r.now().UTC()
	put, err := v.node.put(etcdkv.EtcdNode{
		Schema: etcdkv.Schema, Node: job.NodeID(a.id), Member: true, Key: string(a.key), PeerURL: req.GetPeerUrl(), ClientURL: req.GetClientUrl(), JoinedAt: now,
	})
	if err != nil {
		return nil, err
	}
	if !known {
		t.Uses--
		t.Used = append(slices.Clone(t.Used), string(a.key))
	}
	use, err := v.token.put(t)
	if err != nil {
		return nil, err
	}
	record, err := etcdkv.Encode(etcdkv.Audit{Schema: etcdkv.Schema, At: now, By: t.By, Action: "node.join", Object: string(a.id), Reason: "joined by token " + t.ID + " from " + addressOf(a.from)})
	if err != nil {
		return nil, err
	}
	unique, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("new audit id: %w", err)
	}
	return []clientv3.Op{put, use, clientv3.OpPut(r.keys.AuditRecord(now, unique.String()), record)}, nil
}

// answerNode is what a node gets.
func (r *Registrar) answerNode(ctx context.Context, node job.NodeID, req *authpb.JoinNodeRequest) (*authpb.JoinNodeResponse, error) {
	store, err := r.store(ctx)
	if err != nil {
		return nil, r.failed(job.MinionID(node), err)
	}
	der, err := r.ca.SignMember(req.GetCsr(), node, req.GetHosts(), r.now())
	if err != nil {
		return nil, r.failed(job.MinionID(node), err)
	}
	return &authpb.JoinNodeResponse{
		Certificate: der, Ca: r.ca.Certificate().Raw, SealKey: store.SealKey, Endpoints: store.Endpoints, Prefix: r.keys.Prefix(), Cluster: r.cfg.Cluster,
	}, nil
}
