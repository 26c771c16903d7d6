package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/internal/update"
	"github.com/carillon-cron/carillon/job"
)

// UpdateRequest says how minions are to be updated to a release.
type UpdateRequest struct {
	// Signed is the signed manifest, as JSON.
	Signed []byte
	// Groups come one after the other.
	Groups []etcdkv.UpdateGroup
	// Tolerate is how many failures do not halt the plan, Patience how long a
	// minion may be under way; zero: release.DefaultPatience.
	Tolerate int
	Patience time.Duration
	Order
}

// UpdateView is the progress of an update of minions.
type UpdateView struct {
	Release int64  `json:"release"`
	Version string `json:"version"`
	// Status is off, halted, paused, running or done; Reason says what is waited
	// for, or what is wrong.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Group is the one that is being updated, Canary whether only its canaries are.
	Group  string         `json:"group,omitempty"`
	Canary bool           `json:"canary,omitempty"`
	Groups []update.Group `json:"groups"`
	// InFlight are under way, Failed have failed; both are ordered by id.
	InFlight []UpdatingMinion `json:"inFlight"`
	Failed   []UpdatingMinion `json:"failed"`
	Tolerate int              `json:"tolerate"`
	By       string           `json:"by,omitempty"`
	At       time.Time        `json:"at"`
}

// UpdatingMinion is a minion that is under way to a release, or has failed.
type UpdatingMinion struct {
	Minion job.MinionID `json:"minion"`
	Since  time.Time    `json:"since,omitzero"`
	Reason string       `json:"reason,omitempty"`
}

// errNoUpdate is the error when no update was ever planned.
func errNoUpdate() error { return fmt.Errorf("update of minions: %w", job.ErrNotFound) }

// StartUpdate updates minions to a release, in place of what was planned
// before. A plan for the release that is planned already, and not stopped, keeps
// who is under way and who has failed. The signatures are checked by the
// minions, which have the keys.
func (c *Control) StartUpdate(ctx context.Context, req UpdateRequest) (UpdateView, error) {
	p := etcdkv.UpdatePlan{
		Schema: etcdkv.Schema, Signed: req.Signed, Groups: req.Groups, Tolerate: req.Tolerate,
		Patience: job.Duration(req.Patience), By: by(ctx, req.By), At: c.now().UTC(),
	}
	saved, err := c.savedHosts(ctx)
	if err != nil {
		return UpdateView{}, err
	}
	problems := c.readRelease(&p)
	if len(problems) > 0 {
		p.Release = max(p.Release, 1) // it was told what is wrong with it
	}
	if bad, ok := errors.AsType[*job.InvalidError](update.Check(&p, saved.groups)); ok {
		problems = append(problems, bad.Problems...)
	}
	if len(problems) > 0 {
		return UpdateView{}, &job.InvalidError{Problems: problems}
	}
	kv, was, err := c.updatePlan(ctx)
	if err != nil {
		return UpdateView{}, err
	}
	value, err := etcdkv.Encode(&p)
	if err != nil {
		return UpdateView{}, err
	}
	key := c.cfg.Keys.UpdatePlan()
	ops := []clientv3.Op{clientv3.OpPut(key, value)}
	if was.Off || was.Release != p.Release {
		ops = append(ops, clientv3.OpDelete(c.cfg.Keys.UpdateState()))
	}
	if err := c.operate(ctx, "update.start", updateName(&p), req.Order, key, kv, ops...); err != nil {
		return UpdateView{}, err
	}
	return c.UpdateStatus(ctx)
}

// readRelease fills in what the manifest says, and returns all that is wrong
// with it.
func (c *Control) readRelease(p *etcdkv.UpdatePlan) []job.Problem {
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
	if !c.now().Before(m.Expires) {
		bad("has expired at %s; sign it anew, with a higher number", m.Expires.Format(time.RFC3339))
	}
	p.Release, p.Version = int64(m.Release), m.Version
	return problems
}

// updateName names a plan's release to people.
func updateName(p *etcdkv.UpdatePlan) string { return fmt.Sprintf("%d (%s)", p.Release, p.Version) }

// updatePlan reads the plan; the pair is nil when there is none.
func (c *Control) updatePlan(ctx context.Context) (*mvccpb.KeyValue, etcdkv.UpdatePlan, error) {
	kv, err := c.get(ctx, "read the plan of updates", c.cfg.Keys.UpdatePlan())
	if err != nil || kv == nil {
		return nil, etcdkv.UpdatePlan{}, err
	}
	p, err := decode[etcdkv.UpdatePlan](kv)
	return kv, p, err
}

// UpdateStatus tells how far the minions have come. The error wraps
// job.ErrNotFound when no update was ever planned.
func (c *Control) UpdateStatus(ctx context.Context) (UpdateView, error) {
	kv, p, err := c.updatePlan(ctx)
	if err != nil {
		return UpdateView{}, err
	}
	if kv == nil {
		return UpdateView{}, errNoUpdate()
	}
	var s etcdkv.UpdateState
	if kv, err = c.get(ctx, "read the state of updates", c.cfg.Keys.UpdateState()); err != nil {
		return UpdateView{}, err
	}
	if kv != nil {
		if s, err = decode[etcdkv.UpdateState](kv); err != nil {
			return UpdateView{}, err
		}
	}
	saved, err := c.savedHosts(ctx)
	if err != nil {
		return UpdateView{}, err
	}
	views, err := c.Minions(ctx)
	if err != nil {
		return UpdateView{}, err
	}
	minions := make([]job.Minion, len(views))
	for i := range views {
		minions[i] = views[i].Minion
	}
	v := UpdateView{
		Release: p.Release, Version: p.Version, Tolerate: p.Tolerate, By: p.By, At: p.At,
		Groups: []update.Group{}, InFlight: []UpdatingMinion{}, Failed: []UpdatingMinion{},
	}
	out, err := update.Next(&p, s, minions, saved.groups, c.now())
	if err != nil { // the groups of hosts have changed
		v.Status, v.Reason = string(release.StatusHalted), err.Error()
		return v, nil
	}
	v.Status, v.Reason, v.Group, v.Canary, v.Groups = string(out.Step.Status), out.Step.Reason, out.Step.Group, out.Step.Canary, out.Groups
	for _, id := range slices.Sorted(maps.Keys(out.State.Since)) {
		if since, told := s.Since[id]; told && s.Release == p.Release {
			v.InFlight = append(v.InFlight, UpdatingMinion{Minion: id, Since: since})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(out.State.Failed)) {
		v.Failed = append(v.Failed, UpdatingMinion{Minion: id, Reason: out.State.Failed[id]})
	}
	return v, nil
}

// PauseUpdate has nobody new told until ResumeUpdate.
func (c *Control) PauseUpdate(ctx context.Context, o Order) error {
	return c.changeUpdate(ctx, "update.pause", o, func(p *etcdkv.UpdatePlan) { p.Paused = true })
}

// ResumeUpdate ends a pause.
func (c *Control) ResumeUpdate(ctx context.Context, o Order) error {
	return c.changeUpdate(ctx, "update.resume", o, func(p *etcdkv.UpdatePlan) { p.Paused = false })
}

// StopUpdate ends the plan for good. Minions that were told are not called back.
func (c *Control) StopUpdate(ctx context.Context, o Order) error {
	return c.changeUpdate(ctx, "update.stop", o, func(p *etcdkv.UpdatePlan) { p.Off = true })
}

func (c *Control) changeUpdate(ctx context.Context, action string, o Order, change func(*etcdkv.UpdatePlan)) error {
	kv, p, err := c.updatePlan(ctx)
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
	return c.operate(ctx, action, updateName(&p), o, string(kv.Key), kv, clientv3.OpPut(string(kv.Key), value))
}

// checkUpdate looks for an update that cannot go on by itself.
func (c *Control) checkUpdate(ctx context.Context) ([]Check, error) {
	v, err := c.UpdateStatus(ctx)
	if errors.Is(err, job.ErrNotFound) {
		return nil, nil
	}
	if err != nil || v.Status != string(release.StatusHalted) {
		return nil, err
	}
	return []Check{{
		Name: "update", Status: CheckWarn, Detail: fmt.Sprintf("the update to release %d (%s) is halted: %s", v.Release, v.Version, v.Reason),
		Hint: "see `carillon minions update status`; sign a release that works, with a higher number, or tolerate more failures",
	}}, nil
}
