package registrar

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// TokenTTL is how long a token lasts by default, MaxTokenTTL at most.
	TokenTTL    = time.Hour
	MaxTokenTTL = 30 * 24 * time.Hour
	// MaxTokenUses bounds the uses of one token.
	MaxTokenUses = 100_000
	// MaxNodeUses bounds those of a token for nodes.
	MaxNodeUses = 64
)

// TokenSpec says what a new token is good for. Zero values stand for the
// defaults.
type TokenSpec struct {
	// TTL is how long it lasts. Default TokenTTL, at most MaxTokenTTL.
	TTL time.Duration
	// Uses is how many minions it enrolls. Default 1, at most MaxTokenUses.
	Uses int
	// Minions is a shell pattern, as in "web-*", that the ids of the minions
	// must match. Empty: any.
	Minions string
	// Nodes: it lets nodes join, and no minions: whoever has it gets all that the cluster
	// has. Minions is a pattern of their names then.
	Nodes bool
	// Labels are granted to the minions that enroll by it.
	Labels map[string]string
	// By is who asks for it.
	By string
	// Record returns what is written in the same transaction, such as a record of
	// the token with an ID. Nil: nothing.
	Record func(id string) (clientv3.Op, error)
}

// Approval is what an operator lets a minion have.
type Approval struct {
	// Key is the fingerprint of the minion's key.
	Key auth.Fingerprint
	// Labels are granted to it.
	Labels map[string]string
	By     string
	// Also is written in the same transaction, such as a record of it.
	Also []clientv3.Op
}

func (s TokenSpec) filled() (TokenSpec, error) {
	if s.TTL == 0 {
		s.TTL = TokenTTL
	}
	if s.Uses == 0 {
		s.Uses = 1
	}
	var problems []job.Problem
	if s.TTL < 0 || s.TTL > MaxTokenTTL {
		problems = append(problems, job.Problem{Path: "ttl", Message: fmt.Sprintf("is %s; give more than 0 and at most %s", s.TTL, MaxTokenTTL)})
	}
	if s.Uses < 0 || s.Uses > MaxTokenUses {
		problems = append(problems, job.Problem{Path: "uses", Message: fmt.Sprintf("is %d; give 1 to %d", s.Uses, MaxTokenUses)})
	}
	if _, err := path.Match(s.Minions, ""); err != nil {
		problems = append(problems, job.Problem{Path: "minions", Message: fmt.Sprintf("%q is not a pattern: %v; give one as in \"web-*\"", s.Minions, err)})
	}
	problems = append(problems, labelProblems(s.Labels)...)
	if s.Nodes && s.Uses > MaxNodeUses {
		problems = append(problems, job.Problem{Path: "uses", Message: fmt.Sprintf("is %d; a token for nodes has 1 to %d", s.Uses, MaxNodeUses)})
	}
	if s.Nodes && len(s.Labels) > 0 {
		problems = append(problems, job.Problem{Path: "labels", Message: "are for minions; a node has those of its own settings"})
	}
	if len(problems) > 0 {
		return s, &job.InvalidError{Problems: problems}
	}
	return s, nil
}

// labelProblems tells what is wrong with labels that are to be granted.
func labelProblems(labels map[string]string) []job.Problem {
	var problems []job.Problem
	if n := len(labels); n > job.MaxLabels {
		problems = append(problems, job.Problem{Path: "labels", Message: fmt.Sprintf("there are %d; give at most %d", n, job.MaxLabels)})
	}
	for k, v := range labels {
		if err := job.CheckLabel(k, v); err != nil {
			problems = append(problems, job.Problem{Path: "labels." + k, Message: err.Error()})
		}
	}
	return problems
}

// CreateToken makes a join token. Its Text is to be shown once: the secret is
// not kept. What is wrong with the spec is a *job.InvalidError.
func (r *Registrar) CreateToken(ctx context.Context, spec TokenSpec) (auth.JoinToken, error) {
	spec, err := spec.filled()
	if err != nil {
		return auth.JoinToken{}, err
	}
	t, err := auth.NewToken(r.ca.Certificate())
	if err != nil {
		return auth.JoinToken{}, err
	}
	now := r.now().UTC()
	text, err := etcdkv.Encode(etcdkv.JoinToken{
		Schema: etcdkv.Schema, ID: t.ID, SecretHash: t.SecretHash(), Minions: spec.Minions, Uses: spec.Uses, Nodes: spec.Nodes, Labels: spec.Labels,
		ExpiresAt: now.Add(spec.TTL), By: spec.By, CreatedAt: now,
	})
	if err != nil {
		return auth.JoinToken{}, err
	}
	key := r.keys.AuthToken(t.ID)
	ops := []clientv3.Op{clientv3.OpPut(key, text)}
	if spec.Record != nil {
		record, err := spec.Record(t.ID)
		if err != nil {
			return auth.JoinToken{}, err
		}
		ops = append(ops, record)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	done, err := r.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, ops)
	if err != nil {
		return auth.JoinToken{}, fmt.Errorf("new token: %w", etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		return auth.JoinToken{}, fmt.Errorf("new token: its id %s is taken; try again: %w", t.ID, job.ErrConflict)
	}
	return t, nil
}

// Tokens lists the tokens, those that have expired and were not swept yet
// included, by ID and without their hashes.
func (r *Registrar) Tokens(ctx context.Context) ([]etcdkv.JoinToken, error) {
	all, err := list[etcdkv.JoinToken](ctx, r.client, r.keys.AuthTokens())
	for i := range all {
		all[i].SecretHash = ""
	}
	return all, err
}

// DeleteToken deletes a token, and does also in the same transaction. One that there is
// not is job.ErrNotFound.
func (r *Registrar) DeleteToken(ctx context.Context, id string, also ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := r.keys.AuthToken(id)
	done, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)).
		Then(append([]clientv3.Op{clientv3.OpDelete(key)}, also...)...).Commit()
	if err != nil {
		return fmt.Errorf("delete token %s: %w", id, etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		return fmt.Errorf("token %s: %w", id, job.ErrNotFound)
	}
	return nil
}

// Requests lists the minions that ask to be enrolled, by id, with those that
// were decided on and have not been swept or come back yet.
func (r *Registrar) Requests(ctx context.Context) ([]etcdkv.JoinRequest, error) {
	return list[etcdkv.JoinRequest](ctx, r.client, r.keys.AuthRequests())
}

// Enrolled lists the minions that have enrolled, by id, revoked ones included.
func (r *Registrar) Enrolled(ctx context.Context) ([]etcdkv.Enrollment, error) {
	return list[etcdkv.Enrollment](ctx, r.client, r.keys.AuthMinions())
}

// Revoked lists the revocations, by id; a minion may have enrolled again since.
func (r *Registrar) Revoked(ctx context.Context) ([]etcdkv.Revocation, error) {
	return list[etcdkv.Revocation](ctx, r.client, r.keys.AuthRevocations())
}

// Approve lets the host with this key have the id and the labels; the host gets
// them, with its certificate, when it asks next. No request of this id, or none with this key,
// is job.ErrNotFound.
func (r *Registrar) Approve(ctx context.Context, id job.MinionID, a Approval) error {
	if problems := labelProblems(a.Labels); len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	key := a.Key
	return r.operate(ctx, id, func(v *view) ([]clientv3.Op, error) {
		rec := v.request.value
		i := slices.IndexFunc(rec.Keys, func(k etcdkv.RequestedKey) bool { return k.Key == string(key) })
		if !v.request.exists() {
			return nil, fmt.Errorf("request of minion %s: %w", id, job.ErrNotFound)
		}
		if i < 0 {
			return nil, fmt.Errorf("request of minion %s with the key %q: %w; it asks with %s", id, key, job.ErrNotFound, keysOf(rec))
		}
		rec.Keys = slices.Clone(rec.Keys)
		for j := range rec.Keys {
			rec.Keys[j].ApprovedAt = time.Time{} // at most one
		}
		k := &rec.Keys[i]
		k.ApprovedAt, k.RejectedAt, k.By, k.Labels = r.now().UTC(), time.Time{}, a.By, a.Labels
		put, err := v.request.put(rec)
		return append([]clientv3.Op{put}, a.Also...), err
	})
}

// Reject refuses all hosts that ask for the id now; each is told when it asks
// next, and also is done in the same transaction. After a day that is forgotten. No
// request is job.ErrNotFound.
func (r *Registrar) Reject(ctx context.Context, id job.MinionID, by string, also ...clientv3.Op) error {
	return r.operate(ctx, id, func(v *view) ([]clientv3.Op, error) {
		if !v.request.exists() {
			return nil, fmt.Errorf("request of minion %s: %w", id, job.ErrNotFound)
		}
		rec := v.request.value
		rec.Keys = slices.Clone(rec.Keys)
		for i := range rec.Keys {
			k := &rec.Keys[i]
			k.ApprovedAt, k.RejectedAt, k.By = time.Time{}, r.now().UTC(), by
		}
		put, err := v.request.put(rec)
		return append([]clientv3.Op{put}, also...), err
	})
}

// Revoke makes all certificates that the minion was issued up to now worthless,
// takes its labels away, and forgets what was decided on a request of it. It may enroll again, by a
// token that is made later or by approval. Nodes learn of it by Run. A minion
// that has not enrolled is job.ErrNotFound, one that is revoked job.ErrConflict. What
// is to be done also is in the same transaction.
func (r *Registrar) Revoke(ctx context.Context, id job.MinionID, reason, by string, also ...clientv3.Op) error {
	return r.operate(ctx, id, func(v *view) ([]clientv3.Op, error) {
		if !v.minion.exists() {
			return nil, fmt.Errorf("minion %s is not enrolled: %w", id, job.ErrNotFound)
		}
		if !v.enrolled() {
			return nil, fmt.Errorf("minion %s was revoked on %s by %q: %w", id, v.revoked.value.At.Format(time.RFC3339), v.revoked.value.By, job.ErrConflict)
		}
		now := r.now().UTC()
		rec := v.minion.value
		// Not by this node's clock alone: another one's may be ahead.
		before := now.Truncate(time.Second)
		if rec.IssuedAt.After(before) {
			before = rec.IssuedAt
		}
		if v.revoked.value.Before.After(before) {
			before = v.revoked.value.Before
		}
		rec.RevokedAt = now
		putMinion, err := v.minion.put(rec)
		if err != nil {
			return nil, err
		}
		put, err := v.revoked.put(etcdkv.Revocation{Schema: etcdkv.Schema, ID: id, Before: before, At: now, Reason: reason, By: by})
		if err != nil {
			return nil, err
		}
		ops := []clientv3.Op{putMinion, put, clientv3.OpDelete(r.keys.Grant(id))}
		if v.request.exists() {
			ops = append(ops, v.request.remove())
		}
		return append(ops, also...), nil
	})
}

// operate decides from what is stored of a minion until it is committed.
func (r *Registrar) operate(ctx context.Context, id job.MinionID, decide func(*view) ([]clientv3.Op, error)) error {
	if err := job.CheckName(string(id)); err != nil {
		return &job.InvalidError{Problems: []job.Problem{{Path: "minion", Message: err.Error()}}}
	}
	for range attempts {
		v, err := r.look(ctx, id, "")
		if err != nil {
			return err
		}
		ops, err := decide(v)
		if err != nil {
			return err
		}
		if done, err := r.commit(ctx, v, ops); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("minion %s changes all the time; try again: %w", id, job.ErrConflict)
}

func keysOf(q etcdkv.JoinRequest) []string {
	keys := make([]string, len(q.Keys))
	for i, k := range q.Keys {
		keys[i] = k.Key
	}
	return keys
}
