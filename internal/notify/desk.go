package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/job"
)

// Bounds of what a notifier has; see N6 and N7.
const (
	// MaxOpen is how many alerts may wait for a receiver.
	MaxOpen = 1000
	// KeepSettled is how many deliveries are kept that are settled.
	KeepSettled = 200
	// MaxAttempts is how often a message is tried.
	MaxAttempts = 12
	// maxTogether is how many alerts one message tells.
	maxTogether = 50

	writeTimeout = 5 * time.Second
	// retryWrite is the pause after a write that failed.
	retryWrite = time.Second
	// maxHeldUp bounds how long a failure holds up other messages.
	maxHeldUp = 10 * time.Minute
	// idle is how long a desk sleeps that has nothing to do.
	idle = time.Hour
)

// pauses are those between the tries of a message: a day, all in all.
func pauses() []time.Duration {
	return []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 5 * time.Hour, 8 * time.Hour,
	}
}

// desk sees to the deliveries of one notifier. Its run owns all fields but those below mu.
type desk struct {
	s   *Service
	n   *job.Notifier
	own Owned
	log *zap.Logger

	// open are deliveries that are not settled, in the order in which they came; settled
	// the ids of those that are, the oldest first.
	open    []*job.Delivery
	settled []string
	// known are all of them, and how often somebody has had each sent again.
	known map[string]int
	// blocked is until when the receiver is left alone; spent are the times of the
	// messages of the last hour.
	blocked time.Time
	spent   []time.Time

	mu sync.Mutex
	// mu guards what others have left here; wake tells of it.
	notes []string
	heard map[string][]byte
	wake  chan struct{}
}

func newDesk(s *Service, n *job.Notifier, own Owned) *desk {
	return &desk{
		s: s, n: n, own: own, log: s.log.With(zap.Stringer("notifier", n.Key())),
		known: map[string]int{}, heard: map[string][]byte{}, wake: make(chan struct{}, 1),
	}
}

func (d *desk) knock() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// note tells which notes there are.
func (d *desk) note(keys []string) {
	d.mu.Lock()
	d.notes = keys
	d.mu.Unlock()
	d.knock()
}

// hear tells of a delivery that was written, by this desk or by somebody who wants it sent
// again.
func (d *desk) hear(key string, value []byte) {
	d.mu.Lock()
	d.heard[key] = value
	d.mu.Unlock()
	d.knock()
}

// run sees to the deliveries until ctx ends.
func (d *desk) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.load(ctx)
		if err == nil {
			break
		}
		d.log.Warn("deliveries are not read yet", zap.Error(err))
		backoff.Sleep(ctx, retryWrite)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-timer.C:
		}
		wait, err := d.step(ctx)
		if err != nil {
			if ctx.Err() != nil || !d.own.Held() {
				<-ctx.Done() // the shard is another's
				return
			}
			d.log.Warn("deliveries are not written yet", zap.Error(err))
			wait = backoff.Jittered(retryWrite)
			if err := d.load(ctx); err != nil {
				wait = retryWrite
			}
		}
		timer.Reset(max(wait, 0))
	}
}

// load reads what is stored of the notifier's deliveries.
func (d *desk) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	resp, err := d.s.deps.Client.Get(ctx, d.s.cfg.Keys.DeliveriesOf(d.n.Key()), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	d.open, d.settled, d.known = nil, nil, map[string]int{}
	var done []*job.Delivery
	for _, kv := range resp.Kvs {
		v, err := etcdkv.Decode[etcdkv.StoredDelivery](string(kv.Key), kv.Value)
		if err != nil {
			d.log.Error("a delivery cannot be read", zap.String("key", string(kv.Key)), zap.Error(err))
			continue
		}
		d.known[v.Alert.ID] = v.Replays
		if v.State.Settled() {
			done = append(done, &v.Delivery)
		} else {
			d.open = append(d.open, &v.Delivery)
		}
	}
	slices.SortFunc(d.open, func(a, b *job.Delivery) int {
		return cmp.Or(a.QueuedAt.Compare(b.QueuedAt), cmp.Compare(a.Alert.ID, b.Alert.ID))
	})
	slices.SortFunc(done, func(a, b *job.Delivery) int { return a.SettledAt.Compare(b.SettledAt) })
	for _, v := range done {
		d.settled = append(d.settled, v.Alert.ID)
	}
	return nil
}

// step does what can be done, and returns when to look again.
func (d *desk) step(ctx context.Context) (time.Duration, error) {
	if err := d.takeHeard(); err != nil {
		return 0, err
	}
	if err := d.takeNotes(ctx); err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		now := d.s.deps.Now()
		msg, at := d.next(now)
		if msg == nil {
			return at.Sub(now), nil
		}
		if err := d.send(ctx, msg); err != nil {
			return 0, err
		}
		if err := d.takeNotes(ctx); err != nil {
			return 0, err
		}
	}
	return idle, nil
}

// takeHeard takes up deliveries that somebody wants sent again.
func (d *desk) takeHeard() error {
	d.mu.Lock()
	heard := d.heard
	d.heard = map[string][]byte{}
	d.mu.Unlock()
	for key, value := range heard {
		v, err := etcdkv.Decode[etcdkv.StoredDelivery](key, value)
		if err != nil {
			continue
		}
		at := slices.Index(d.settled, v.Alert.ID)
		if at < 0 || v.State != job.DeliveryPending || v.Replays <= d.known[v.Alert.ID] {
			continue // this desk has written it
		}
		d.known[v.Alert.ID] = v.Replays
		d.settled = slices.Delete(d.settled, at, at+1)
		d.open = append(d.open, &v.Delivery)
		d.blocked = time.Time{}
	}
	return nil
}

// takeNotes makes deliveries of notes (N2).
func (d *desk) takeNotes(ctx context.Context) error {
	d.mu.Lock()
	notes := d.notes
	d.notes = nil
	d.mu.Unlock()
	slices.Sort(notes)
	for _, key := range notes {
		if err := d.takeNote(ctx, key); err != nil {
			d.mu.Lock()
			if d.notes == nil {
				d.notes = notes
			}
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

func (d *desk) takeNote(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	resp, err := d.s.deps.Client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return err // taken already
	}
	note, err := etcdkv.Decode[etcdkv.AlertNote](key, resp.Kvs[0].Value)
	if err != nil {
		d.log.Error("a note cannot be read and is dropped", zap.Error(err))
	}
	ops := []clientv3.Op{clientv3.OpDelete(key)}
	var fresh []*job.Delivery
	now := d.s.deps.Now().UTC()
	for i := range note.Alerts {
		a := note.Alerts[i]
		if _, known := d.known[a.ID]; known || slices.ContainsFunc(fresh, func(f *job.Delivery) bool { return f.Alert.ID == a.ID }) {
			continue // N1: told again by another owner
		}
		v := &job.Delivery{Notifier: d.n.Key(), Alert: a, State: job.DeliveryPending, QueuedAt: now}
		if len(d.open)+len(fresh) >= MaxOpen {
			v.State, v.SettledAt, v.Error = job.DeliveryDropped, now, "too many alerts wait for this receiver"
			d.s.sent.WithLabelValues(string(v.State)).Inc()
		}
		op, err := d.put(v)
		if err != nil {
			return err
		}
		ops, fresh = append(ops, op), append(fresh, v)
	}
	if err := d.commit(ctx, ops); err != nil {
		return err
	}
	for _, v := range fresh {
		d.known[v.Alert.ID] = 0
		if v.State.Settled() {
			d.settled = append(d.settled, v.Alert.ID)
		} else {
			d.open = append(d.open, v)
		}
	}
	return nil
}

func (d *desk) put(v *job.Delivery) (clientv3.Op, error) {
	text, err := etcdkv.Encode(etcdkv.StoredDelivery{Schema: etcdkv.Schema, Delivery: *v})
	return clientv3.OpPut(d.s.cfg.Keys.Delivery(d.n.Key(), v.Alert.ID), text), err
}

var errNotOurs = errors.New("the notifier's shard, or the notifier, is no more as it was")

// commit writes under the shard's fence, and only while the notifier is there.
func (d *desk) commit(ctx context.Context, ops []clientv3.Op) error {
	there := clientv3.Compare(clientv3.CreateRevision(d.s.cfg.Keys.Notifier(d.n.Key())), ">", 0)
	resp, err := d.s.deps.Client.Txn(ctx).If(d.own.Fence(), there).Then(ops...).Commit()
	if err == nil && !resp.Succeeded {
		err = errNotOurs
	}
	return err
}

// next returns the deliveries that make the next message; none: when to look again.
func (d *desk) next(now time.Time) ([]*job.Delivery, time.Time) {
	if len(d.open) == 0 {
		return nil, now.Add(idle)
	}
	if now.Before(d.blocked) {
		return nil, d.blocked
	}
	if until := d.quiet(now); !until.IsZero() {
		return nil, until
	}
	d.spent = slices.DeleteFunc(d.spent, func(t time.Time) bool { return !t.After(now.Add(-time.Hour)) })
	most := d.n.Spec.MaxPerHour
	if most == 0 {
		most = job.DefaultMaxPerHour
	}
	// The last of the hour's messages tells all that wait; and so are told those that had to.
	full := len(d.spent) >= most
	if full {
		return nil, d.spent[0].Add(time.Hour)
	}
	soonest := now.Add(idle)
	// What was begun goes first, as it was begun (N4).
	for _, v := range d.open {
		if v.Message == "" {
			continue
		}
		if now.Before(v.NextAt) {
			soonest = earlier(soonest, v.NextAt)
			continue
		}
		return d.withMessage(v.Message), now
	}
	var fresh []*job.Delivery
	for _, v := range d.open {
		if v.Message == "" {
			fresh = append(fresh, v)
		}
	}
	if len(fresh) == 0 {
		return nil, soonest
	}
	wait := time.Duration(d.n.Spec.GroupFor)
	if ready := fresh[0].QueuedAt.Add(wait); now.Before(ready) && len(fresh) < maxTogether {
		return nil, earlier(soonest, ready)
	}
	many := 1
	if wait > 0 || len(d.spent) == most-1 {
		many = maxTogether
	}
	return fresh[:min(many, len(fresh))], now
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (d *desk) withMessage(id string) []*job.Delivery {
	var out []*job.Delivery
	for _, v := range d.open {
		if v.Message == id {
			out = append(out, v)
		}
	}
	return out
}

// quiet returns until when nothing is told; zero: it is.
func (d *desk) quiet(now time.Time) time.Time {
	var until time.Time
	for _, key := range d.n.Spec.QuietKeys(d.n.Namespace) {
		if t := d.s.deps.Closed(key, now); t.After(until) {
			until = t
		}
	}
	return until
}

// messageID names a message: the alert's own id, or one made of those of all.
func messageID(all []*job.Delivery) string {
	if len(all) == 1 {
		return all[0].Alert.ID
	}
	h := sha256.New()
	for _, v := range all {
		h.Write([]byte(v.Alert.ID + "\x00"))
	}
	return "alerts_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16]))
}

// send sends a message of deliveries, and stores what became of it.
func (d *desk) send(ctx context.Context, all []*job.Delivery) error {
	id := all[0].Message
	if id == "" {
		id = messageID(all)
		if err := d.turn(ctx, all, func(v *job.Delivery) { v.State, v.Message = job.DeliverySending, id }); err != nil { // N4
			return err
		}
	}
	alerts := make([]job.Alert, len(all))
	for i, v := range all {
		alerts[i] = v.Alert
	}
	err := d.call(ctx, id, alerts)
	if ctx.Err() != nil {
		return ctx.Err() // the next owner sends it again (N3)
	}
	now := d.s.deps.Now().UTC()
	d.spent = append(d.spent, now)
	var failed *failure
	errors.As(err, &failed)
	attempts := all[0].Attempts + 1
	next := job.DeliveryDelivered
	var wait time.Duration
	switch {
	case err == nil:
		d.blocked = time.Time{}
	case failed != nil && failed.forGood, attempts >= MaxAttempts:
		next = job.DeliveryFailed
	default:
		next = job.DeliveryRetrying
		wait = backoff.Jittered(pauses()[min(attempts, len(pauses()))-1])
		if failed != nil {
			wait = max(wait, failed.wait)
		}
		d.blocked = now.Add(min(wait, maxHeldUp))
	}
	if err != nil {
		d.log.Warn("alert not delivered", zap.String("message", id), zap.Int("attempt", attempts), zap.String("state", string(next)), zap.Error(err))
	}
	d.s.sent.WithLabelValues(string(next)).Add(float64(len(all)))
	return d.turn(ctx, all, func(v *job.Delivery) {
		v.State, v.Message, v.Attempts, v.Error, v.NextAt = next, id, attempts, "", time.Time{}
		if err != nil {
			v.Error = shortened(err.Error())
		}
		if next == job.DeliveryRetrying {
			v.NextAt = now.Add(wait)
		} else {
			v.SettledAt = now
		}
	})
}

func shortened(text string) string {
	if len(text) > 300 {
		return strings.ToValidUTF8(text[:300], "") + "..."
	}
	return text
}

// call sends a message, as one of the node's.
func (d *desk) call(ctx context.Context, id string, alerts []job.Alert) error {
	m, err := message.Compose(d.n, id, alerts)
	if err != nil {
		return &failure{err: err, forGood: true}
	}
	select {
	case d.s.calls <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.s.calls }()
	return d.s.deps.Send(ctx, d.n, m)
}

// turn changes deliveries, and stores them. It tries until that is done, or the shard is
// another's.
func (d *desk) turn(ctx context.Context, all []*job.Delivery, change func(*job.Delivery)) error {
	next := make([]job.Delivery, len(all))
	var ops []clientv3.Op
	settled := 0
	for i, v := range all {
		next[i] = *v
		change(&next[i])
		if next[i].State != v.State && !MayFollow(v.State, next[i].State) {
			d.log.DPanic("a delivery has come into a state that may not follow", zap.String("from", string(v.State)), zap.String("to", string(next[i].State)))
		}
		if next[i].State.Settled() {
			settled++
		}
		op, err := d.put(&next[i])
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	drop := min(max(len(d.settled)+settled-KeepSettled, 0), maxTogether, len(d.settled))
	for _, id := range d.settled[:drop] {
		ops = append(ops, clientv3.OpDelete(d.s.cfg.Keys.Delivery(d.n.Key(), id)))
	}
	for {
		err := d.tryCommit(ctx, ops)
		if err == nil {
			break
		}
		if errors.Is(err, errNotOurs) || ctx.Err() != nil || !d.own.Held() {
			return err
		}
		d.log.Warn("what became of an alert is not stored yet", zap.Error(err))
		if !backoff.Sleep(ctx, backoff.Jittered(retryWrite)) {
			return ctx.Err()
		}
	}
	for _, id := range d.settled[:drop] {
		delete(d.known, id)
	}
	d.settled = slices.Clone(d.settled[drop:])
	for i, v := range all {
		*v = next[i]
		if v.State.Settled() {
			d.settled = append(d.settled, v.Alert.ID)
		}
	}
	d.open = slices.DeleteFunc(d.open, func(v *job.Delivery) bool { return v.State.Settled() })
	return nil
}

func (d *desk) tryCommit(ctx context.Context, ops []clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return d.commit(ctx, ops)
}
