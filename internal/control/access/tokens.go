package access

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// CreateAPIToken makes a token. Its text is in the answer only. Who makes it may show
// it, so that it wants all that bindings give to its name already.
func (a *Authenticator) CreateAPIToken(ctx context.Context, req api.APITokenRequest) (api.APIToken, error) {
	if err := a.check(req); err != nil {
		return api.APIToken{}, err
	}
	for range store.Tries {
		same, err := a.mayMake(ctx, req.Name)
		if err != nil {
			return api.APIToken{}, err
		}
		v, err := a.create(ctx, req, []clientv3.Cmp{same}, nil)
		if !errors.Is(err, errMeanwhile) {
			return v, err
		}
	}
	return api.APIToken{}, fmt.Errorf("token %s: roles and bindings change all the time; try again: %w", req.Name, job.ErrConflict)
}

// mayMake returns what must still be so when a token is made: the bindings by which its
// name gives no more than the caller has.
func (a *Authenticator) mayMake(ctx context.Context, name string) (clientv3.Cmp, error) {
	stored, err := a.grants.Read(ctx)
	if err != nil {
		return clientv3.Cmp{}, err
	}
	same := clientv3.Compare(clientv3.ModRevision(a.db.Keys.RightsGuard()), "=", stored.Guard)
	return same, a.holds(ctx, stored.Policy(), rights.Subject{Kind: rights.Token, Name: name})
}

// create makes a token, together with what else is to be done, if the comparisons hold;
// errMeanwhile: one of them does not.
func (a *Authenticator) create(ctx context.Context, req api.APITokenRequest, cmps []clientv3.Cmp, ops []clientv3.Op) (api.APIToken, error) {
	secret, err := apitoken.New()
	if err != nil {
		return api.APIToken{}, err
	}
	id, err := newID()
	if err != nil {
		return api.APIToken{}, err
	}
	now := a.db.Now().UTC()
	by := caller.Of(ctx, req.By)
	t := etcdkv.APIToken{
		Schema: etcdkv.Schema, ID: id, Name: req.Name, Owner: req.Owner, Note: req.Note,
		ExpiresAt: now.Add(req.TTL), By: by, CreatedAt: now,
	}
	if t.Owner == "" {
		t.Owner = by
	}
	token, err := etcdkv.Encode(t)
	if err != nil {
		return api.APIToken{}, err
	}
	name, err := etcdkv.Encode(etcdkv.APITokenName{Schema: etcdkv.Schema, ID: id})
	if err != nil {
		return api.APIToken{}, err
	}
	o := req.Order
	o.Reason = strings.TrimSpace(fmt.Sprintf("%s (%s, until %s)", o.Reason, id, t.ExpiresAt.Format(time.RFC3339)))
	record, err := a.audit.Op(a.audit.Record(ctx, "apitoken.create", req.Name, o))
	if err != nil {
		return api.APIToken{}, err
	}
	names := a.db.Keys.APITokenName(req.Name)
	cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(names), "=", 0))
	ops = append(ops, clientv3.OpPut(names, name), clientv3.OpPut(a.db.Keys.APIToken(secret.Hash()), token), record)
	resp, err := a.db.Do(ctx, "create token "+req.Name, cmps, ops)
	if err != nil {
		return api.APIToken{}, err
	}
	if !resp.Succeeded {
		taken, err := a.db.Get(ctx, "look for the token "+req.Name, names)
		if err != nil {
			return api.APIToken{}, err
		}
		if taken == nil {
			return api.APIToken{}, errMeanwhile
		}
		return api.APIToken{}, fmt.Errorf("there is, or was, a token %s, and bindings go by its name, so no other token gets it; choose another name: %w", req.Name, job.ErrConflict)
	}
	a.log.Info("token made", zap.String("name", t.Name), zap.String("id", id), zap.String("by", by), zap.Time("expires", t.ExpiresAt))
	v := a.view(&t)
	v.Text = secret.Text()
	return v, nil
}

func (a *Authenticator) check(req api.APITokenRequest) error {
	var problems []job.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if err := job.CheckName(req.Name); err != nil {
		add("name", "%v", err)
	} else if isID(req.Name) {
		// A token is ended by its name or its ID: by no other's name.
		add("name", "%q has the form of a token's ID (%d digits and small letters without i, l, o and u), by which tokens are revoked, too; add a character", req.Name, idLength)
	}
	switch {
	case req.TTL <= 0:
		add("ttlSeconds", "is not given; say how long the token is to last, %s at most", a.cfg.MaxAge)
	case req.TTL > a.cfg.MaxAge:
		add("ttlSeconds", "is %s; a token of this cluster lasts %s at most (--token-max-age of the node)", req.TTL, a.cfg.MaxAge)
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// IDs of tokens are 50 bits in these digits.
const (
	idDigits = "0123456789abcdefghjkmnpqrstvwxyz"
	idLength = 10
)

var ids = base32.NewEncoding(idDigits).WithPadding(base32.NoPadding)

// isID reports whether a text has the form of an ID.
func isID(text string) bool {
	return len(text) == idLength && strings.Trim(text, idDigits) == ""
}

// newID returns 50 random bits, which tell tokens apart and open nothing.
func newID() (string, error) {
	b := make([]byte, 7)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("new token: %w", err)
	}
	return ids.EncodeToString(b)[:idLength], nil
}

func (a *Authenticator) view(t *etcdkv.APIToken) api.APIToken {
	v := api.APIToken{
		ID: t.ID, Name: t.Name, Owner: t.Owner, Note: t.Note, ExpiresAt: t.ExpiresAt, Expired: !a.db.Now().Before(t.ExpiresAt),
		By: t.By, CreatedAt: t.CreatedAt,
	}
	if a.db.Now().Before(t.FormerUntil) {
		v.FormerUntil = t.FormerUntil
	}
	return v
}

// APITokens returns all tokens that were not revoked, by their names.
func (a *Authenticator) APITokens(ctx context.Context) ([]api.APIToken, error) {
	all, err := store.ListAll[etcdkv.APIToken](ctx, a.db, "list tokens", a.db.Keys.APITokens())
	if err != nil {
		return nil, err
	}
	uses, err := store.ListAll[etcdkv.APITokenUse](ctx, a.db, "list uses of tokens", a.db.Keys.APITokenUses())
	if err != nil {
		return nil, err
	}
	out := make([]api.APIToken, 0, len(all))
	for i := range all {
		if all[i].Rotated {
			continue // the present text stands for both
		}
		v := a.view(&all[i])
		if at := slices.IndexFunc(uses, func(u etcdkv.APITokenUse) bool { return u.ID == v.ID }); at >= 0 {
			v.LastUsedAt, v.LastUsedFrom = uses[at].At, uses[at].From
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b api.APIToken) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// named returns a token, which is given by its name or its ID, as it is now, its key and
// its pair.
func (a *Authenticator) named(ctx context.Context, ref string) (string, *mvccpb.KeyValue, etcdkv.APIToken, error) {
	var pair *mvccpb.KeyValue
	var found etcdkv.APIToken
	err := a.db.List(ctx, "list tokens", a.db.Keys.APITokens(), func(kv *mvccpb.KeyValue) error {
		if t, err := store.Decode[etcdkv.APIToken](kv); err == nil && !t.Rotated && (t.Name == ref || t.ID == ref && pair == nil) {
			pair, found = kv, t
		}
		return nil
	})
	if err == nil && pair == nil {
		err = fmt.Errorf("token %s: %w", ref, job.ErrNotFound)
	}
	if err != nil {
		return "", nil, found, err
	}
	return string(pair.Key), pair, found, nil
}

// RevokeAPIToken ends a token, which is given by its name or its ID. It wants all that
// bindings give to that name: else who may make small tokens could lock all admins out.
func (a *Authenticator) RevokeAPIToken(ctx context.Context, ref string, o api.Order) error {
	key, kv, found, err := a.named(ctx, ref)
	if err != nil {
		return err
	}
	if _, err := a.mayMake(ctx, found.Name); err != nil {
		return fmt.Errorf("end token %s: %w", found.Name, err)
	}
	former, err := a.formers(ctx, found.ID)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpDelete(key), clientv3.OpDelete(a.db.Keys.APITokenUse(found.ID))}
	for _, old := range former {
		ops = append(ops, clientv3.OpDelete(old))
	}
	// Who rotates the token meanwhile changes its pair.
	if err := a.audit.Write(ctx, "apitoken.revoke", found.Name, o, key, kv, ops...); err != nil {
		return err
	}
	a.haveEnded(append(former, key)...)
	return nil
}

// haveEnded notes that tokens have ended: the view may not know it yet.
func (a *Authenticator) haveEnded(keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keys {
		a.revoked[key] = true
	}
}

// formers returns the keys of the former texts of a token.
func (a *Authenticator) formers(ctx context.Context, id string) ([]string, error) {
	var keys []string
	err := a.db.List(ctx, "list tokens", a.db.Keys.APITokens(), func(kv *mvccpb.KeyValue) error {
		if t, err := store.Decode[etcdkv.APIToken](kv); err == nil && t.Rotated && t.ID == id {
			keys = append(keys, string(kv.Key))
		}
		return nil
	})
	return keys, err
}

// RotateAPIToken gives a token another text, which is in the answer only: name, ID, owner,
// and so what it may do, stay. It wants what CreateAPIToken wants. All former texts end, the
// last one after the grace.
func (a *Authenticator) RotateAPIToken(ctx context.Context, ref string, req api.TokenRotation) (api.APIToken, error) {
	var problems []job.Problem
	if req.TTL < 0 || req.TTL > a.cfg.MaxAge {
		problems = append(problems, job.Problem{Path: "ttlSeconds", Message: fmt.Sprintf("is %s; a token of this cluster lasts %s at most (--token-max-age of the node)", req.TTL, a.cfg.MaxAge)})
	}
	if req.Grace < 0 || req.Grace > api.MaxTokenGrace {
		problems = append(problems, job.Problem{Path: "graceSeconds", Message: fmt.Sprintf("is %s; want 0s to %s", req.Grace, api.MaxTokenGrace)})
	}
	if len(problems) > 0 {
		return api.APIToken{}, &job.InvalidError{Problems: problems}
	}
	for range store.Tries {
		v, err := a.rotate(ctx, ref, req)
		if !errors.Is(err, errMeanwhile) {
			return v, err
		}
	}
	return api.APIToken{}, fmt.Errorf("token %s: it changes all the time, or who may do what; try again: %w", ref, job.ErrConflict)
}

// rotate is one try of RotateAPIToken.
func (a *Authenticator) rotate(ctx context.Context, ref string, req api.TokenRotation) (api.APIToken, error) {
	key, kv, t, err := a.named(ctx, ref)
	if err != nil {
		return api.APIToken{}, err
	}
	same, err := a.mayMake(ctx, t.Name)
	if err != nil {
		return api.APIToken{}, fmt.Errorf("rotate token %s: %w", t.Name, err)
	}
	now := a.db.Now().UTC()
	next, old := t, t
	switch {
	case req.TTL > 0:
		next.ExpiresAt = now.Add(req.TTL)
	case !now.Before(t.ExpiresAt):
		return api.APIToken{}, &job.InvalidError{Problems: []job.Problem{{Path: "ttlSeconds", Message: fmt.Sprintf("is not given, and the token expired at %s; say how long it is to last", t.ExpiresAt.Format(time.RFC3339))}}}
	}
	next.FormerUntil, old.Rotated, old.FormerUntil = time.Time{}, true, time.Time{}
	if until := now.Add(req.Grace); until.Before(old.ExpiresAt) {
		old.ExpiresAt = until
	}
	grace := now.Before(old.ExpiresAt)
	if grace {
		next.FormerUntil = old.ExpiresAt
	}
	secret, err := apitoken.New()
	if err != nil {
		return api.APIToken{}, err
	}
	token, err := etcdkv.MergeUnknown(kv.Value, next)
	if err != nil {
		return api.APIToken{}, err
	}
	ended, err := a.formers(ctx, t.ID)
	if err != nil {
		return api.APIToken{}, err
	}
	ops := []clientv3.Op{clientv3.OpPut(a.db.Keys.APIToken(secret.Hash()), token)}
	if grace {
		text, err := etcdkv.MergeUnknown(kv.Value, old)
		if err != nil {
			return api.APIToken{}, err
		}
		ops = append(ops, clientv3.OpPut(key, text))
	} else {
		ended = append(ended, key)
	}
	for _, k := range ended {
		ops = append(ops, clientv3.OpDelete(k))
	}
	o := req.Order
	until := "the former text has ended"
	if grace {
		until = "the former text until " + old.ExpiresAt.Format(time.RFC3339)
	}
	o.Reason = strings.TrimSpace(fmt.Sprintf("%s (%s, until %s; %s)", o.Reason, t.ID, next.ExpiresAt.Format(time.RFC3339), until))
	record, err := a.audit.Op(a.audit.Record(ctx, "apitoken.rotate", t.Name, o))
	if err != nil {
		return api.APIToken{}, err
	}
	resp, err := a.db.Do(ctx, "rotate token "+t.Name,
		[]clientv3.Cmp{same, clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)}, append(ops, record))
	switch {
	case err != nil:
		return api.APIToken{}, err
	case !resp.Succeeded:
		return api.APIToken{}, errMeanwhile
	}
	a.haveEnded(ended...)
	a.log.Info("token rotated", zap.String("name", t.Name), zap.String("id", t.ID), zap.Time("expires", next.ExpiresAt))
	v := a.view(&next)
	v.Text = secret.Text()
	return v, nil
}

// Self tells who asks, as it is known here, and which roles bindings give to it. The error
// says that etcd does not answer.
func (a *Authenticator) Self(ctx context.Context) (api.Self, error) {
	c, _ := caller.From(ctx)
	v := api.Self{Name: c.Name, Remote: c.Remote, Provider: c.Provider, Until: c.Until, Everything: c.Local}
	for _, s := range c.Subjects {
		v.Subjects = append(v.Subjects, api.Subject{Kind: string(s.Kind), Name: s.Name})
	}
	if len(c.Subjects) == 0 {
		return v, nil
	}
	stored, err := a.grants.Read(ctx)
	if err != nil {
		return v, err
	}
	v.Roles = stored.Held(c.Subjects)
	return v, nil
}

// expiredKept is for how long a token that has expired is still in lists, and told of to
// who shows it.
const expiredKept = 30 * 24 * time.Hour

// SweepTokens removes tokens that have expired for long. Their names stay taken: no other
// token gets what is bound to them.
func (a *Authenticator) SweepTokens(ctx context.Context) error {
	return a.db.List(ctx, "list tokens", a.db.Keys.APITokens(), func(kv *mvccpb.KeyValue) error {
		t, err := store.Decode[etcdkv.APIToken](kv)
		if err != nil || a.db.Now().Sub(t.ExpiresAt) < expiredKept {
			return nil // what cannot be read is no token of this release
		}
		ops := []clientv3.Op{clientv3.OpDelete(string(kv.Key))}
		if !t.Rotated {
			ops = append(ops, clientv3.OpDelete(a.db.Keys.APITokenUse(t.ID)))
		}
		_, err = a.db.Do(ctx, "remove the token "+t.Name, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)}, ops)
		return err
	})
}
