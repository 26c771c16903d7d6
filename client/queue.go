package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Queues hold items of work, each for any one of the minions that work on the queue.
type Queues struct{ c *conn }

func queuePath(k job.Key, more ...string) []string {
	return append([]string{"namespaces", k.Namespace, "queues", k.Name}, more...)
}

// List returns the queues of a namespace, of all when that is empty, without their
// workers.
func (q Queues) List(ctx context.Context, namespace string) ([]api.Queue, error) {
	var out struct{ Queues []api.Queue }
	err := q.c.get(ctx, &out, where("namespace", namespace), "queues")
	return out.Queues, err
}

// Get returns a queue: what waits, and who works on it.
func (q Queues) Get(ctx context.Context, k job.Key) (api.Queue, error) {
	var out api.Queue
	err := q.c.get(ctx, &out, nil, queuePath(k)...)
	return out, err
}

// Register stores a queue, new or in place of the one with its name, as Jobs.Register does
// it with a job.
func (q Queues) Register(ctx context.Context, k job.Key, spec job.QueueSpec) (api.ApplyResult, error) {
	return register(ctx, Jobs(q), job.KindQueue, k, spec)
}

// Delete deletes a queue in which nothing is.
func (q Queues) Delete(ctx context.Context, k job.Key) error {
	return q.c.remove(ctx, queuePath(k)...)
}

// Put puts items into a queue, at most api.MaxPut. After an error some may have been put:
// where each has an ID it is safe to put all of them again.
func (q Queues) Put(ctx context.Context, k job.Key, items []api.NewItem, o api.Order) ([]api.PutItem, error) {
	body := struct {
		Items []api.NewItem `json:"items"`
		order
	}{items, orderOf(o)}
	var out struct{ Items []api.PutItem }
	err := q.c.send(ctx, http.MethodPost, full(queuePath(k, "items")), body, &out)
	return out.Items, err
}

// Items lists items of a queue, without their payloads.
func (q Queues) Items(ctx context.Context, k job.Key, query api.ItemQuery) (api.ItemPage, error) {
	values := url.Values{}
	set(values, "cursor", query.Cursor)
	if query.Dead {
		values.Set("dead", "true")
	}
	if query.Limit != 0 {
		values.Set("limit", strconv.Itoa(query.Limit))
	}
	var out api.ItemPage
	err := q.c.get(ctx, &out, values, queuePath(k, "items")...)
	return out, err
}

// Item returns an item, one that has ended by its run.
func (q Queues) Item(ctx context.Context, k job.Key, id string) (api.QueueItem, error) {
	var out api.QueueItem
	err := q.c.get(ctx, &out, nil, queuePath(k, "items", id)...)
	return out, err
}

// Cancel takes an item out of its queue. It reports false when a worker has it, and was
// told to end it.
func (q Queues) Cancel(ctx context.Context, k job.Key, id string, o api.Order) (gone bool, err error) {
	var out struct{ Gone bool }
	err = q.c.send(ctx, http.MethodPost, full(queuePath(k, "items", id, "cancel")), orderOf(o), &out)
	return out.Gone, err
}

// Redrive puts a dead letter back into its queue.
func (q Queues) Redrive(ctx context.Context, k job.Key, id string, o api.Order) error {
	return q.c.post(ctx, orderOf(o), queuePath(k, "items", id, "redrive")...)
}

// RedriveAll puts dead letters back into their queue, as many as one order takes.
func (q Queues) RedriveAll(ctx context.Context, k job.Key, o api.Order) (api.ItemsChanged, error) {
	var out api.ItemsChanged
	err := q.c.send(ctx, http.MethodPost, full(queuePath(k, "redrive")), orderOf(o), &out)
	return out, err
}

// Purge removes items that no worker has, or, with dead, dead letters, as many as one
// order takes.
func (q Queues) Purge(ctx context.Context, k job.Key, dead bool, o api.Order) (api.ItemsChanged, error) {
	body := struct {
		Dead bool `json:"dead,omitempty"`
		order
	}{dead, orderOf(o)}
	var out api.ItemsChanged
	err := q.c.send(ctx, http.MethodPost, full(queuePath(k, "purge")), body, &out)
	return out, err
}

// Hold pauses, drains or resumes a queue.
func (q Queues) Hold(ctx context.Context, k job.Key, how api.QueueOrder, o api.Order) error {
	body := struct {
		How api.QueueOrder `json:"how"`
		order
	}{how, orderOf(o)}
	return q.c.post(ctx, body, queuePath(k, "hold")...)
}
