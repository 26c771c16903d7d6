package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// AccessState tells the state of the cluster, and who set it.
func (a *Authenticator) AccessState(ctx context.Context) (api.Access, error) {
	rec, _, _, err := a.readState(ctx)
	if err != nil {
		return api.Access{}, err
	}
	v := api.Access{State: rec.State, By: rec.By, Reason: rec.Reason, Since: rec.Since}
	v.Unaware, _, err = a.unaware(ctx)
	return v, err
}

// unaware returns the live nodes whose release knows no rights, and a comparison that
// holds while no other node has come.
func (a *Authenticator) unaware(ctx context.Context) ([]job.NodeID, clientv3.Cmp, error) {
	var nodes []job.NodeID
	gctx, cancel := a.db.Bounded(ctx)
	defer cancel()
	prefix := a.db.Keys.Members()
	resp, err := a.db.Client.Get(gctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, clientv3.Cmp{}, store.Error(ctx, "list nodes", err)
	}
	for _, kv := range resp.Kvs {
		// One that cannot be read is of another release.
		if m, err := store.Decode[etcdkv.Member](kv); err != nil || !m.KnowsAccess {
			nodes = append(nodes, job.NodeID(strings.TrimPrefix(string(kv.Key), prefix)))
		}
	}
	return nodes, clientv3.Compare(clientv3.ModRevision(prefix), "<", resp.Header.Revision+1).WithPrefix(), nil
}

// SetAccess opens or closes the cluster. It is closed only by who can still open it
// again, and while all nodes know what that means.
func (a *Authenticator) SetAccess(ctx context.Context, state State, o api.Order) (api.Access, error) {
	if !slices.Contains(States(), state) {
		return api.Access{}, &job.InvalidError{Problems: []job.Problem{{Path: "state", Message: fmt.Sprintf("%q is no state; there are %v", state, States())}}}
	}
	for range store.Tries {
		v, err := a.trySet(ctx, state, o)
		if !errors.Is(err, errMeanwhile) {
			return v, err
		}
	}
	return api.Access{}, fmt.Errorf("nodes, bindings or the state change all the time; try again: %w", job.ErrConflict)
}

var errMeanwhile = errors.New("something changed meanwhile")

// actions name the changes in the audit.
func action(s State) string {
	return map[State]string{Open: "auth.open", Noting: "auth.note", Closed: "auth.close"}[s]
}

func (a *Authenticator) trySet(ctx context.Context, state State, o api.Order) (api.Access, error) {
	rec, _, kv, err := a.readState(ctx)
	if err != nil {
		return api.Access{}, err
	}
	key := a.db.Keys.Access()
	if State(rec.State) == state && (kv != nil || state == Open) {
		return a.AccessState(ctx)
	}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", store.Revision(kv))}
	if state == Closed {
		more, err := a.mayClose(ctx)
		if err != nil {
			return api.Access{}, err
		}
		cmps = append(cmps, more...)
	} else if State(rec.State) == Closed {
		more, err := a.mayOpen(ctx)
		if err != nil {
			return api.Access{}, err
		}
		cmps = append(cmps, more...)
	}
	next := etcdkv.Access{Schema: etcdkv.Schema, State: string(state), By: caller.Of(ctx, o.By), Reason: o.Reason, Since: a.db.Now().UTC()}
	text, err := etcdkv.Encode(next)
	if err != nil {
		return api.Access{}, err
	}
	audit := a.audit.Record(ctx, action(state), "cluster", o)
	audit.Before = rec.State
	record, err := a.audit.Op(audit)
	if err != nil {
		return api.Access{}, err
	}
	resp, err := a.db.Do(ctx, action(state), cmps, []clientv3.Op{clientv3.OpPut(key, text), record})
	if err != nil {
		return api.Access{}, err
	}
	if !resp.Succeeded {
		return api.Access{}, errMeanwhile
	}
	a.learn(state, resp.Header.Revision)
	return a.AccessState(ctx)
}

// mayClose returns what must still be so when the cluster is closed, or why it cannot
// be closed.
func (a *Authenticator) mayClose(ctx context.Context) ([]clientv3.Cmp, error) {
	nodes, same, err := a.unaware(ctx)
	if err != nil {
		return nil, err
	}
	if len(nodes) > 0 {
		return nil, fmt.Errorf("nodes of a release that knows no rights would go on answering everybody: %v; bring them to this release first: %w", nodes, job.ErrConflict)
	}
	cmps := []clientv3.Cmp{same}
	c, _ := caller.From(ctx)
	if c.Local {
		return cmps, nil
	}
	keeps, more, err := a.admin(ctx, c.Subjects)
	if err != nil {
		return nil, err
	}
	if !keeps {
		return nil, fmt.Errorf("%s would lose all rights by it: to close the cluster, hold the role admin by a binding, or ask over a node's local socket as root or the node's account: %w", orNobody(c.Name), job.ErrConflict)
	}
	stays, err := a.stays(ctx, c)
	if err != nil {
		return nil, err
	}
	return append(append(cmps, more...), stays...), nil
}

// mayOpen returns what must still be so when a closed cluster is opened, or why it cannot
// be: that gives everybody all rights, so that it wants all of them.
func (a *Authenticator) mayOpen(ctx context.Context) ([]clientv3.Cmp, error) {
	c, _ := caller.From(ctx)
	if c.Local {
		return nil, nil
	}
	has, cmps, err := a.admin(ctx, c.Subjects)
	if err == nil && !has {
		err = fmt.Errorf("to open the cluster gives everybody more than you may do yourself; it wants the role admin in all namespaces: %w", job.ErrForbidden)
	}
	return cmps, err
}

// stays returns what holds while the tokens that a caller is known by are there.
func (a *Authenticator) stays(ctx context.Context, c caller.Caller) ([]clientv3.Cmp, error) {
	var cmps []clientv3.Cmp
	for _, s := range c.Subjects {
		if s.Kind != rights.Token {
			continue
		}
		key, kv, _, err := a.named(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision))
	}
	return cmps, nil
}

// admin reports whether bindings give a caller the role admin in all namespaces, and
// returns what holds while they do.
func (a *Authenticator) admin(ctx context.Context, who []rights.Subject) (bool, []clientv3.Cmp, error) {
	stored, err := a.grants.Read(ctx)
	if err != nil {
		return false, nil, err
	}
	admin, _ := stored.Role(rights.Admin)
	same := clientv3.Compare(clientv3.ModRevision(a.db.Keys.RightsGuard()), "=", stored.Guard)
	return stored.Policy().Holds(who, admin, nil), []clientv3.Cmp{same}, nil
}

func orNobody(name string) string {
	if name == "" {
		return "you have not shown who you are (with a token, say), and"
	}
	return name
}
