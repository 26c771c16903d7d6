package plans

import (
	"context"
	"fmt"
	"maps"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	running "github.com/carillon-cron/carillon/internal/plans"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// latest is the digest of the version of a plan that was accepted last.
func latest(p *etcdkv.StoredPlan) string {
	if p.Amendment != nil {
		return p.Amendment.Digest
	}
	return p.Digest
}

// accepted is a plan as its receipt tells of it: as the version that was accepted last.
func accepted(p *etcdkv.StoredPlan, s *etcdkv.PlanStatus) api.Plan {
	v := view(p, s)
	if a := p.Amendment; a != nil {
		v.Digest, v.Tasks, v.Types = a.Digest, a.Tasks, a.Types
	}
	return v
}

// amend makes a new version of a plan of what was stored, which its owner takes over (P9).
func (s *sent) amend(ctx context.Context, sum *plan.Summary, o api.Order) (api.PlanReceipt, error) {
	ns := s.in.Namespace
	if s.in.MayAmend != nil {
		if err := s.in.MayAmend(ctx); err != nil {
			return api.PlanReceipt{}, err
		}
	}
	what := object(ns, sum.Upstream, sum.ID)
	for range store.Tries {
		p, rev, err := s.d.read(ctx, ns, sum.Upstream, sum.ID)
		if err != nil {
			return api.PlanReceipt{}, err
		}
		if err := amendable(what, p, sum); err != nil {
			return api.PlanReceipt{}, err
		}
		rec := s.d.audit.Record(ctx, "plan.amend", what+fmt.Sprintf(" (%d tasks)", sum.Tasks), o)
		audited, err := s.d.audit.Op(rec)
		if err != nil {
			return api.PlanReceipt{}, err
		}
		p.Amendment = &etcdkv.PlanAmendment{
			UID: s.uid, Digest: sum.Digest, Tasks: sum.Tasks, Types: sum.Types, By: rec.By, Subject: caller.Subject(ctx, o.By), At: s.d.db.Now().UTC(),
		}
		value, err := etcdkv.Encode(p)
		if err != nil {
			return api.PlanReceipt{}, err
		}
		name := s.d.db.Keys.Plan(ns, sum.Upstream, sum.ID)
		resp, err := s.d.db.Do(ctx, "amend "+what, append(s.held(), clientv3.Compare(clientv3.ModRevision(name), "=", rev)),
			[]clientv3.Op{clientv3.OpPut(name, value), clientv3.OpDelete(s.d.db.Keys.PlanStaging(s.uid)), audited})
		if err == nil && resp.Succeeded {
			status, err := s.d.status(ctx, p)
			return api.PlanReceipt{Plan: accepted(p, status), Amends: true}, err
		}
		if err == nil {
			if err = s.touch(ctx); err == nil {
				continue // the plan has changed meanwhile
			}
		}
		// The answer may be lost: etcd knows.
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.d.db.Timeout)
		defer cancel()
		if r, known, kerr := s.d.known(own, ns, sum); known && kerr == nil {
			r.Recognised, r.Amends = false, true
			return r, nil
		}
		return api.PlanReceipt{}, err
	}
	return api.PlanReceipt{}, fmt.Errorf("%s keeps changing; try again: %w", what, job.ErrConflict)
}

// amendable returns an error if a plan cannot have a new version now.
func amendable(what string, p *etcdkv.StoredPlan, sum *plan.Summary) error {
	types := maps.Clone(sum.Types)
	for typ := range p.Types {
		types[typ] += 0
	}
	switch {
	case !p.EndedAt.IsZero():
		return fmt.Errorf("%s has ended; give what is new another id: %w", what, job.ErrConflict)
	case p.Amendment != nil || len(p.Orders) > 0:
		return fmt.Errorf("%s is being amended or cancelled; send it again soon: %w", what, job.ErrUnavailable)
	case p.Callback != sum.Callback:
		return invalid("callback", fmt.Sprintf("is %q in the plan that was accepted; an amendment does not change it", p.Callback))
	case len(types) > plan.MaxTypes:
		return invalid("tasks", fmt.Sprintf("have %d types with those that the plan had; at most %d are allowed", len(types), plan.MaxTypes))
	case p.Stored()+sum.Tasks > running.MaxStored:
		return fmt.Errorf("%s was amended too often: it has %d tasks, with those that were replaced; give what is new another id: %w", what, p.Stored(), job.ErrConflict)
	}
	return nil
}
