package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Minions lists the minions that the caller may read.
func (c *Control) Minions(ctx context.Context) ([]api.Minion, error) {
	all, err := c.behind.Minions(ctx)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Minions, all, func(m *api.Minion) (string, map[string]string) { return "", m.Labels })
}

// minionLabels finds the labels of a minion.
func (c *Control) minionLabels(id job.MinionID) labels {
	return func(ctx context.Context) (map[string]string, error) {
		m, err := c.behind.Minion(ctx, id)
		return m.Labels, err
	}
}

// Minion shows a minion.
func (c *Control) Minion(ctx context.Context, id job.MinionID) (api.MinionDetail, error) {
	if err := c.need(ctx, rights.Read, rights.Minions, "", c.minionLabels(id), hidden("minion", text(id))); err != nil {
		return api.MinionDetail{}, err
	}
	return c.behind.Minion(ctx, id)
}

// hostGroupLabels finds the labels of a group of hosts.
func (c *Control) hostGroupLabels(name string) labels {
	return c.labelsOf(rights.HostGroups, job.Key{Namespace: job.DefaultNamespace, Name: name})
}

// HostGroups lists the groups of hosts that the caller may read.
func (c *Control) HostGroups(ctx context.Context) ([]job.HostGroup, error) {
	all, err := c.behind.HostGroups(ctx)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.HostGroups, all, func(g *job.HostGroup) (string, map[string]string) { return "", g.Labels })
}

// DeleteHostGroup deletes a group of hosts.
func (c *Control) DeleteHostGroup(ctx context.Context, name string) error {
	if err := c.need(ctx, rights.Delete, rights.HostGroups, "", c.hostGroupLabels(name), hidden("host group", text(name))); err != nil {
		return err
	}
	return c.behind.DeleteHostGroup(ctx, name)
}

// MatchMinions tells which minions a target matches.
func (c *Control) MatchMinions(ctx context.Context, expr string) (api.Match, error) {
	if err := c.whole(ctx, rights.Read, rights.Minions); err != nil {
		return api.Match{}, err
	}
	return c.behind.MatchMinions(ctx, expr)
}

// DispatchStatus tells what is on its way to minions.
func (c *Control) DispatchStatus(ctx context.Context, all bool) (api.Dispatch, error) {
	if err := c.whole(ctx, rights.Read, rights.Minions); err != nil {
		return api.Dispatch{}, err
	}
	return c.behind.DispatchStatus(ctx, all)
}

// LabelMinion grants labels to a minion. Targets and roles go by them, so that it wants the right of who lets minions in.
func (c *Control) LabelMinion(ctx context.Context, id job.MinionID, req api.LabelRequest) (map[string]string, error) {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return nil, err
	}
	return c.behind.LabelMinion(ctx, id, req)
}

// Authority is the certificate of the cluster's authority. It wants no right: it is what
// others know the cluster by.
func (c *Control) Authority() (api.Authority, error) { return c.behind.Authority() }

// CreateToken makes a token by which minions join.
func (c *Control) CreateToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return api.JoinToken{}, err
	}
	return c.behind.CreateToken(ctx, req)
}

// Tokens lists the tokens by which minions join.
func (c *Control) Tokens(ctx context.Context) ([]api.JoinToken, error) {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return nil, err
	}
	return c.behind.Tokens(ctx)
}

// DeleteToken ends a token by which minions join.
func (c *Control) DeleteToken(ctx context.Context, id string, o api.Order) error {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return err
	}
	return c.behind.DeleteToken(ctx, id, o)
}

// JoinRequests lists minions that ask to join.
func (c *Control) JoinRequests(ctx context.Context) ([]api.JoinRequest, error) {
	if err := c.whole(ctx, rights.Read, rights.Minions); err != nil {
		return nil, err
	}
	return c.behind.JoinRequests(ctx)
}

// ApproveMinion lets a minion join.
func (c *Control) ApproveMinion(ctx context.Context, id job.MinionID, fingerprint string, labels map[string]string, o api.Order) error {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return err
	}
	return c.behind.ApproveMinion(ctx, id, fingerprint, labels, o)
}

// RejectMinion refuses a minion that asks to join.
func (c *Control) RejectMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return err
	}
	return c.behind.RejectMinion(ctx, id, o)
}

// RevokeMinion ends a minion's certificates.
func (c *Control) RevokeMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return err
	}
	return c.behind.RevokeMinion(ctx, id, o)
}

// ForgetMinion forgets a minion.
func (c *Control) ForgetMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	if err := c.whole(ctx, rights.Enroll, rights.Minions); err != nil {
		return err
	}
	return c.behind.ForgetMinion(ctx, id, o)
}

// Enrolled lists minions that have, or had, a certificate.
func (c *Control) Enrolled(ctx context.Context) ([]api.Enrollment, error) {
	if err := c.whole(ctx, rights.Read, rights.Minions); err != nil {
		return nil, err
	}
	return c.behind.Enrolled(ctx)
}

// StartUpdate brings minions to a release.
func (c *Control) StartUpdate(ctx context.Context, req api.UpdateRequest) (api.Update, error) {
	if err := c.whole(ctx, rights.Operate, rights.Minions); err != nil {
		return api.Update{}, err
	}
	return c.behind.StartUpdate(ctx, req)
}

// UpdateStatus tells how far the update of minions is.
func (c *Control) UpdateStatus(ctx context.Context) (api.Update, error) {
	if err := c.whole(ctx, rights.Read, rights.Minions); err != nil {
		return api.Update{}, err
	}
	return c.behind.UpdateStatus(ctx)
}

// PauseUpdate pauses the update of minions.
func (c *Control) PauseUpdate(ctx context.Context, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Minions); err != nil {
		return err
	}
	return c.behind.PauseUpdate(ctx, o)
}

// ResumeUpdate ends a pause of it.
func (c *Control) ResumeUpdate(ctx context.Context, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Minions); err != nil {
		return err
	}
	return c.behind.ResumeUpdate(ctx, o)
}

// StopUpdate ends it.
func (c *Control) StopUpdate(ctx context.Context, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Minions); err != nil {
		return err
	}
	return c.behind.StopUpdate(ctx, o)
}
