package queue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// State is how far an item has come.
type State string

// The states.
const (
	StateWaiting State = "waiting"
	StateDelayed State = "delayed" // it waits for its time
	StateClaimed State = "claimed"
	StateDead    State = "dead"
)

// View is an item as it is now.
type View struct {
	Item
	State State
	PutAt time.Time
	// Attempt counts the claims so far, LastError is why the last one failed.
	Attempt   int
	LastError string
	// At is when it was claimed first, as Claimed.At; 0: never.
	At int64
	// Worker has it since Since. Empty: nobody.
	Worker job.MinionID
	Since  time.Time
	// Cancel, unless nil, says why it is to be ended.
	Cancel *string
	// EndedAt is since when it is a dead letter.
	EndedAt time.Time

	// itemRev and markerRev are what it is changed by.
	itemRev, markerRev int64
}

// place is where an item stands in lists.
func (v *View) place() string { return strconv.Itoa(v.Priority) + "." + v.ID }

// List returns items that wait or are claimed by falling priority, then by ID: at most
// limit, and those behind the one whose cursor is given, if one is. The second result is
// the cursor of the last; empty: there are no more. It can be asked on any node.
func (q *Queue) List(ctx context.Context, cursor string, limit int) ([]View, string, error) {
	from, end := q.keys.Items(), clientv3.GetPrefixRangeEnd(q.keys.Items())
	if cursor != "" {
		p, id, _ := cutCursor(cursor)
		from = q.keys.Item(p, id) + "\x00"
	}
	bounded, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	resp, err := q.client.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, "", fmt.Errorf("list items: %w", etcdkv.Unavailable(err))
	}
	var views []View
	now := time.Now()
	for _, kv := range resp.Kvs {
		priority, id, ok := q.keys.Parse(q.keys.Items(), string(kv.Key))
		if !ok {
			continue
		}
		v, err := viewOf(priority, id, kv.Value, now)
		if err != nil {
			return nil, "", fmt.Errorf("list items: %w", err)
		}
		v.itemRev = kv.ModRevision
		views = append(views, v)
	}
	if err := q.addMarkers(ctx, views); err != nil {
		return nil, "", err
	}
	next := ""
	if resp.More && len(views) > 0 {
		next = views[len(views)-1].place()
	}
	return views, next, nil
}

// ListDead is List for dead letters.
func (q *Queue) ListDead(ctx context.Context, cursor string, limit int) ([]View, string, error) {
	from, end := q.keys.Dead(), clientv3.GetPrefixRangeEnd(q.keys.Dead())
	if cursor != "" {
		p, id, _ := cutCursor(cursor)
		from = q.keys.DeadItem(p, id) + "\x00"
	}
	bounded, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	resp, err := q.client.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, "", fmt.Errorf("list dead letters: %w", etcdkv.Unavailable(err))
	}
	var views []View
	for _, kv := range resp.Kvs {
		priority, id, ok := q.keys.Parse(q.keys.Dead(), string(kv.Key))
		if !ok {
			continue
		}
		v, err := deadView(priority, id, kv.Value)
		if err != nil {
			return nil, "", fmt.Errorf("list dead letters: %w", err)
		}
		v.itemRev = kv.ModRevision
		views = append(views, v)
	}
	next := ""
	if resp.More && len(views) > 0 {
		next = views[len(views)-1].place()
	}
	return views, next, nil
}

func deadView(priority int, id string, value []byte) (View, error) {
	d, err := etcdkv.Decode[etcdkv.QueueDead](id, value)
	if err != nil {
		return View{}, err
	}
	v, err := viewOf(priority, id, d.Item, d.At)
	v.State, v.LastError, v.EndedAt = StateDead, d.Reason, d.At
	return v, err
}

// CheckCursor tells whether a text is a cursor of List.
func CheckCursor(s string) error {
	_, _, err := cutCursor(s)
	return err
}

func cutCursor(s string) (priority int, id string, err error) {
	if len(s) < 3 || s[1] != '.' || s[0] < '0' || s[0] > '9' {
		return 0, "", &job.InvalidError{Problems: []job.Problem{{Path: "cursor", Message: strconv.Quote(s) + " is not a cursor; use the one that came with the page before, or none"}}}
	}
	return int(s[0] - '0'), s[2:], nil
}

func viewOf(priority int, id string, value []byte, now time.Time) (View, error) {
	item, err := etcdkv.Decode[etcdkv.QueueItem](id, value)
	v := View{
		Item:  Item{ID: id, Priority: priority, Payload: item.Payload, NotBefore: item.NotBefore, Key: item.Key, ExpiresAt: item.ExpiresAt, Bounds: item.Bounds, Origin: item.Origin, Subject: item.Subject, JobAuthor: item.JobAuthor},
		State: StateWaiting, PutAt: item.PutAt, Attempt: item.Attempt, LastError: item.LastError, At: item.At,
	}
	if item.NotBefore.After(now) {
		v.State = StateDelayed
	}
	return v, err
}

// markersAtOnce bounds what one transaction reads.
const markersAtOnce = 50

// addMarkers adds who has the items.
func (q *Queue) addMarkers(ctx context.Context, views []View) error {
	for len(views) > 0 {
		part := views[:min(len(views), markersAtOnce)]
		views = views[len(part):]
		var ops []clientv3.Op
		for i := range part {
			ops = append(ops, clientv3.OpGet(q.keys.Marker(part[i].Priority, part[i].ID)), clientv3.OpGet(q.keys.Cancel(part[i].Priority, part[i].ID)))
		}
		resp, err := q.txn(ctx, nil, ops)
		if err != nil {
			return fmt.Errorf("list claims: %w", err)
		}
		for i := range part {
			v := &part[i]
			if kvs := resp.Responses[2*i].GetResponseRange().Kvs; len(kvs) > 0 {
				m, _ := etcdkv.Decode[etcdkv.QueueMarker](v.ID, kvs[0].Value)
				v.State, v.Worker, v.Since, v.markerRev = StateClaimed, job.MinionID(m.Worker), m.Since, kvs[0].CreateRevision
			}
			if kvs := resp.Responses[2*i+1].GetResponseRange().Kvs; len(kvs) > 0 {
				c, _ := etcdkv.Decode[etcdkv.QueueCancel](v.ID, kvs[0].Value)
				v.Cancel = &c.Reason
			}
		}
	}
	return nil
}

// Find returns the item with an ID, whatever its priority; one that is a dead letter,
// too. The error wraps job.ErrNotFound when there is none.
func (q *Queue) Find(ctx context.Context, id string) (View, error) {
	var ops []clientv3.Op
	for p := 0; p <= MaxPriority; p++ {
		ops = append(ops, clientv3.OpGet(q.keys.Item(p, id)), clientv3.OpGet(q.keys.DeadItem(p, id)))
	}
	resp, err := q.txn(ctx, nil, ops)
	if err != nil {
		return View{}, fmt.Errorf("find item %s: %w", id, err)
	}
	now := time.Now()
	for p := MaxPriority; p >= 0; p-- {
		if kvs := resp.Responses[2*p].GetResponseRange().Kvs; len(kvs) > 0 {
			v, err := viewOf(p, id, kvs[0].Value, now)
			if err != nil {
				return View{}, fmt.Errorf("find item %s: %w", id, err)
			}
			v.itemRev = kvs[0].ModRevision
			one := []View{v}
			err = q.addMarkers(ctx, one)
			return one[0], err
		}
		if kvs := resp.Responses[2*p+1].GetResponseRange().Kvs; len(kvs) > 0 {
			v, err := deadView(p, id, kvs[0].Value)
			v.itemRev = kvs[0].ModRevision
			return v, err
		}
	}
	return View{}, fmt.Errorf("item %s: %w", id, job.ErrNotFound)
}

// Cancel takes an item that waits, or is a dead letter, out of the queue; of one that is
// claimed it notes that it is to be ended, and whoever runs the dispatcher sees to it
// (Claims). It reports whether the item is gone already, and does also in the same
// transaction. The error wraps job.ErrConflict when the item has changed meanwhile.
func (q *Queue) Cancel(ctx context.Context, v *View, reason string, also ...clientv3.Op) (bool, error) {
	item, marker := q.keys.Item(v.Priority, v.ID), q.keys.Marker(v.Priority, v.ID)
	cmps := []clientv3.Cmp{unchanged(item, v.itemRev), created(marker, v.markerRev)}
	op := clientv3.OpDelete(item)
	var told []clientv3.Op
	switch v.State {
	case StateDead:
		dead := q.keys.DeadItem(v.Priority, v.ID)
		cmps, op = []clientv3.Cmp{unchanged(dead, v.itemRev)}, clientv3.OpDelete(dead)
	case StateClaimed:
		value, err := etcdkv.Encode(etcdkv.QueueCancel{Schema: etcdkv.Schema, Reason: reason})
		if err != nil {
			return false, err
		}
		op = clientv3.OpPut(q.keys.Cancel(v.Priority, v.ID), value)
	case StateWaiting, StateDelayed:
		var err error
		if told, err = q.told(v.ID, v.Origin, job.StateCancelled, reason, nil); err != nil {
			return false, err
		}
	}
	resp, err := q.txn(ctx, cmps, slices.Concat([]clientv3.Op{op}, told, also))
	if err != nil {
		return false, fmt.Errorf("cancel item %s: %w", v.ID, err)
	}
	if !resp.Succeeded {
		return false, fmt.Errorf("cancel item %s: it has changed meanwhile; try again: %w", v.ID, job.ErrConflict)
	}
	return v.State != StateClaimed, nil
}

// Remove takes items out of the queue that no worker has: all, or, where one of them has
// changed meanwhile, those that have not. It does also in a transaction that removes
// some, and returns how many it has removed. Who asked for them is told the reason.
func (q *Queue) Remove(ctx context.Context, views []View, reason string, also ...clientv3.Op) (int, error) {
	if len(views) == 0 {
		return 0, nil
	}
	var cmps []clientv3.Cmp
	ops := slices.Clone(also)
	for i := range views {
		v := &views[i]
		if v.State == StateDead {
			key := q.keys.DeadItem(v.Priority, v.ID)
			cmps, ops = append(cmps, unchanged(key, v.itemRev)), append(ops, clientv3.OpDelete(key))
			continue
		}
		key := q.keys.Item(v.Priority, v.ID)
		cmps = append(cmps, unchanged(key, v.itemRev), absent(q.keys.Marker(v.Priority, v.ID)))
		told, err := q.told(v.ID, v.Origin, job.StateCancelled, reason, nil)
		if err != nil {
			return 0, err
		}
		ops = append(append(ops, clientv3.OpDelete(key)), told...)
	}
	resp, err := q.txn(ctx, cmps, ops)
	switch {
	case err != nil:
		return 0, fmt.Errorf("remove items: %w", err)
	case resp.Succeeded:
		return len(views), nil
	case len(views) == 1:
		return 0, nil
	}
	half := len(views) / 2
	n, err := q.Remove(ctx, views[:half], reason, also...)
	if err != nil {
		return n, err
	}
	if n > 0 {
		also = nil
	}
	more, err := q.Remove(ctx, views[half:], reason, also...)
	return n + more, err
}

// Claims returns the claims that there are, as the dispatcher here knows them; false:
// none runs here, or it has not read them yet.
func (q *Queue) Claims() ([]Claimed, bool) {
	q.mu.Lock()
	d := q.here
	q.mu.Unlock()
	if d == nil {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rev == 0 || d.err != nil {
		return nil, false
	}
	out := make([]Claimed, 0, len(d.held))
	for _, e := range d.held {
		out = append(out, Claimed{
			Item:   Item{ID: e.id, Priority: e.priority, Payload: e.item.Payload, Key: e.item.Key, Bounds: e.item.Bounds, Origin: e.item.Origin, Subject: e.item.Subject, JobAuthor: e.item.JobAuthor},
			Worker: job.MinionID(e.marker.Worker), Since: e.marker.Since, PutAt: e.item.PutAt, At: e.item.At, Attempt: e.item.Attempt, Cancel: e.cancel,
			Tried: e.item.Tried, TriedLeftOut: e.item.TriedLeftOut, Uncounted: e.item.Uncounted, Checkpoint: e.item.Checkpoint,
			Token:   job.Token{Epoch: d.fence.Token().Epoch, Revision: e.markerRev},
			Receipt: Receipt{ID: e.id, Priority: e.priority, Item: e.modRev, Marker: e.markerRev, Origin: e.item.Origin},
		})
	}
	return out, true
}

// Depth tells what waits, as the dispatcher here knows it: how many items, how many of
// them for their time, and since when the oldest of the others does.
func (q *Queue) Depth() (waiting, delayed int, oldest time.Time) {
	q.mu.Lock()
	d := q.here
	q.mu.Unlock()
	if d == nil {
		return 0, 0, time.Time{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	look := func(l *line) {
		waiting += l.Len()
		for _, e := range l.entries {
			if at := e.item.PutAt; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	look(&d.ready)
	for _, l := range d.parked {
		look(l)
	}
	return waiting + d.delayed.Len(), d.delayed.Len(), oldest
}
