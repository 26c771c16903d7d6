package plans

import (
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// callable returns an error if the upstream of a plan cannot be called.
func (d *Desk) callable(ctx context.Context, ns string, sum *plan.Summary) error {
	if err := egress.CheckURL(sum.Callback); err != nil {
		return invalid("callback", err.Error())
	}
	kv, err := d.db.Get(ctx, "look for the secret of callbacks", d.db.Keys.PlanSecret(ns, sum.Upstream))
	if err == nil && kv == nil {
		return invalid("callback", fmt.Sprintf("there is no secret to sign calls to %s with; make one with `carillon plan secret %s`", sum.Upstream, sum.Upstream))
	}
	return err
}

// PlanSecret makes what calls to an upstream are signed with, or takes what is given. The former
// one is good no more.
func (d *Desk) PlanSecret(ctx context.Context, ns, upstream, given string, o api.Order) (api.WebhookSecret, error) {
	if err := job.CheckName(ns); err != nil {
		return api.WebhookSecret{}, invalid("namespace", err.Error())
	}
	if !plan.IsName(upstream) {
		return api.WebhookSecret{}, invalid("upstream", fmt.Sprintf("has 1 to %d printable ASCII characters, without space and slash", plan.MaxID))
	}
	secret, err := webhook.NewSecret()
	if given != "" {
		if secret, err = webhook.ParseSecret(given); err != nil {
			return api.WebhookSecret{}, invalid("secret", err.Error())
		}
	}
	if err != nil {
		return api.WebhookSecret{}, err
	}
	text, err := etcdkv.Encode(etcdkv.HookSecret{Schema: etcdkv.Schema, Secret: secret.Text(), By: caller.Of(ctx, o.By), CreatedAt: d.db.Now().UTC()})
	if err != nil {
		return api.WebhookSecret{}, err
	}
	var t store.Txn
	t.Put(d.db.Keys.PlanSecret(ns, upstream), text)
	if err := d.audit.Add(&t, d.audit.Record(ctx, "plan.secret", "upstream "+ns+"/"+upstream, o)); err != nil {
		return api.WebhookSecret{}, err
	}
	if _, err := d.db.Commit(ctx, "keep the secret of an upstream", &t); err != nil {
		return api.WebhookSecret{}, err
	}
	return api.WebhookSecret{Secret: secret.Text()}, nil
}
