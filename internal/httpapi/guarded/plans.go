package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/plan"
)

// SendPlan takes a plan of who may put items into each of the queues that it names.
func (c *Control) SendPlan(ctx context.Context, in plans.Sending, o api.Order) (api.PlanReceipt, error) {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.PlanReceipt{}, err
	}
	// Who may do so with no queue of the namespace is not listened to.
	if r := (rights.Request{Verb: rights.Run, Kind: rights.Queues, Namespace: in.Namespace}); !s.May(r) && !s.Sees(r.Verb, r.Kind, r.Namespace) {
		if err := s.Need(r, nil); err != nil {
			return api.PlanReceipt{}, err
		}
	}
	in.May = c.needQueueStart
	in.MayAmend = func(ctx context.Context) error { // it cancels tasks, too
		return c.needStart(ctx, rights.Run, rights.Queues, in.Namespace, none, nil)
	}
	return c.behind.SendPlan(ctx, in, o)
}

// needPlan decides about the plans of a namespace: as about its queues, without labels.
func (c *Control) needPlan(ctx context.Context, v rights.Verb, namespace string) error {
	return c.need(ctx, v, rights.Queues, namespace, none, nil)
}

// Plans lists the plans of the namespaces whose queues the caller may read.
func (c *Control) Plans(ctx context.Context, namespace string) ([]api.Plan, error) {
	all, err := c.behind.Plans(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Queues, all, func(p *api.Plan) (string, map[string]string) { return p.Namespace, nil })
}

// Plan shows a plan.
func (c *Control) Plan(ctx context.Context, namespace, upstream, id string) (api.Plan, error) {
	if err := c.needPlan(ctx, rights.Read, namespace); err != nil {
		return api.Plan{}, err
	}
	return c.behind.Plan(ctx, namespace, upstream, id)
}

// AskPlan shows the plan that a query asks for. The query of who may not is not read.
func (c *Control) AskPlan(ctx context.Context, namespace string, read func() (plan.Query, error)) (api.Plan, plan.Query, error) {
	if err := c.needPlan(ctx, rights.Read, namespace); err != nil {
		return api.Plan{}, plan.Query{}, err
	}
	return c.behind.AskPlan(ctx, namespace, read)
}

// PlanTasks lists tasks of a plan.
func (c *Control) PlanTasks(ctx context.Context, namespace, upstream, id string, q api.PlanTaskQuery) (api.PlanTaskPage, error) {
	if err := c.needPlan(ctx, rights.Read, namespace); err != nil {
		return api.PlanTaskPage{}, err
	}
	return c.behind.PlanTasks(ctx, namespace, upstream, id, q)
}

// PlanSecret makes what calls to an upstream are signed with.
func (c *Control) PlanSecret(ctx context.Context, namespace, upstream, given string, o api.Order) (api.WebhookSecret, error) {
	if err := c.needPlan(ctx, rights.Edit, namespace); err != nil {
		return api.WebhookSecret{}, err
	}
	return c.behind.PlanSecret(ctx, namespace, upstream, given, o)
}

// CancelPlan cancels tasks of a plan.
func (c *Control) CancelPlan(ctx context.Context, namespace, upstream, id string, which api.PlanCancel, o api.Order) error {
	if err := c.needStart(ctx, rights.Run, rights.Queues, namespace, none, nil); err != nil {
		return err
	}
	return c.behind.CancelPlan(ctx, namespace, upstream, id, which, o)
}
