package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// owned is an ownership in the form of one key.
type owned struct {
	key  string
	rev  int64
	held atomic.Bool
}

func (o *owned) Fence() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(o.key), "=", o.rev)
}
func (o *owned) Held() bool { return o.held.Load() }

// cluster is a part of etcd, and a clock that only the test moves.
type cluster struct {
	t      *testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
	now    atomic.Int64
	closed atomic.Int64
	noted  atomic.Int64

	mu   sync.Mutex
	sent []message.Message
	fail func(m *message.Message) error
	// hangs, if it is there, is called without the lock, in the place of all else.
	hangs func(ctx context.Context, m *message.Message) error
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t))}
	c.now.Store(time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *cluster) send(ctx context.Context, _ *job.Notifier, m *message.Message) error {
	c.mu.Lock()
	if hangs := c.hangs; hangs != nil {
		c.mu.Unlock()
		return hangs(ctx, m)
	}
	defer c.mu.Unlock()
	if c.fail != nil {
		if err := c.fail(m); err != nil {
			return err
		}
	}
	c.sent = append(c.sent, *m)
	return nil
}

func (c *cluster) failing(fail func(*message.Message) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

func (c *cluster) sending(hangs func(context.Context, *message.Message) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangs = hangs
}

func (c *cluster) messages() []message.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// node runs a Service that owns all shards until stop is called.
func (c *cluster) node() (stop func()) {
	c.t.Helper()
	resp, err := c.client.Put(c.t.Context(), c.keys.Root()+"owner", "")
	if err != nil {
		c.t.Fatal(err)
	}
	own := &owned{key: c.keys.Root() + "owner", rev: resp.Header.Revision}
	own.held.Store(true)
	s, err := New(Config{Keys: c.keys, Shards: 1}, Deps{
		Client: c.client, Send: c.send, Logger: zaptest.NewLogger(c.t, zaptest.Level(zap.ErrorLevel)), Now: func() time.Time { return time.Unix(0, c.now.Load()) },
		Closed: func(job.Key, time.Time) time.Time {
			if n := c.closed.Load(); n > c.now.Load() {
				return time.Unix(0, n)
			}
			return time.Time{}
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	wg.Go(func() { s.Hold(ctx, 0, own) })
	stop = func() { own.held.Store(false); cancel(); wg.Wait() }
	c.t.Cleanup(stop)
	return stop
}

func (c *cluster) put(key string, v any) {
	c.t.Helper()
	text, err := etcdkv.Encode(v)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.client.Put(c.t.Context(), key, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) notifier(spec job.NotifierSpec) job.Key {
	n := job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "oncall"}, Spec: spec}
	c.put(c.keys.Notifier(n.Key()), etcdkv.StoredNotifier{Schema: 1, Notifier: n})
	return n.Key()
}

func (c *cluster) note(to job.Key, runs ...string) {
	note := etcdkv.AlertNote{Schema: 1}
	for _, r := range runs {
		note.Alerts = append(note.Alerts, job.Alert{ID: job.AlertID(job.RunID(r), job.AlertFailed), Event: job.AlertFailed, Job: job.Key{Namespace: "prod", Name: r}, Run: job.RunID(r)})
	}
	c.put(c.keys.AlertNote(to, fmt.Sprintf("%09d", c.noted.Add(1))), note)
}

// states are those of the deliveries, by run.
func (c *cluster) states(of job.Key) map[string]job.Delivery {
	c.t.Helper()
	resp, err := c.client.Get(c.t.Context(), c.keys.DeliveriesOf(of), clientv3.WithPrefix())
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]job.Delivery{}
	for _, kv := range resp.Kvs {
		v, err := etcdkv.Decode[etcdkv.StoredDelivery](string(kv.Key), kv.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		out[string(v.Alert.Run)] = v.Delivery
	}
	return out
}

func (c *cluster) until(of job.Key, run string, state job.DeliveryState) {
	c.t.Helper()
	await.Until(c.t, run+" is "+string(state), func() bool { return c.states(of)[run].State == state })
}

// forward moves the clock, and has desks look at it.
func (c *cluster) forward(d time.Duration, to job.Key) {
	c.now.Add(int64(d))
	c.put(c.keys.AlertNote(to, "wake"), etcdkv.AlertNote{Schema: 1})
}

// TestN1_N2_OneDelivery: an alert that is noted twice is told once, and its notes go.
func TestN1_N2_OneDelivery(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{})
	c.note(to, "a")
	c.note(to, "a", "b")
	c.node()
	c.until(to, "b", job.DeliveryDelivered)
	c.note(to, "a", "b")
	c.note(to, "c")
	c.until(to, "c", job.DeliveryDelivered)
	got := c.messages()
	if len(got) != 3 || got[0].ID != job.AlertID("a", job.AlertFailed) {
		t.Errorf("%+v", got)
	}
	resp, err := c.client.Get(t.Context(), c.keys.AlertNotes(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%d notes are left: %v", resp.Count, err)
	}
}

// TestN3_N6_DeadReceiver: one try per pause, whatever waits, and all is told in the end.
func TestN3_N6_DeadReceiver(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{})
	var tries atomic.Int32
	c.failing(func(*message.Message) error { tries.Add(1); return errors.New("connection refused") })
	c.note(to, "a", "b", "c")
	c.node()
	c.until(to, "a", job.DeliveryRetrying)
	if d := c.states(to)["a"]; d.Error != "connection refused" || d.Attempts != 1 || !d.NextAt.After(time.Unix(0, c.now.Load())) {
		t.Errorf("%+v", d)
	}
	if n := tries.Load(); n != 1 {
		t.Errorf("%d tries at once", n)
	}
	c.failing(nil)
	c.forward(time.Minute, to)
	for _, run := range []string{"a", "b", "c"} {
		c.until(to, run, job.DeliveryDelivered)
	}
	if got := c.messages(); len(got) != 3 || c.states(to)["a"].Attempts != 2 {
		t.Errorf("%+v", got)
	}
	c.failing(func(*message.Message) error { return &failure{err: errors.New("gone"), forGood: true} })
	c.note(to, "d")
	c.until(to, "d", job.DeliveryFailed)
}

// TestN3_NextOwner: what was pending, or being sent, when the owner died is sent by the
// next one, under the same id.
func TestN3_NextOwner(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{})
	hang := make(chan struct{})
	var ids []string
	c.failing(func(m *message.Message) error {
		ids = append(ids, m.ID)
		select {
		case <-hang:
		default:
			close(hang)
			return errors.New("it was taken, and the answer was lost")
		}
		return nil
	})
	stop := c.node()
	c.note(to, "a")
	<-hang
	stop()
	c.node()
	c.forward(time.Hour, to)
	c.until(to, "a", job.DeliveryDelivered)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("%v", ids)
	}
}

// TestN4_Groups: what is told together stays together, under one id, over tries.
func TestN4_Groups(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{GroupFor: job.Duration(time.Minute)})
	var tried []message.Message
	c.failing(func(m *message.Message) error { tried = append(tried, *m); return errors.New("no") })
	stop := c.node()
	c.note(to, "a", "b")
	c.until(to, "b", job.DeliveryPending)
	c.forward(time.Minute, to)
	c.until(to, "b", job.DeliveryRetrying)
	stop()
	c.failing(nil)
	c.note(to, "c")
	c.forward(time.Hour, to)
	c.node()
	c.until(to, "a", job.DeliveryDelivered)
	c.until(to, "c", job.DeliveryPending)
	c.forward(time.Hour, to)
	c.until(to, "c", job.DeliveryDelivered)
	got := c.messages()
	if len(got) != 2 || len(got[0].Alerts) != 2 || got[0].ID != tried[0].ID || len(got[1].Alerts) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestN4_One: an alert that was sent alone, and of which the answer was lost with its
// owner, is not told together with those that came later.
func TestN4_One(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{GroupFor: job.Duration(time.Minute)})
	tried := make(chan message.Message, 10)
	hang := make(chan struct{})
	c.sending(func(ctx context.Context, m *message.Message) error {
		tried <- *m
		select {
		case <-hang:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	stop := c.node()
	c.note(to, "a")
	c.until(to, "a", job.DeliveryPending)
	c.forward(time.Minute, to)
	first := <-tried
	stop()
	close(hang)
	c.note(to, "b")
	c.node()
	c.until(to, "a", job.DeliveryDelivered)
	c.forward(time.Hour, to)
	c.until(to, "b", job.DeliveryDelivered)
	if again := <-tried; again.ID != first.ID || len(again.Alerts) != 1 {
		t.Errorf("first %s, then %s with %d alerts", first.ID, again.ID, len(again.Alerts))
	}
}

// TestQuietAndRate: alerts wait for the end of quiet hours, and beyond the rate they are
// told in one message.
func TestQuietAndRate(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.closed.Store(c.now.Load() + int64(time.Hour))
	to := c.notifier(job.NotifierSpec{Quiet: []string{"night"}, MaxPerHour: 2})
	c.node()
	c.note(to, "a", "b", "c", "d")
	c.until(to, "d", job.DeliveryPending)
	if got := c.messages(); len(got) != 0 {
		t.Errorf("told in quiet hours: %+v", got)
	}
	c.forward(time.Hour, to)
	c.until(to, "d", job.DeliveryDelivered)
	got := c.messages()
	if len(got) != 2 || len(got[1].Alerts) != 3 {
		t.Errorf("%+v", got)
	}
	c.note(to, "e")
	c.until(to, "e", job.DeliveryPending)
	c.forward(time.Hour, to)
	c.until(to, "e", job.DeliveryDelivered)
}

// TestN7_Bounds: what waits and what is kept is bounded.
func TestN7_Bounds(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{MaxPerHour: job.MaxMaxPerHour})
	c.failing(func(*message.Message) error { return errors.New("no") })
	for i := range 21 { // the last one is of a moment too many
		runs := make([]string, maxTogether)
		for n := range runs {
			runs[n] = fmt.Sprintf("r%02d-%02d", i, n)
		}
		c.note(to, runs...)
	}
	stop := c.node()
	await.Until(t, "too many are dropped", func() bool {
		n := 0
		for _, d := range c.states(to) {
			if d.State == job.DeliveryDropped {
				n++
			}
		}
		return n == maxTogether
	})
	stop()
	c.failing(nil)
	c.forward(time.Hour, to)
	c.node()
	await.Until(t, "all is told, and little is kept", func() bool {
		all := c.states(to)
		for _, d := range all {
			if !d.State.Settled() {
				return false
			}
		}
		return len(all) <= KeepSettled+maxTogether
	})
}

// TestSentAgain: a delivery that somebody has sent again is, under its id.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	to := c.notifier(job.NotifierSpec{})
	c.node()
	c.note(to, "a")
	c.until(to, "a", job.DeliveryDelivered)
	d := c.states(to)["a"]
	d.State, d.Replays = job.DeliveryPending, 1
	c.put(c.keys.Delivery(to, d.Alert.ID), etcdkv.StoredDelivery{Schema: 1, Delivery: d})
	await.Until(t, "it is told again", func() bool { return len(c.messages()) == 2 })
	c.until(to, "a", job.DeliveryDelivered)
	if got := c.messages(); got[0].ID != got[1].ID {
		t.Errorf("%+v", got)
	}
}

// TestNotesOfNobody: notes of a notifier that there is no more are removed.
func TestNotesOfNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.note(job.Key{Namespace: "prod", Name: "gone"}, "a")
	c.node()
	await.Until(t, "the note is gone", func() bool {
		resp, err := c.client.Get(t.Context(), c.keys.AlertNotes(), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && resp.Count == 0
	})
}

// TestStates: each state is reached and left as the table says.
func TestStates(t *testing.T) {
	t.Parallel()
	all := []job.DeliveryState{job.DeliveryPending, job.DeliverySending, job.DeliveryRetrying, job.DeliveryDelivered, job.DeliveryFailed, job.DeliveryDropped}
	for _, from := range all {
		for _, to := range all {
			want := from.Settled() && to == job.DeliveryPending ||
				!from.Settled() && (to == job.DeliveryRetrying || to == job.DeliveryDelivered || to == job.DeliveryFailed || from == job.DeliveryPending && to == job.DeliverySending)
			if MayFollow(from, to) != want {
				t.Errorf("%s -> %s: %t", from, to, !want)
			}
		}
	}
}
