package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// State is how far a cluster looks at rights.
type State string

// The states.
const (
	// Open: everybody who reaches the API may do everything.
	Open State = "open"
	// Noting: as Open, and what Closed would refuse is logged and counted.
	Noting State = "noting"
	// Closed: what no binding allows is refused.
	Closed State = "closed"
)

// States are all of them.
func States() []State { return []State{Open, Noting, Closed} }

// Door tells the state of the cluster as this node knows it.
type Door interface {
	State() State
}

// known is the state as of a revision.
type known struct {
	state State
	rev   int64
}

// State implements Door. Until the state is known, and when it is one that this release
// does not know, the cluster is closed.
func (a *Authenticator) State() State {
	if k := a.state.Load(); k != nil {
		return k.state
	}
	return Closed
}

// learn takes over a state, unless a newer one is known.
func (a *Authenticator) learn(state State, rev int64) {
	if !slices.Contains(States(), state) {
		a.log.Error("the cluster's state is none that this release knows; it is taken for closed", zap.String("state", string(state)))
		state = Closed
	}
	for {
		was := a.state.Load()
		if was != nil && was.rev >= rev {
			return
		}
		if a.state.CompareAndSwap(was, &known{state, rev}) {
			if was != nil && was.state != state {
				a.log.Info("the cluster's access has changed", zap.String("from", string(was.state)), zap.String("to", string(state)))
			}
			return
		}
	}
}

// ReadState reads the state of the cluster. A node must not start without it: where etcd
// does not answer, it is asked again until ctx ends. The error says that it does not, or that
// the state is none that this release knows.
func (a *Authenticator) ReadState(ctx context.Context) error {
	wait := backoff.Backoff{Least: 100 * time.Millisecond, Most: 2 * time.Second}
	rec, rev, _, err := a.readState(ctx)
	for errors.Is(err, job.ErrUnavailable) && wait.Pause(ctx) {
		rec, rev, _, err = a.readState(ctx)
	}
	if err != nil {
		return err
	}
	if !slices.Contains(States(), State(rec.State)) {
		return fmt.Errorf("the cluster's access is %q, which this release does not know; run one that does", rec.State)
	}
	a.learn(State(rec.State), rev)
	return nil
}

// readState returns the stored state, the revision as of which it is so, and the pair.
// Without one the cluster is open, as one that is older than that is; but where a restore or
// a promotion is under way, it is closed: the state may be yet to come.
func (a *Authenticator) readState(ctx context.Context) (etcdkv.Access, int64, *mvccpb.KeyValue, error) {
	rec := etcdkv.Access{State: string(Open)}
	resp, err := a.db.Do(ctx, "read the cluster's access", nil, []clientv3.Op{clientv3.OpGet(a.db.Keys.Access()), clientv3.OpGet(a.db.Keys.Hold())})
	if err != nil {
		return rec, 0, nil, err
	}
	kvs, hold := resp.Responses[0].GetResponseRange().GetKvs(), resp.Responses[1].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		if len(hold) > 0 {
			if h, err := store.Decode[etcdkv.Hold](hold[0]); err != nil || h.State == etcdkv.HoldRestoring {
				rec.State = string(Closed)
			}
		}
		return rec, resp.Header.Revision, nil, nil
	}
	rec, err = store.Decode[etcdkv.Access](kvs[0])
	return rec, resp.Header.Revision, kvs[0], err
}

// watchState keeps the state current. That its key is gone says nothing: a restore deletes
// what is there first, and the nodes of a standby serve meanwhile. The cluster stays as it
// was until there is another state.
func (a *Authenticator) watchState(ctx context.Context) error {
	return etcdkv.Follow(ctx, a.db.Client, a.db.Keys.Access(), func(b etcdkv.Batch) error {
		for _, e := range b.Events {
			if e.Key != a.db.Keys.Access() || e.Value == nil {
				continue
			}
			rec, err := etcdkv.Decode[etcdkv.Access](e.Key, e.Value)
			if err != nil {
				a.log.Error("the cluster's access cannot be read; it is taken for closed", zap.Error(err))
				rec.State = string(Closed)
			}
			a.learn(State(rec.State), b.Rev)
		}
		return nil
	})
}
