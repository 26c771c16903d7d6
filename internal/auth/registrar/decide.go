package registrar

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// maxClones bounds the clones that are noted with a minion.
	maxClones = 8
	// maxKeys bounds the keys that may ask for one id.
	maxKeys = 4
	// maxKeysPerAddress bounds those of one address: a stranger who knows a name
	// leaves room for the host that has it.
	maxKeysPerAddress = 2
)

// join decides on a minion that shows no certificate.
func (r *Registrar) join(v *view, a *ask) (*decision, error) {
	switch {
	case v.enrolled() && v.minion.value.Key == string(a.key):
		// It lost the answer or its certificate, or was off for long.
		d, err := r.issue(v, a, v.minion.value)
		if err == nil {
			d.note = "minion joined again by its key"
		}
		return d, err
	case v.enrolled():
		return r.clone(v, a)
	case a.token != nil:
		return r.joinByToken(v, a)
	}
	return r.joinByApproval(v, a)
}

// renew decides on a minion whose certificate was verified.
func (r *Registrar) renew(v *view, a *ask, who auth.Identity) (*decision, error) {
	switch {
	case !v.minion.exists():
		return nil, status.Errorf(codes.PermissionDenied, "minion %s is not enrolled; join again", a.id)
	case !v.enrolled(), v.revoked.exists() && !who.IssuedAt.After(v.revoked.value.Before):
		return nil, status.Errorf(codes.PermissionDenied, "minion %s: its certificate was revoked; join again with a new token", a.id)
	case v.minion.value.Key != string(a.key):
		return nil, status.Errorf(codes.PermissionDenied, "minion %s is enrolled with another key than the one in the request; "+
			"keep the key, or have the minion revoked and join again", a.id)
	}
	return r.issue(v, a, v.minion.value)
}

// clone refuses another key for an id that is enrolled, and notes it the first
// time.
func (r *Registrar) clone(v *view, a *ask) (*decision, error) {
	d := &decision{refused: status.Errorf(codes.AlreadyExists, "minion %s is enrolled with another key: give this host an id of its own; "+
		"or if it replaces the other one, have an operator revoke the minion first", a.id)}
	rec := v.minion.value
	known := slices.ContainsFunc(rec.Clones, func(c etcdkv.Clone) bool { return c.Key == string(a.key) })
	if known || len(rec.Clones) >= maxClones {
		return d, nil
	}
	rec.Clones = append(slices.Clone(rec.Clones), etcdkv.Clone{Key: string(a.key), From: a.from, At: r.now().UTC()})
	put, err := v.minion.put(rec)
	if err != nil {
		return nil, err
	}
	d.ops = []clientv3.Op{put}
	d.note = "an enrolled minion's id was asked for with another key, and refused"
	d.fields = []zap.Field{zap.String("from", a.from), zap.String("key", string(a.key)), zap.String("enrolledKey", rec.Key)}
	return d, nil
}

// wrongWith says what keeps who asks from using a token as a node, or as a minion; empty:
// nothing does. It may be used up when it is used again, by who has used it before.
func (r *Registrar) wrongWith(e entry[etcdkv.JoinToken], a *ask, node, again bool) string {
	t, what := e.value, map[bool]string{true: "nodes", false: "minions"}
	switch {
	// Who does not know the secret is told no more than that.
	case !e.exists(), !a.token.Matches(t.SecretHash):
		return "is not known: it may be used up, expired or deleted"
	case t.Nodes != node:
		return "is for " + what[t.Nodes]
	case !r.now().Before(t.ExpiresAt):
		return "has expired"
	case t.Uses < 1 && !again:
		return "is used up"
	}
	if ok, err := path.Match(t.Minions, string(a.id)); t.Minions != "" && (err != nil || !ok) {
		return "is for " + what[node] + " named " + t.Minions + " only"
	}
	return ""
}

// joinByToken enrolls by one use of a token.
func (r *Registrar) joinByToken(v *view, a *ask) (*decision, error) {
	t := v.token.value
	deny := func(why string) (*decision, error) {
		return nil, status.Errorf(codes.PermissionDenied, "minion %s: the join token %s; ask an operator for a new one", a.id, why)
	}
	if why := r.wrongWith(v.token, a, false, false); why != "" {
		return deny(why)
	}
	if v.revoked.exists() && v.token.create < v.revoked.mod {
		return deny("is older than this minion's revocation")
	}
	d, err := r.issue(v, a, etcdkv.Enrollment{Token: t.ID, EnrolledAt: r.now().UTC()})
	if err != nil {
		return nil, err
	}
	use := v.token.remove()
	if t.Uses--; t.Uses > 0 {
		if use, err = v.token.put(t); err != nil {
			return nil, err
		}
	}
	grant, err := r.grant(a.id, t.Labels, t.By, "token "+t.ID)
	if err != nil {
		return nil, err
	}
	d.ops = append(append(d.ops, use), grant...)
	d.note = "minion enrolled by a token"
	d.fields = []zap.Field{zap.String("token", t.ID), zap.Int("usesLeft", t.Uses), zap.String("key", string(a.key)), zap.String("from", a.from)}
	return d, nil
}

// joinByApproval enrolls if an operator has approved, and else stores the
// request.
func (r *Registrar) joinByApproval(v *view, a *ask) (*decision, error) {
	rec := v.request.value
	i := slices.IndexFunc(rec.Keys, func(k etcdkv.RequestedKey) bool { return k.Key == string(a.key) })
	switch {
	case i >= 0 && !rec.Keys[i].RejectedAt.IsZero():
		return nil, status.Errorf(codes.PermissionDenied, "minion %s: an operator rejected this host", a.id)
	case i >= 0 && !rec.Keys[i].ApprovedAt.IsZero():
		d, err := r.issue(v, a, etcdkv.Enrollment{ApprovedBy: rec.Keys[i].By, EnrolledAt: r.now().UTC()})
		if err != nil {
			return nil, err
		}
		grant, err := r.grant(a.id, rec.Keys[i].Labels, rec.Keys[i].By, "approval")
		if err != nil {
			return nil, err
		}
		d.ops = append(d.ops, grant...)
		d.note = "minion enrolled by approval"
		d.fields = []zap.Field{zap.String("by", rec.Keys[i].By), zap.String("key", string(a.key)), zap.String("from", a.from)}
		return d, nil
	case i >= 0 && r.now().Sub(lastTouched(rec)) < seenEvery:
		return &decision{}, nil // it waits
	case i >= 0: // it still waits, which keeps its place
		rec.Keys = slices.Clone(rec.Keys)
		rec.Keys[i].Seen = r.now().UTC()
		put, err := v.request.put(rec)
		if err != nil {
			return nil, err
		}
		return &decision{ops: []clientv3.Op{put}}, nil
	case r.waiting.places(addressOf(a.from)) >= r.cfg.MaxRequestsPerAddress:
		return nil, status.Errorf(codes.ResourceExhausted, "%d hosts of your address wait for an operator already; use a join token, or ask again later", r.cfg.MaxRequestsPerAddress)
	case waitingKeys(rec, "") >= maxKeys:
		return nil, status.Errorf(codes.ResourceExhausted, "minion %s: %d other hosts ask for this id; have an operator reject them, or give this host another id", a.id, maxKeys)
	case waitingKeys(rec, addressOf(a.from)) >= maxKeysPerAddress:
		return nil, status.Errorf(codes.ResourceExhausted, "minion %s: %d other hosts of your address ask for this id; have an operator reject them, or give this host another id", a.id, maxKeysPerAddress)
	case !v.request.exists() && v.requests >= int64(r.cfg.MaxRequests):
		return nil, status.Errorf(codes.ResourceExhausted, "%d minions wait for an operator already; use a join token, or ask again later", v.requests)
	}
	rec.Schema, rec.ID = etcdkv.Schema, a.id
	rec.Keys = slices.Clone(rec.Keys)
	if len(rec.Keys) >= maxKeys { // the one that was rejected first makes room
		first := 0
		for i, k := range rec.Keys {
			if at := k.RejectedAt; !at.IsZero() && (rec.Keys[first].RejectedAt.IsZero() || at.Before(rec.Keys[first].RejectedAt)) {
				first = i
			}
		}
		rec.Keys = slices.Delete(rec.Keys, first, first+1)
	}
	rec.Keys = append(rec.Keys, etcdkv.RequestedKey{Key: string(a.key), From: a.from, At: r.now().UTC()})
	put, err := v.request.put(rec)
	if err != nil {
		return nil, err
	}
	return &decision{
		ops: []clientv3.Op{put}, note: "minion asks to be enrolled; an operator has to approve",
		written: func() { r.waiting.set(a.id, &rec) },
		fields:  []zap.Field{zap.String("key", string(a.key)), zap.String("from", a.from)},
	}, nil
}

// waitingKeys counts the keys of a request that were not rejected: those of one
// address; empty: all.
func waitingKeys(rec etcdkv.JoinRequest, address string) int {
	n := 0
	for _, k := range rec.Keys {
		if k.RejectedAt.IsZero() && (address == "" || addressOf(k.From) == address) {
			n++
		}
	}
	return n
}

// grant gives a minion that enrolls its labels, in place of all that an earlier
// one of its id had, and keeps a record of it.
func (r *Registrar) grant(id job.MinionID, labels map[string]string, by, with string) ([]clientv3.Op, error) {
	key := r.keys.Grant(id)
	if len(labels) == 0 {
		return []clientv3.Op{clientv3.OpDelete(key)}, nil
	}
	now := r.now().UTC()
	text, err := etcdkv.Encode(etcdkv.Grant{Schema: etcdkv.Schema, ID: id, Labels: labels, By: strings.TrimSpace(by + ", by " + with), Since: now})
	if err != nil {
		return nil, err
	}
	record, err := etcdkv.Encode(etcdkv.Audit{
		Schema: etcdkv.Schema, At: now, By: by, Action: "minion.label", Object: string(id),
		Reason: "joined by " + with + ": " + job.LabelText(labels),
	})
	if err != nil {
		return nil, err
	}
	unique, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("new audit id: %w", err)
	}
	return []clientv3.Op{clientv3.OpPut(key, text), clientv3.OpPut(r.keys.AuditRecord(now, unique.String()), record)}, nil
}
