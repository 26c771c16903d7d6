package queues

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/payload"
	dispatch "github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// PutItems puts items into a queue. After an error some may have been put; to put all of
// them again is safe where each has an ID.
func (c *Clerk) PutItems(ctx context.Context, key job.Key, items []api.NewItem, o api.Order) ([]api.PutItem, error) {
	if len(items) == 0 || len(items) > api.MaxPut {
		return nil, invalid("items", fmt.Sprintf("are %d; give 1 to %d", len(items), api.MaxPut))
	}
	var all []api.PutItem
	for range store.Tries {
		added, err := c.put(ctx, key, items, o)
		if !errors.Is(err, queue.ErrChanged) {
			return append(all, putItems(added)...), err
		}
		// What was put stays, and has its answer: only the others are put anew.
		done := 0
		for done < len(added) && !added[done].Open {
			done++
		}
		all, items = append(all, putItems(added[:done])...), items[done:]
	}
	return all, fmt.Errorf("put into queue %s: %w", key, queue.ErrChanged)
}

func putItems(added []queue.Added) []api.PutItem {
	out := make([]api.PutItem, len(added))
	for i := range added {
		out[i] = api.PutItem{ID: added[i].ID, Duplicate: added[i].Duplicate}
	}
	return out
}

func (c *Clerk) put(ctx context.Context, key job.Key, items []api.NewItem, o api.Order) ([]queue.Added, error) {
	s, kv, q, err := c.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if s.Hold != nil && s.Hold.Draining {
		return nil, fmt.Errorf("queue %s is draining%s: it takes no items until `carillon queue resume`: %w", key, because(s.Hold.Reason), job.ErrConflict)
	}
	now := c.db.Now()
	problems, err := checkPayloads(&s.Spec, items)
	if err == nil && len(problems) == 0 {
		problems, err = c.inputs.check(ctx, &s.Queue, items)
	}
	if err != nil {
		return nil, err
	}
	made := make([]queue.Item, len(items))
	for i := range items {
		in := &items[i]
		if !utf8.ValidString(in.Payload) || strings.ContainsRune(in.Payload, 0) {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("items[%d].payload", i), Message: "is not text: the command gets it in a variable, which holds UTF-8 without zero bytes; encode it, or put where it is"})
		}
		made[i] = queue.Item{
			ID: in.ID, Priority: in.Priority, Payload: []byte(in.Payload), Key: in.Key, Dedup: in.Dedup, NotBefore: in.NotBefore.UTC(), ExpiresAt: in.ExpiresAt.UTC(),
			Subject: caller.Subject(ctx, o.By),
		}
		if in.ExpiresAt.IsZero() {
			made[i].ExpiresAt = expiry(&s.Spec, in.NotBefore, now)
		} else if !in.ExpiresAt.After(now) {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("items[%d].expiresAt", i), Message: "has passed"})
		}
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	bounds, err := c.bounds(ctx, &s.Queue, made)
	if err != nil {
		return nil, fmt.Errorf("put into queue %s: %w", key, err)
	}
	for i := range made {
		made[i].Bounds = bounds[i]
	}
	counts, err := q.Stats(ctx)
	if err != nil {
		return nil, err
	}
	if all, most := counts.Waiting+counts.InFlight+counts.Dead, s.Spec.EffectiveMaxItems(); all+int64(len(items)) > int64(most) {
		return nil, fmt.Errorf("queue %s is full: it has %d items, and takes %d (maxItems); nothing was put: %w", key, all, most, job.ErrConflict)
	}
	object := fmt.Sprintf("queue %s (%d items)", key, len(items))
	if len(items) == 1 && items[0].ID != "" {
		object = "queue " + key.String() + " item " + items[0].ID
	}
	rec := c.audit.Record(ctx, "queue.put", object, o)
	op, err := c.audit.Op(rec)
	if err != nil {
		return nil, err
	}
	guard := clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)
	return q.Add(ctx, made, queue.Along{Guards: []clientv3.Cmp{guard}, Ops: []clientv3.Op{op}})
}

// checkPayloads holds payloads against the queue's schema, if it has one.
func checkPayloads(spec *job.QueueSpec, items []api.NewItem) ([]job.Problem, error) {
	if spec.PayloadSchema == "" {
		return nil, nil
	}
	schema, err := payload.Parse(spec.PayloadSchema)
	if err != nil {
		return nil, fmt.Errorf("the queue's payloadSchema %w", err)
	}
	var problems []job.Problem
	for i := range items {
		for _, wrong := range schema.Check([]byte(items[i].Payload)) {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("items[%d].payload", i), Message: wrong})
		}
	}
	return problems, nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func invalid(path, message string) error {
	return &job.InvalidError{Problems: []job.Problem{{Path: path, Message: message}}}
}

// QueueItems lists items of a queue, without their payloads.
func (c *Clerk) QueueItems(ctx context.Context, key job.Key, query api.ItemQuery) (api.ItemPage, error) {
	if query.Limit == 0 {
		query.Limit = 100
	}
	if query.Limit < 0 || query.Limit > api.MaxItems {
		return api.ItemPage{}, invalid("limit", fmt.Sprintf("%d is out of range; 1 to %d are allowed", query.Limit, api.MaxItems))
	}
	if query.Cursor != "" {
		if err := queue.CheckCursor(query.Cursor); err != nil {
			return api.ItemPage{}, err
		}
	}
	s, _, q, err := c.find(ctx, key)
	if err != nil {
		return api.ItemPage{}, err
	}
	list := q.List
	if query.Dead {
		list = q.ListDead
	}
	views, next, err := list(ctx, query.Cursor, query.Limit)
	if err != nil {
		return api.ItemPage{}, err
	}
	page := api.ItemPage{Items: make([]api.QueueItem, len(views)), Next: next}
	for i := range views {
		page.Items[i] = itemView(s.UID, &views[i])
		page.Items[i].Payload = ""
	}
	return page, nil
}

// QueueItem shows an item, one that has ended by its run in history, as long as that is kept.
func (c *Clerk) QueueItem(ctx context.Context, key job.Key, id string) (api.QueueItem, error) {
	s, _, q, err := c.find(ctx, key)
	if err != nil {
		return api.QueueItem{}, err
	}
	v, err := q.Find(ctx, id)
	if err == nil {
		return itemView(s.UID, &v), nil
	}
	if !errors.Is(err, job.ErrNotFound) {
		return api.QueueItem{}, err
	}
	runs := key.RunName()
	h := history.Query{Namespace: runs.Namespace, Job: runs.Name, UID: s.UID, Limit: historyPage}
	for {
		page, herr := c.history.List(ctx, h)
		if herr != nil {
			return api.QueueItem{}, fmt.Errorf("item %s: %w", id, herr)
		}
		for i := range page.Runs {
			if r := &page.Runs[i]; r.Params[dispatch.ParamItem] == id {
				v := api.QueueItem{ID: id, State: api.ItemEnded, PutAt: r.CommittedAt, Attempt: r.Attempt, EndedAt: r.EndedAt, RunID: r.RunID, Run: r}
				if fire, err := job.ParseFireID(r.Params[dispatch.ParamFire]); err == nil {
					v.Job, v.FireID, v.JobRunID = r.Params[dispatch.ParamJob], fire.String(), fire.RunID()
				}
				return v, nil
			}
		}
		if page.Next == "" {
			return api.QueueItem{}, fmt.Errorf("queue %s has no item %q, and none that ended is kept in history: %w", key, id, job.ErrNotFound)
		}
		h.Cursor = page.Next
	}
}

const historyPage = 500

// CancelItem takes an item out of a queue; a worker that has it is told to end it. It
// reports whether the item is gone already.
func (c *Clerk) CancelItem(ctx context.Context, key job.Key, id string, o api.Order) (bool, error) {
	_, _, q, err := c.find(ctx, key)
	if err != nil {
		return false, err
	}
	for range store.Tries {
		v, err := q.Find(ctx, id)
		if err != nil {
			return false, fmt.Errorf("queue %s: %w", key, err)
		}
		rec := c.audit.Record(ctx, "queue.cancel", "queue "+key.String()+" item "+id, o)
		rec.Before = string(v.State)
		op, err := c.audit.Op(rec)
		if err != nil {
			return false, err
		}
		why := "cancelled"
		if rec.By != "" {
			why += " by " + rec.By
		}
		if rec.Reason != "" {
			why += ": " + rec.Reason
		}
		gone, err := q.Cancel(ctx, &v, why, op)
		if !errors.Is(err, job.ErrConflict) {
			return gone, err
		}
	}
	return false, fmt.Errorf("queue %s: item %s keeps changing; try again: %w", key, id, job.ErrConflict)
}

// Redrive puts dead letters back into their queue: one, or, with an empty ID, as many as
// one order takes.
func (c *Clerk) Redrive(ctx context.Context, key job.Key, id string, o api.Order) (api.ItemsChanged, error) {
	s, _, q, err := c.find(ctx, key)
	if err != nil {
		return api.ItemsChanged{}, err
	}
	var dead []queue.View
	var done api.ItemsChanged
	object := "queue " + key.String()
	if id != "" {
		v, err := q.Find(ctx, id)
		if err == nil && v.State != queue.StateDead {
			err = fmt.Errorf("item %s is no dead letter: it is %s: %w", id, v.State, job.ErrConflict)
		}
		if err != nil {
			return done, fmt.Errorf("queue %s: %w", key, err)
		}
		dead, object = []queue.View{v}, object+" item "+id
	} else {
		var next string
		object += " (dead letters)"
		if dead, next, err = q.ListDead(ctx, "", api.MaxItems); err != nil {
			return done, err
		}
		done.More = next != ""
	}
	items := make([]queue.Item, len(dead))
	for i := range dead {
		items[i] = dead[i].Item
	}
	bounds, err := c.bounds(ctx, &s.Queue, items)
	if err != nil {
		return done, fmt.Errorf("redrive items of queue %s: %w", key, err)
	}
	for i := range dead {
		var ops []clientv3.Op
		if done.Count == 0 {
			rec := c.audit.Record(ctx, "queue.redrive", object, o)
			op, err := c.audit.Op(rec)
			if err != nil {
				return done, err
			}
			ops = append(ops, op)
		}
		err := q.RedriveAnd(ctx, dead[i].Priority, dead[i].ID, bounds[i], ops...)
		switch {
		case err == nil:
			done.Count++
		case id == "" && (errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrConflict)): // somebody else was faster
		default:
			return done, err
		}
	}
	return done, nil
}

// Purge removes items that no worker has, or, with dead, dead letters: as many as one
// order takes.
func (c *Clerk) Purge(ctx context.Context, key job.Key, dead bool, o api.Order) (api.ItemsChanged, error) {
	_, _, q, err := c.find(ctx, key)
	if err != nil {
		return api.ItemsChanged{}, err
	}
	list, what := q.List, "waiting items"
	if dead {
		list, what = q.ListDead, "dead letters"
	}
	var done api.ItemsChanged
	cursor := ""
	for done.Count < api.MaxItems {
		views, next, err := list(ctx, cursor, purgePage)
		if err != nil {
			return done, err
		}
		free := views[:0]
		for i := range views {
			if views[i].State != queue.StateClaimed {
				free = append(free, views[i])
			}
		}
		if len(free) > 0 {
			rec := c.audit.Record(ctx, "queue.purge", fmt.Sprintf("queue %s (%d %s)", key, len(free), what), o)
			op, err := c.audit.Op(rec)
			if err != nil {
				return done, err
			}
			why := "the queue was purged"
			if rec.By != "" {
				why += " by " + rec.By
			}
			n, err := q.Remove(ctx, free, why, op)
			done.Count += n
			if err != nil {
				return done, err
			}
		}
		if cursor = next; cursor == "" {
			c.log.Info("queue purged", zap.Stringer("queue", key), zap.Int("items", done.Count))
			return done, nil
		}
	}
	done.More = true
	return done, nil
}

// purgePage is how many items one transaction removes at most.
const purgePage = 50
