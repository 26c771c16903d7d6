package client

import (
	"context"
	"net/http"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Notifiers tell people what becomes of jobs. They are made with Jobs.Apply.
type Notifiers struct{ c *conn }

func notifierPath(k job.Key, rest ...string) []string {
	return append([]string{"namespaces", k.Namespace, "notifiers", k.Name}, rest...)
}

// List returns the notifiers of a namespace; of all when that is empty.
func (n Notifiers) List(ctx context.Context, namespace string) ([]api.Notifier, error) {
	var out struct{ Notifiers []api.Notifier }
	err := n.c.get(ctx, &out, where("namespace", namespace), "notifiers")
	return out.Notifiers, err
}

// Get returns a notifier with its last deliveries.
func (n Notifiers) Get(ctx context.Context, k job.Key) (api.NotifierDetail, error) {
	var out api.NotifierDetail
	err := n.c.get(ctx, &out, nil, notifierPath(k)...)
	return out, err
}

// Delete deletes a notifier, and what it had to tell.
func (n Notifiers) Delete(ctx context.Context, k job.Key) error {
	return n.c.remove(ctx, notifierPath(k)...)
}

// Test sends a sample to a notifier's receiver. The error says what was in the way.
func (n Notifiers) Test(ctx context.Context, k job.Key, o api.Order) error {
	return n.c.send(ctx, http.MethodPost, full(notifierPath(k, "test")), orderOf(o), nil)
}

// SendAgain has an alert sent again.
func (n Notifiers) SendAgain(ctx context.Context, k job.Key, alert string, o api.Order) error {
	return n.c.send(ctx, http.MethodPost, full(notifierPath(k, "alerts", alert, "send")), orderOf(o), nil)
}
