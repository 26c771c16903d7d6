package notifiers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Teller stands on. Store, Audit and Logger must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Test sends a sample to a notifier's receiver. Nil: nothing can be sent from here.
	Test   func(context.Context, *job.Notifier) error
	Logger *zap.Logger
}

// Teller does what people ask of notifiers. Use New. It may be used by many goroutines at
// once.
type Teller struct {
	db    *store.Store
	audit *audit.Log
	test  func(context.Context, *job.Notifier) error
	log   *zap.Logger
}

// New returns a Teller.
func New(deps Deps) *Teller {
	return &Teller{db: deps.Store, audit: deps.Audit, test: deps.Test, log: deps.Logger}
}

// Notifiers returns the notifiers of a namespace, or of all when it is empty, ordered by
// name, with what becomes of their alerts.
func (t *Teller) Notifiers(ctx context.Context, namespace string) ([]api.Notifier, error) {
	prefix, deliveries := t.db.Keys.Notifiers(), t.db.Keys.Deliveries()
	if namespace != "" {
		prefix, deliveries = prefix+namespace+"/", deliveries+namespace+"/"
	}
	all, err := store.ListAs(ctx, t.db, "list notifiers", prefix, func(n *etcdkv.StoredNotifier) api.Notifier { return api.Notifier{Notifier: n.Notifier} })
	if err != nil || len(all) == 0 {
		return all, err
	}
	at := map[job.Key]*api.Notifier{}
	for i := range all {
		at[all[i].Key()] = &all[i]
	}
	err = t.db.List(ctx, "list deliveries", deliveries, func(kv *mvccpb.KeyValue) error {
		v, err := store.Decode[etcdkv.StoredDelivery](kv)
		if n := at[v.Notifier]; err == nil && n != nil {
			n.Count(&v.Delivery)
		}
		return nil // one that cannot be read counts for nothing
	})
	slices.SortFunc(all, func(a, b api.Notifier) int { return a.Key().Compare(b.Key()) })
	return all, err
}

// Notifier returns a notifier with its deliveries, the newest first.
func (t *Teller) Notifier(ctx context.Context, key job.Key) (api.NotifierDetail, error) {
	n, _, err := t.stored(ctx, key)
	if err != nil {
		return api.NotifierDetail{}, err
	}
	v := api.NotifierDetail{Notifier: api.Notifier{Notifier: n.Notifier}, Deliveries: []job.Delivery{}}
	err = t.db.List(ctx, "list deliveries", t.db.Keys.DeliveriesOf(key), func(kv *mvccpb.KeyValue) error {
		if d, err := store.Decode[etcdkv.StoredDelivery](kv); err == nil {
			v.Count(&d.Delivery)
			v.Deliveries = append(v.Deliveries, d.Delivery)
		}
		return nil
	})
	slices.SortFunc(v.Deliveries, func(a, b job.Delivery) int { return b.QueuedAt.Compare(a.QueuedAt) })
	return v, err
}

func (t *Teller) stored(ctx context.Context, key job.Key) (etcdkv.StoredNotifier, *mvccpb.KeyValue, error) {
	kv, err := t.db.Get(ctx, "read notifier "+key.String(), t.db.Keys.Notifier(key))
	if err != nil {
		return etcdkv.StoredNotifier{}, nil, err
	}
	if kv == nil {
		return etcdkv.StoredNotifier{}, nil, fmt.Errorf("notifier %s: %w", key, job.ErrNotFound)
	}
	n, err := store.Decode[etcdkv.StoredNotifier](kv)
	return n, kv, err
}

// DeleteNotifier removes a notifier, and what it had to tell.
func (t *Teller) DeleteNotifier(ctx context.Context, key job.Key) error {
	_, kv, err := t.stored(ctx, key)
	if kv == nil {
		return err // one that cannot be read may go
	}
	var d store.Txn
	d.SameAs(t.db.Keys.Notifier(key), kv.ModRevision)
	d.Remove(t.db.Keys.Notifier(key))
	d.Clear(t.db.Keys.AlertNotesOf(key))
	d.Clear(t.db.Keys.DeliveriesOf(key))
	if err := t.audit.AddDelete(ctx, &d, "notifier", key.String(), kv); err != nil {
		return err
	}
	ok, err := t.db.Commit(ctx, "delete notifier "+key.String(), &d)
	if err == nil && !ok {
		err = fmt.Errorf("notifier %s was changed meanwhile; try again: %w", key, job.ErrConflict)
	}
	if err == nil {
		t.log.Info("notifier deleted", zap.Stringer("notifier", key))
	}
	return err
}

// TestNotifier sends a sample to a notifier's receiver, once, and returns what was in the
// way.
func (t *Teller) TestNotifier(ctx context.Context, key job.Key, o api.Order) error {
	n, kv, err := t.stored(ctx, key)
	if err != nil {
		return err
	}
	if t.test == nil {
		return fmt.Errorf("test notifier %s: this node sends nothing: %w", key, job.ErrUnavailable)
	}
	if err := t.audit.Write(ctx, "test", "notifier "+key.String(), o, t.db.Keys.Notifier(key), kv); err != nil {
		return err
	}
	return t.sample(ctx, &n.Notifier, key)
}

// testWithin bounds a test. It is less than clients wait for an answer (client.RequestTimeout):
// what is in the way is told, and the receiver's silence is not taken for the server's.
const testWithin = 20 * time.Second

func (t *Teller) sample(ctx context.Context, n *job.Notifier, key job.Key) error {
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	err := t.test(ctx, n)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("the receiver has not taken it within %s: %w", testWithin, err)
	}
	return &RefusedError{fmt.Errorf("test of notifier %s: %w", key, err)}
}

// RefusedError is a test whose message was not taken.
type RefusedError struct{ Err error }

// Error implements error.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap makes it a conflict: the notifier is not as its receiver wants it.
func (e *RefusedError) Unwrap() []error { return []error{e.Err, job.ErrConflict} }

// SendAgain has an alert sent again that was settled: under its own id.
func (t *Teller) SendAgain(ctx context.Context, key job.Key, alert string, o api.Order) error {
	if _, _, err := t.stored(ctx, key); err != nil {
		return err
	}
	name := t.db.Keys.Delivery(key, alert)
	kv, err := t.db.Get(ctx, "read delivery "+alert, name)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("alert %s of notifier %s: %w", alert, key, job.ErrNotFound)
	}
	v, err := store.Decode[etcdkv.StoredDelivery](kv)
	if err != nil {
		return err
	}
	if !v.State.Settled() {
		return fmt.Errorf("alert %s is %s, and goes on by itself: %w", alert, v.State, job.ErrConflict)
	}
	before := v.State
	v.State, v.Attempts, v.Error, v.Replays = job.DeliveryPending, 0, "", v.Replays+1
	if v.Message != v.Alert.ID {
		v.Message = "" // the others of its message are not sent
	}
	text, err := etcdkv.MergeUnknown(kv.Value, v)
	if err != nil {
		return err
	}
	if err := t.audit.Write(ctx, "send again", "alert "+alert+" of notifier "+key.String(), o, name, kv, clientv3.OpPut(name, text)); err != nil {
		return err
	}
	t.log.Info("alert is sent again", zap.String("alert", alert), zap.String("it was", string(before)))
	return nil
}
