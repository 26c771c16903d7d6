package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// needQueue decides about a queue. To put an item is to run what the queue has done.
func (c *Control) needQueue(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Queues, key.Namespace, c.labelsOf(rights.Queues, key), hidden("queue", key))
}

// needQueueStart decides about having items done, or not.
func (c *Control) needQueueStart(ctx context.Context, key job.Key) error {
	return c.needStart(ctx, rights.Run, rights.Queues, key.Namespace, c.labelsOf(rights.Queues, key), hidden("queue", key))
}

// Queues lists the queues that the caller may read.
func (c *Control) Queues(ctx context.Context, namespace string) ([]api.Queue, error) {
	all, err := c.behind.Queues(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Queues, all, func(q *api.Queue) (string, map[string]string) { return q.Namespace, q.Labels })
}

// Queue shows a queue.
func (c *Control) Queue(ctx context.Context, key job.Key) (api.Queue, error) {
	if err := c.needQueue(ctx, rights.Read, key); err != nil {
		return api.Queue{}, err
	}
	return c.behind.Queue(ctx, key)
}

// DeleteQueue deletes a queue.
func (c *Control) DeleteQueue(ctx context.Context, key job.Key) error {
	if err := c.needQueue(ctx, rights.Delete, key); err != nil {
		return err
	}
	return c.used(ctx, c.behind.DeleteQueue(ctx, key))
}

// HoldQueue pauses, drains or resumes a queue.
func (c *Control) HoldQueue(ctx context.Context, key job.Key, how api.QueueOrder, o api.Order) error {
	if err := c.needQueue(ctx, rights.Pause, key); err != nil {
		return err
	}
	return c.behind.HoldQueue(ctx, key, how, o)
}

// PutItems puts items into a queue.
func (c *Control) PutItems(ctx context.Context, key job.Key, items []api.NewItem, o api.Order) ([]api.PutItem, error) {
	if err := c.needQueueStart(ctx, key); err != nil {
		return nil, err
	}
	return c.behind.PutItems(ctx, key, items, o)
}

// QueueItems lists items of a queue.
func (c *Control) QueueItems(ctx context.Context, key job.Key, q api.ItemQuery) (api.ItemPage, error) {
	if err := c.needQueue(ctx, rights.Read, key); err != nil {
		return api.ItemPage{}, err
	}
	return c.behind.QueueItems(ctx, key, q)
}

// QueueItem shows an item; its payload and its output to who may see logs.
func (c *Control) QueueItem(ctx context.Context, key job.Key, id string) (api.QueueItem, error) {
	if err := c.needQueue(ctx, rights.Read, key); err != nil {
		return api.QueueItem{}, err
	}
	v, err := c.behind.QueueItem(ctx, key, id)
	if err != nil {
		return v, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil {
		return v, err
	}
	r := rights.Request{Verb: rights.Logs, Kind: rights.Queues, Namespace: key.Namespace}
	if s.May(r) {
		return v, nil
	}
	if r.Labels, err = c.labelsOf(rights.Queues, key)(ctx); err != nil {
		return api.QueueItem{}, err
	}
	if !s.May(r) && s.Hide(r) {
		v.Payload = ""
		if v.Run != nil {
			run := veiled(s, *v.Run, false)
			v.Run = &run
		}
	}
	return v, nil
}

// CancelItem takes an item out of a queue.
func (c *Control) CancelItem(ctx context.Context, key job.Key, id string, o api.Order) (bool, error) {
	if err := c.needQueueStart(ctx, key); err != nil {
		return false, err
	}
	return c.behind.CancelItem(ctx, key, id, o)
}

// Redrive puts dead letters back.
func (c *Control) Redrive(ctx context.Context, key job.Key, id string, o api.Order) (api.ItemsChanged, error) {
	if err := c.needQueueStart(ctx, key); err != nil {
		return api.ItemsChanged{}, err
	}
	return c.behind.Redrive(ctx, key, id, o)
}

// Purge removes items.
func (c *Control) Purge(ctx context.Context, key job.Key, dead bool, o api.Order) (api.ItemsChanged, error) {
	if err := c.needQueue(ctx, rights.Delete, key); err != nil {
		return api.ItemsChanged{}, err
	}
	return c.behind.Purge(ctx, key, dead, o)
}
