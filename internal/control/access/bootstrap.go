package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// bootstrapLife is how long a bootstrap token is good.
const bootstrapLife = 24 * time.Hour

// Offer makes a bootstrap token, by which somebody becomes admin once, has write keep its
// text, and tells until when it is good. One that was made before and is good stays,
// and then nothing is made, unless another is wanted in its place.
func Offer(ctx context.Context, db *store.Store, log *audit.Log, node job.NodeID, inPlace bool, write func(text string) error) (until time.Time, made bool, err error) {
	key := db.Keys.Bootstrap()
	kv, err := db.Get(ctx, "look for a bootstrap token", key)
	if err != nil {
		return until, false, err
	}
	now := db.Now().UTC()
	if kv != nil && !inPlace {
		if old, err := store.Decode[etcdkv.Bootstrap](kv); err == nil && now.Before(old.ExpiresAt) {
			return until, false, nil
		}
	}
	secret, err := apitoken.New()
	if err != nil {
		return until, false, err
	}
	// The file first: a token whose text nobody has helps nobody, and one that etcd does
	// not know opens nothing.
	if err := write(secret.Text()); err != nil {
		return until, false, err
	}
	until = now.Add(bootstrapLife)
	value, err := etcdkv.Encode(etcdkv.Bootstrap{Schema: etcdkv.Schema, Hash: secret.Hash(), Node: node, CreatedAt: now, ExpiresAt: until})
	if err != nil {
		return until, false, err
	}
	record, err := log.Op(log.Record(ctx, "bootstrap.offer", "cluster", api.Order{By: "node " + string(node)}))
	if err != nil {
		return until, false, err
	}
	resp, err := db.Do(ctx, "make a bootstrap token", []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", store.Revision(kv))},
		[]clientv3.Op{clientv3.OpPut(key, value), record})
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("another node made a bootstrap token at the same time: %w", job.ErrConflict)
	}
	return until, err == nil, err
}

// Bootstrap makes a token with the role admin for who shows the text of the bootstrap
// token, which is good for nothing afterwards.
func (a *Authenticator) Bootstrap(ctx context.Context, text string, req api.APITokenRequest) (api.APIToken, error) {
	c, _ := caller.From(ctx)
	now := a.db.Now()
	if err := kept(&a.wrong, c.Remote, now); err != nil {
		return api.APIToken{}, err
	}
	refuse := func(reason string) (api.APIToken, error) {
		a.wrong.Failed(limit.Address(c.Remote), now)
		return api.APIToken{}, &caller.RefusedError{Reason: reason}
	}
	shown, err := apitoken.Parse(text)
	if err != nil {
		return refuse(err.Error())
	}
	if err := a.check(req); err != nil {
		return api.APIToken{}, err
	}
	key := a.db.Keys.Bootstrap()
	revision, good, err := a.bootstraps(ctx, shown.Hash())
	if err != nil {
		return api.APIToken{}, err
	}
	if !good {
		return refuse("this is no bootstrap token of the cluster, or no more: it is good once, and for a day; `scheduler --reset-bootstrap` on a node's host makes another")
	}
	by := caller.With(ctx, caller.Caller{Name: "bootstrap token", Remote: c.Remote})
	cmps, ops, err := a.bind("token-"+req.Name, rights.Admin, rights.Subject{Kind: rights.Token, Name: req.Name})
	if err != nil {
		return api.APIToken{}, err
	}
	v, err := a.create(by, req, append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", revision)), append(ops, clientv3.OpDelete(key)))
	if errors.Is(err, errMeanwhile) {
		err = fmt.Errorf("there is a role binding token-%s, so choose another name; or the bootstrap token was used meanwhile: %w", req.Name, job.ErrConflict)
	}
	return v, err
}

// bootstraps reports whether a hash is that of the bootstrap token, which is good, and the
// revision of its key.
func (a *Authenticator) bootstraps(ctx context.Context, hash string) (revision int64, good bool, err error) {
	kv, err := a.db.Get(ctx, "look for the bootstrap token", a.db.Keys.Bootstrap())
	if err != nil || kv == nil {
		return 0, false, err
	}
	held, err := store.Decode[etcdkv.Bootstrap](kv)
	if err != nil {
		return 0, false, err
	}
	return kv.ModRevision, subtle.ConstantTimeCompare([]byte(held.Hash), []byte(hash)) == 1 && a.db.Now().Before(held.ExpiresAt), nil
}

// GoodBootstrap reports whether a text is that of the bootstrap token: it was neither used
// nor replaced, and has not expired.
func (a *Authenticator) GoodBootstrap(ctx context.Context, text string) (bool, error) {
	shown, malformed := apitoken.Parse(text)
	if malformed != nil {
		return false, nil
	}
	_, good, err := a.bootstraps(ctx, shown.Hash())
	return good, err
}

// OfferBootstrap has a token be kept by which somebody becomes admin once, where the
// cluster is closed and no binding gives anybody that role; until when it is good; false:
// none was made.
func (a *Authenticator) OfferBootstrap(ctx context.Context, node job.NodeID, keep func(text string) error) (time.Time, bool, error) {
	if a.State() != Closed {
		return time.Time{}, false, nil
	}
	stored, err := a.grants.Read(ctx)
	if err != nil || stored.Given(rights.Admin) {
		return time.Time{}, false, err
	}
	until, made, err := Offer(ctx, a.db, a.audit, node, false, keep)
	if errors.Is(err, job.ErrConflict) {
		return time.Time{}, false, nil // another node has made one
	}
	return until, made, err
}

// bind returns what gives a role to somebody by a new binding.
func (a *Authenticator) bind(name, role string, to rights.Subject) ([]clientv3.Cmp, []clientv3.Op, error) {
	now := a.db.Now().UTC()
	text, err := etcdkv.Encode(&etcdkv.StoredRoleBinding{Schema: etcdkv.Schema, RoleBinding: job.RoleBinding{
		Metadata:  job.Metadata{Namespace: job.DefaultNamespace, Name: name},
		Spec:      job.RoleBindingSpec{Role: role, Subjects: []job.RoleSubject{{Kind: string(to.Kind), Name: to.Name}}},
		CreatedAt: now, UpdatedAt: now,
	}})
	if err != nil {
		return nil, nil, err
	}
	key := a.db.Keys.RoleBinding(name)
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(key, text), clientv3.OpPut(a.db.Keys.RightsGuard(), "")}, nil
}
