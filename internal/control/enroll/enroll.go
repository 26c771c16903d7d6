package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Enrollment looks after which minions may connect.
type Enrollment interface {
	CreateToken(ctx context.Context, spec registrar.TokenSpec) (auth.JoinToken, error)
	Tokens(ctx context.Context) ([]etcdkv.JoinToken, error)
	DeleteToken(ctx context.Context, id string, also ...clientv3.Op) error
	Requests(ctx context.Context) ([]etcdkv.JoinRequest, error)
	Approve(ctx context.Context, id job.MinionID, a registrar.Approval) error
	Reject(ctx context.Context, id job.MinionID, by string, also ...clientv3.Op) error
	Revoke(ctx context.Context, id job.MinionID, reason, by string, also ...clientv3.Op) error
	Enrolled(ctx context.Context) ([]etcdkv.Enrollment, error)
}

// enrollment returns it, or an error where connections are plain.
func (reg *Registry) enrollment() (Enrollment, error) {
	if reg.enrolling == nil {
		return nil, fmt.Errorf("the nodes run with --insecure: minions connect as they are, and none is enrolled: %w", job.ErrConflict)
	}
	return reg.enrolling, nil
}

// Authority returns the certificate of the cluster's authority. It is no secret.
func (reg *Registry) Authority() (api.Authority, error) {
	if reg.authority == "" {
		return api.Authority{}, fmt.Errorf("the nodes run with --insecure: the cluster has no authority: %w", job.ErrNotFound)
	}
	block, _ := pem.Decode([]byte(reg.authority))
	if block == nil {
		return api.Authority{}, errors.New("the certificate of the cluster's authority is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return api.Authority{}, fmt.Errorf("the certificate of the cluster's authority: %w", err)
	}
	sum := sha256.Sum256(cert.Raw)
	return api.Authority{Certificate: reg.authority, SHA256: hex.EncodeToString(sum[:]), ExpiresAt: cert.NotAfter.UTC()}, nil
}

// CreateToken makes a token by which minions join the cluster.
func (reg *Registry) CreateToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	return reg.create(ctx, req, false)
}

// CreateTokenOfNodes makes a token by which nodes join the cluster. Minions is a glob of
// their names.
func (reg *Registry) CreateTokenOfNodes(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	return reg.create(ctx, req, true)
}

func (reg *Registry) create(ctx context.Context, req api.TokenRequest, nodes bool) (api.JoinToken, error) {
	e, err := reg.enrollment()
	if err != nil {
		return api.JoinToken{}, err
	}
	o, action := req.Order, "token.create"
	if nodes {
		action = "nodetoken.create"
	}
	o.Reason = minions.LabelReason(req.Labels, nil, o.Reason)
	t, err := e.CreateToken(ctx, registrar.TokenSpec{
		TTL: req.TTL, Uses: req.Uses, Minions: req.Minions, Nodes: nodes, Labels: req.Labels, By: caller.Of(ctx, req.By),
		Record: func(id string) (clientv3.Op, error) {
			return reg.audit.Op(reg.audit.Record(ctx, action, id, o))
		},
	})
	if err != nil {
		return api.JoinToken{}, err
	}
	v := api.JoinToken{ID: t.ID}
	all, err := reg.Tokens(ctx)
	for i := range all {
		if all[i].ID == t.ID {
			v = all[i]
		}
	}
	v.Text = t.Text()
	return v, err
}

// Tokens returns the tokens that are still good for something.
func (reg *Registry) Tokens(ctx context.Context) ([]api.JoinToken, error) {
	e, err := reg.enrollment()
	if err != nil {
		return nil, err
	}
	all, err := e.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.JoinToken, 0, len(all))
	for i := range all {
		t := &all[i]
		if reg.db.Now().Before(t.ExpiresAt) {
			out = append(out, api.JoinToken{ID: t.ID, Minions: t.Minions, Nodes: t.Nodes, Uses: t.Uses, Labels: t.Labels, ExpiresAt: t.ExpiresAt, By: t.By})
		}
	}
	return out, nil
}

// DeleteToken ends a token; the minions that have joined by it stay.
func (reg *Registry) DeleteToken(ctx context.Context, id string, o api.Order) error {
	e, err := reg.enrollment()
	if err != nil {
		return err
	}
	record, err := reg.audit.Op(reg.audit.Record(ctx, "token.delete", id, o))
	if err != nil {
		return err
	}
	return e.DeleteToken(ctx, id, record)
}

// JoinRequests returns the minions that wait for an operator.
func (reg *Registry) JoinRequests(ctx context.Context) ([]api.JoinRequest, error) {
	e, err := reg.enrollment()
	if err != nil {
		return nil, err
	}
	all, err := e.Requests(ctx)
	return apiview.Each(all, apiview.JoinRequest), err
}

// ApproveMinion lets a minion join that waits, by the fingerprint of its key: a
// name alone says nothing of who asks for it. The labels are granted to the minion
// when it joins.
func (reg *Registry) ApproveMinion(ctx context.Context, id job.MinionID, fingerprint string, labels map[string]string, o api.Order) error {
	e, err := reg.enrollment()
	if err != nil {
		return err
	}
	if fingerprint == "" {
		return reg.whoAsks(ctx, e, id)
	}
	o.Reason = minions.LabelReason(labels, nil, o.Reason)
	record, err := reg.audit.Op(reg.audit.Record(ctx, "minion.approve", string(id), o))
	if err != nil {
		return err
	}
	return e.Approve(ctx, id, registrar.Approval{
		Key: auth.Fingerprint(fingerprint), Labels: labels, By: caller.Of(ctx, o.By), Also: []clientv3.Op{record},
	})
}

// whoAsks returns an error that lists the keys that ask for an id.
func (reg *Registry) whoAsks(ctx context.Context, e Enrollment, id job.MinionID) error {
	all, err := e.Requests(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(r etcdkv.JoinRequest) bool { return r.ID == id })
	if i < 0 {
		return fmt.Errorf("request of minion %s: %w", id, job.ErrNotFound)
	}
	keys := make([]string, len(all[i].Keys))
	for n, k := range all[i].Keys {
		keys[n] = fmt.Sprintf("%s from %s since %s", k.Key, k.From, k.At.Format(time.RFC3339))
	}
	return apiview.Invalid("fingerprint", fmt.Sprintf("is not given; whoever knows a node can ask for the id %s, so give the fingerprint that the minion logs: %s",
		id, strings.Join(keys, ", ")))
}

// RejectMinion refuses a minion that waits.
func (reg *Registry) RejectMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	e, err := reg.enrollment()
	if err != nil {
		return err
	}
	record, err := reg.audit.Op(reg.audit.Record(ctx, "minion.reject", string(id), o))
	if err != nil {
		return err
	}
	return e.Reject(ctx, id, caller.Of(ctx, o.By), record)
}

// RevokeMinion ends the certificates of a minion, and its session. It comes
// back with a new token only.
func (reg *Registry) RevokeMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	e, err := reg.enrollment()
	if err != nil {
		return err
	}
	record, err := reg.audit.Op(reg.audit.Record(ctx, "minion.revoke", string(id), o))
	if err != nil {
		return err
	}
	return e.Revoke(ctx, id, o.Reason, caller.Of(ctx, o.By), record)
}

// Enrolled returns the minions that have, or had, a certificate.
func (reg *Registry) Enrolled(ctx context.Context) ([]api.Enrollment, error) {
	e, err := reg.enrollment()
	if err != nil {
		return nil, err
	}
	all, err := e.Enrolled(ctx)
	return apiview.Each(all, apiview.Enrollment), err
}

// ForgetMinion removes what is known of a minion that is not connected; it is
// back when it connects again.
func (reg *Registry) ForgetMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	key := reg.db.Keys.Minion(id)
	kv, err := reg.db.Get(ctx, "minion.delete", key)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
	}
	all, err := reg.minions.Known()
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.ID == id && m.Node != "" {
			return fmt.Errorf("minion %s is connected to node %s; stop it first: %w", id, m.Node, job.ErrConflict)
		}
	}
	return reg.audit.Write(ctx, "minion.delete", string(id), o, key, kv, clientv3.OpDelete(key))
}
