package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

func (c *Control) needNotifier(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Notifiers, key.Namespace, c.labelsOf(rights.Notifiers, key), hidden("notifier", key))
}

// needEverywhere wants the right to edit notifiers of all namespaces, with whatever labels,
// of who has one tell of jobs of all of them: what it tells, its receiver gets to know.
func (c *Control) needEverywhere(ctx context.Context, o *manifest.Object) error {
	if o.Kind != job.KindNotifier || !o.Notifier.Everywhere {
		return nil
	}
	return c.whole(ctx, rights.Edit, rights.Notifiers)
}

// Notifiers lists the notifiers that the caller may read.
func (c *Control) Notifiers(ctx context.Context, namespace string) ([]api.Notifier, error) {
	all, err := c.behind.Notifiers(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Notifiers, all, func(n *api.Notifier) (string, map[string]string) { return n.Namespace, n.Labels })
}

// Notifier shows a notifier. What it has told is about the jobs that it tells of: who may
// read it is whom it would be told to.
func (c *Control) Notifier(ctx context.Context, key job.Key) (api.NotifierDetail, error) {
	if err := c.needNotifier(ctx, rights.Read, key); err != nil {
		return api.NotifierDetail{}, err
	}
	v, err := c.behind.Notifier(ctx, key)
	if err != nil {
		return v, err
	}
	l := c.labelsOfJobs(ctx)
	v.Deliveries, err = shown(ctx, c, rights.Jobs, v.Deliveries, func(d *job.Delivery) (string, map[string]string) { return d.Alert.Job.Namespace, l(d.Alert.Job) })
	return v, err
}

// DeleteNotifier deletes a notifier.
func (c *Control) DeleteNotifier(ctx context.Context, key job.Key) error {
	if err := c.needNotifier(ctx, rights.Delete, key); err != nil {
		return err
	}
	return c.behind.DeleteNotifier(ctx, key)
}

// TestNotifier sends a sample. Who may do that may edit what is sent.
func (c *Control) TestNotifier(ctx context.Context, key job.Key, o api.Order) error {
	if err := c.needNotifier(ctx, rights.Edit, key); err != nil {
		return err
	}
	return c.behind.TestNotifier(ctx, key, o)
}

// SendAgain has an alert sent again.
func (c *Control) SendAgain(ctx context.Context, key job.Key, alert string, o api.Order) error {
	if err := c.needNotifier(ctx, rights.Edit, key); err != nil {
		return err
	}
	return c.behind.SendAgain(ctx, key, alert, o)
}
