package apiview

import (
	"fmt"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/update"
)

// stateOf tells how far a backfill is, in a word.
func stateOf(b *etcdkv.Backfill) string {
	switch {
	case b.EndedAt.IsZero():
		return "running"
	case b.EndedWhy == "":
		return "done"
	}
	return "ended"
}

// Each returns what told makes of each.
func Each[S, T any](all []S, told func(*S) T) []T {
	out := make([]T, len(all))
	for i := range all {
		out[i] = told(&all[i])
	}
	return out
}

// Pause is what the API tells of a stored pause.
func Pause(p *etcdkv.Pause) api.Pause {
	return api.Pause{
		Scope: api.Scope(p.Scope), Namespace: p.Namespace, Name: p.Name, By: p.By, Reason: p.Reason, ByFailures: p.ByFailures(),
		Since: p.Since, Until: p.Until,
	}
}

// Audit is what the API tells of an audit record, by its id: one entry for each object.
func Audit(id string, r *etcdkv.Audit) []api.AuditRecord {
	v := api.AuditRecord{
		ID: id, At: r.At, By: r.By, From: r.From, Request: r.Request, Action: r.Action, Object: r.Object, Reason: r.Reason,
		Before: r.Before, Changes: auditChanges(r.Changes), LeftOut: r.LeftOut, Count: r.Count,
	}
	if len(r.Objects) == 0 {
		return []api.AuditRecord{v}
	}
	out := make([]api.AuditRecord, len(r.Objects))
	for i := range r.Objects {
		o := &r.Objects[i]
		out[i] = v
		out[i].ID, out[i].Action, out[i].Object = fmt.Sprintf("%s.%d", id, i+1), o.Action, o.Object
		out[i].Changes, out[i].LeftOut = auditChanges(o.Changes), o.LeftOut
	}
	return out
}

func auditChanges(changes []etcdkv.AuditChange) []api.AuditChange {
	if len(changes) == 0 {
		return nil
	}
	return Each(changes, func(c *etcdkv.AuditChange) api.AuditChange { return api.AuditChange(*c) })
}

// Override is what the API tells of an order for a shard.
func Override(o *etcdkv.Override) *api.Override {
	return &api.Override{Shard: o.Shard, Node: o.Node, Failback: o.Failback, By: o.By, Reason: o.Reason, Since: o.Since}
}

// Drain is what the API tells of a drained node.
func Drain(d *etcdkv.Drain) *api.Drain {
	return &api.Drain{Node: d.Node, By: d.By, Reason: d.Reason, Since: d.Since}
}

// Aside is what the API tells of a job that cannot be planned.
func Aside(a *etcdkv.Aside) *api.Aside {
	return &api.Aside{Namespace: a.Namespace, Name: a.Name, Job: a.Job, Reason: a.Reason, Since: a.Since}
}

// RingNode is what the API tells of a place in a ring.
func RingNode(n *etcdkv.RingNode) api.RingNode { return api.RingNode(*n) }

// Backfill is what the API tells of a backfill, running or ended.
func Backfill(stored *etcdkv.Backfill) api.Backfill {
	told := stored.Told()
	b := &told
	return api.Backfill{
		ID: b.ID, Job: b.Job, Key: b.Key, By: b.By, Reason: b.Reason, From: b.From, To: b.To, Done: b.Done, Overlap: b.Overlap,
		Every: b.Every, Params: b.Params, Since: b.Since, EndedAt: b.EndedAt, EndedWhy: b.EndedWhy, State: stateOf(b),
	}
}

// Enrollment is what the API tells of a minion that has joined.
func Enrollment(e *etcdkv.Enrollment) api.Enrollment {
	return api.Enrollment{
		ID: e.ID, Key: e.Key, Token: e.Token, ApprovedBy: e.ApprovedBy, EnrolledAt: e.EnrolledAt, Serial: e.Serial,
		IssuedAt: e.IssuedAt, ExpiresAt: e.ExpiresAt, RevokedAt: e.RevokedAt,
		Clones: Each(e.Clones, func(c *etcdkv.Clone) api.Clone { return api.Clone(*c) }),
	}
}

// JoinRequest is what the API tells of a minion that waits for an operator.
func JoinRequest(r *etcdkv.JoinRequest) api.JoinRequest {
	return api.JoinRequest{ID: r.ID, Keys: Each(r.Keys, func(k *etcdkv.RequestedKey) api.RequestedKey { return api.RequestedKey(*k) })}
}

// StoredUpdateGroup is what is stored of a group of minions that are updated together.
func StoredUpdateGroup(g *api.UpdateGroup) etcdkv.UpdateGroup { return etcdkv.UpdateGroup(*g) }

// UpdateGroup is what the API tells of such a group, and how far it is.
func UpdateGroup(g *update.Group) api.UpdateProgress {
	out := api.UpdateProgress{UpdateGroup: api.UpdateGroup(g.UpdateGroup), Phases: make(map[api.UpdatePhase]int, len(g.Phases))}
	for phase, n := range g.Phases {
		out.Phases[api.UpdatePhase(phase)] = n
	}
	return out
}

// UnknownKey is what the API tells of a key in a target that no minion has.
func UnknownKey(k *target.UnknownKey) api.UnknownKey { return api.UnknownKey(*k) }

// Dispatch is what the API tells of a hub.
func Dispatch(s *agentpush.Status) api.NodeDispatch {
	return api.NodeDispatch{
		Node: s.Node, Connected: s.Connected, Known: s.Known, Online: s.Online, Queued: s.Queued, InFlight: s.InFlight,
		Forwarded: s.Forwarded, Dropped: s.Dropped, Taken: s.Taken, TakenPerSecond: s.TakenPerSecond,
		Minions: Each(s.Minions, func(m *agentpush.MinionStatus) api.MinionDispatch { return api.MinionDispatch(*m) }),
	}
}
