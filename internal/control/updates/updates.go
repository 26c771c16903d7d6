package updates

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/internal/update"
	"github.com/carillon-cron/carillon/job"
)

// errNoUpdate is the error when no update was ever planned.
func errNoUpdate() error { return fmt.Errorf("update of minions: %w", job.ErrNotFound) }

// StartUpdate updates minions to a release, in place of what was planned
// before. A plan for the release that is planned already, and not stopped, keeps
// who is under way and who has failed. The signatures are checked by the
// minions, which have the keys.
func (r *Rollout) StartUpdate(ctx context.Context, req api.UpdateRequest) (api.Update, error) {
	p := etcdkv.UpdatePlan{
		Schema: etcdkv.Schema, Signed: req.Signed, Groups: apiview.Each(req.Groups, apiview.StoredUpdateGroup), Tolerate: req.Tolerate,
		Patience: job.Duration(req.Patience), By: caller.Of(ctx, req.By), At: r.db.Now().UTC(),
	}
	saved, err := r.minions.HostExpressions(ctx)
	if err != nil {
		return api.Update{}, err
	}
	problems := r.readRelease(&p)
	if len(problems) > 0 {
		p.Release = max(p.Release, 1) // it was told what is wrong with it
	}
	if bad, ok := errors.AsType[*job.InvalidError](update.Check(&p, saved.Groups)); ok {
		problems = append(problems, bad.Problems...)
	}
	if len(problems) > 0 {
		return api.Update{}, &job.InvalidError{Problems: problems}
	}
	kv, was, err := r.updatePlan(ctx)
	if err != nil {
		return api.Update{}, err
	}
	value, err := etcdkv.Encode(&p)
	if err != nil {
		return api.Update{}, err
	}
	key := r.db.Keys.UpdatePlan()
	ops := []clientv3.Op{clientv3.OpPut(key, value)}
	if was.Off || was.Release != p.Release {
		ops = append(ops, clientv3.OpDelete(r.db.Keys.UpdateState()))
	}
	if err := r.audit.Write(ctx, "update.start", updateName(&p), req.Order, key, kv, ops...); err != nil {
		return api.Update{}, err
	}
	return r.UpdateStatus(ctx)
}

// readRelease fills in what the manifest says, and returns all that is wrong
// with it.
func (r *Rollout) readRelease(p *etcdkv.UpdatePlan) []job.Problem {
	var problems []job.Problem
	bad := func(format string, args ...any) {
		problems = append(problems, job.Problem{Path: "manifest", Message: fmt.Sprintf(format, args...)})
	}
	s, err := release.ParseSigned(p.Signed)
	if err != nil {
		bad("%v", err)
		return problems
	}
	if len(s.Signatures) == 0 {
		bad("is not signed; see `carillon minions update sign`")
	}
	m, err := s.Claims()
	if err != nil {
		bad("%v", err)
		return problems
	}
	if !r.db.Now().Before(m.Expires) {
		bad("has expired at %s; sign it anew, with a higher number", m.Expires.Format(time.RFC3339))
	}
	p.Release, p.Version = int64(m.Release), m.Version
	return problems
}

// updateName names a plan's release to people.
func updateName(p *etcdkv.UpdatePlan) string { return fmt.Sprintf("%d (%s)", p.Release, p.Version) }

// updatePlan reads the plan; the pair is nil when there is none.
func (r *Rollout) updatePlan(ctx context.Context) (*mvccpb.KeyValue, etcdkv.UpdatePlan, error) {
	kv, err := r.db.Get(ctx, "read the plan of updates", r.db.Keys.UpdatePlan())
	if err != nil || kv == nil {
		return nil, etcdkv.UpdatePlan{}, err
	}
	p, err := store.Decode[etcdkv.UpdatePlan](kv)
	return kv, p, err
}

// UpdateStatus tells how far the minions have come. The error wraps
// job.ErrNotFound when no update was ever planned.
func (r *Rollout) UpdateStatus(ctx context.Context) (api.Update, error) {
	kv, p, err := r.updatePlan(ctx)
	if err != nil {
		return api.Update{}, err
	}
	if kv == nil {
		return api.Update{}, errNoUpdate()
	}
	var s etcdkv.UpdateState
	if kv, err = r.db.Get(ctx, "read the state of updates", r.db.Keys.UpdateState()); err != nil {
		return api.Update{}, err
	}
	if kv != nil {
		if s, err = store.Decode[etcdkv.UpdateState](kv); err != nil {
			return api.Update{}, err
		}
	}
	saved, err := r.minions.HostExpressions(ctx)
	if err != nil {
		return api.Update{}, err
	}
	views, err := r.minions.Minions(ctx)
	if err != nil {
		return api.Update{}, err
	}
	minions := make([]job.Minion, len(views))
	for i := range views {
		minions[i] = views[i].Minion
	}
	v := api.Update{
		Release: p.Release, Version: p.Version, Tolerate: p.Tolerate, By: p.By, At: p.At,
		Groups: []api.UpdateProgress{}, InFlight: []api.UpdatingMinion{}, Failed: []api.UpdatingMinion{},
	}
	out, err := update.Next(&p, s, minions, saved.Groups, r.db.Now())
	if err != nil { // the groups of hosts have changed
		v.Status, v.Reason = string(release.StatusHalted), err.Error()
		return v, nil
	}
	v.Status, v.Reason, v.Group, v.Canary, v.Groups = string(out.Step.Status), out.Step.Reason, out.Step.Group, out.Step.Canary, apiview.Each(out.Groups, apiview.UpdateGroup)
	for _, id := range slices.Sorted(maps.Keys(out.State.Since)) {
		if since, told := s.Since[id]; told && s.Release == p.Release {
			v.InFlight = append(v.InFlight, api.UpdatingMinion{Minion: id, Since: since})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(out.State.Failed)) {
		v.Failed = append(v.Failed, api.UpdatingMinion{Minion: id, Reason: out.State.Failed[id]})
	}
	return v, nil
}

// PauseUpdate has nobody new told until ResumeUpdate.
func (r *Rollout) PauseUpdate(ctx context.Context, o api.Order) error {
	return r.changeUpdate(ctx, "update.pause", o, func(p *etcdkv.UpdatePlan) { p.Paused = true })
}

// ResumeUpdate ends a pause.
func (r *Rollout) ResumeUpdate(ctx context.Context, o api.Order) error {
	return r.changeUpdate(ctx, "update.resume", o, func(p *etcdkv.UpdatePlan) { p.Paused = false })
}

// StopUpdate ends the plan for good. Minions that were told are not called back.
func (r *Rollout) StopUpdate(ctx context.Context, o api.Order) error {
	return r.changeUpdate(ctx, "update.stop", o, func(p *etcdkv.UpdatePlan) { p.Off = true })
}

func (r *Rollout) changeUpdate(ctx context.Context, action string, o api.Order, change func(*etcdkv.UpdatePlan)) error {
	kv, p, err := r.updatePlan(ctx)
	switch {
	case err != nil:
		return err
	case kv == nil:
		return errNoUpdate()
	case p.Off:
		return fmt.Errorf("the update to release %s was stopped; start it again: %w", updateName(&p), job.ErrConflict)
	}
	before := p
	if change(&p); p.Paused == before.Paused && p.Off == before.Off {
		return fmt.Errorf("the update to release %s is so already: %w", updateName(&p), job.ErrConflict)
	}
	value, err := etcdkv.MergeUnknown(kv.Value, p)
	if err != nil {
		return err
	}
	return r.audit.Write(ctx, action, updateName(&p), o, string(kv.Key), kv, clientv3.OpPut(string(kv.Key), value))
}
