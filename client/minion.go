package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Minions are the agents that run commands.
type Minions struct{ c *conn }

// List returns the known minions.
func (m Minions) List(ctx context.Context) ([]api.Minion, error) {
	var out struct{ Minions []api.Minion }
	err := m.c.get(ctx, &out, nil, "minions")
	return out.Minions, err
}

// Get returns all that is known of a minion.
func (m Minions) Get(ctx context.Context, id job.MinionID) (api.MinionDetail, error) {
	var out api.MinionDetail
	err := m.c.get(ctx, &out, nil, "minions", string(id))
	return out, err
}

// Match returns the minions that a target matches now.
func (m Minions) Match(ctx context.Context, target string) (api.Match, error) {
	var out api.Match
	err := m.c.get(ctx, &out, url.Values{"target": {target}}, "minions", "match")
	return out, err
}

// Label grants a minion labels, or takes them away, and returns all that it has then.
func (m Minions) Label(ctx context.Context, id job.MinionID, req api.LabelRequest) (map[string]string, error) {
	body := struct {
		Set    map[string]string `json:"set,omitempty"`
		Remove []string          `json:"remove,omitempty"`
		order
	}{req.Set, req.Remove, orderOf(req.Order)}
	var out struct{ Labels map[string]string }
	err := m.c.send(ctx, http.MethodPost, []string{"v1", "minions", string(id), "labels"}, body, &out)
	return out.Labels, err
}

// Forget forgets a minion that is not connected.
func (m Minions) Forget(ctx context.Context, id job.MinionID, o api.Order) error {
	return m.c.send(ctx, http.MethodDelete, []string{"v1", "minions", string(id)}, orderOf(o), nil)
}

// Enrollment lets minions join.
type Enrollment struct{ c *conn }

// Authority returns the certificate of the cluster's authority.
func (e Enrollment) Authority(ctx context.Context) (api.Authority, error) {
	var out api.Authority
	err := e.c.get(ctx, &out, nil, "authority")
	return out, err
}

// CreateToken makes a token by which minions join. Its text is in this answer only.
func (e Enrollment) CreateToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	body := struct {
		TTLSeconds int64             `json:"ttlSeconds,omitempty"`
		Uses       int               `json:"uses,omitempty"`
		Minions    string            `json:"minions,omitempty"`
		Labels     map[string]string `json:"labels,omitempty"`
		order
	}{int64(req.TTL / time.Second), req.Uses, req.Minions, req.Labels, orderOf(req.Order)}
	var out api.JoinToken
	err := e.c.send(ctx, http.MethodPost, []string{"v1", "minion-tokens"}, body, &out)
	return out, err
}

// Tokens returns the tokens that are still good.
func (e Enrollment) Tokens(ctx context.Context) ([]api.JoinToken, error) {
	var out struct{ Tokens []api.JoinToken }
	err := e.c.get(ctx, &out, nil, "minion-tokens")
	return out.Tokens, err
}

// DeleteToken ends a token; minions that have joined by it stay.
func (e Enrollment) DeleteToken(ctx context.Context, id string, o api.Order) error {
	return e.c.send(ctx, http.MethodDelete, []string{"v1", "minion-tokens", id}, orderOf(o), nil)
}

// Requests returns the minions that ask to join without a token.
func (e Enrollment) Requests(ctx context.Context) ([]api.JoinRequest, error) {
	var out struct{ Requests []api.JoinRequest }
	err := e.c.get(ctx, &out, nil, "minion-requests")
	return out.Requests, err
}

// Approve lets a minion join that waits, with the key of that fingerprint; labels are
// granted to it.
func (e Enrollment) Approve(ctx context.Context, id job.MinionID, fingerprint string, labels map[string]string, o api.Order) error {
	body := struct {
		Fingerprint string            `json:"fingerprint,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		order
	}{fingerprint, labels, orderOf(o)}
	return e.c.post(ctx, body, "minions", string(id), "approve")
}

// Reject refuses a minion that waits.
func (e Enrollment) Reject(ctx context.Context, id job.MinionID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "minions", string(id), "reject")
}

// Revoke ends a minion's certificates and its session.
func (e Enrollment) Revoke(ctx context.Context, id job.MinionID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "minions", string(id), "revoke")
}

// Certificates returns the minions that have, or had, a certificate.
func (e Enrollment) Certificates(ctx context.Context) ([]api.Enrollment, error) {
	var out struct{ Minions []api.Enrollment }
	err := e.c.get(ctx, &out, nil, "minion-certificates")
	return out.Minions, err
}

// Updates bring minions to a release.
type Updates struct{ c *conn }

func updatePath(more ...string) []string { return append([]string{"minion-update"}, more...) }

// Start has minions come to a release, in place of what was planned before.
func (u Updates) Start(ctx context.Context, req api.UpdateRequest) (api.Update, error) {
	body := struct {
		Manifest        json.RawMessage   `json:"manifest"`
		Groups          []api.UpdateGroup `json:"groups"`
		Tolerate        int               `json:"tolerate,omitempty"`
		PatienceSeconds int64             `json:"patienceSeconds,omitempty"`
		order
	}{req.Signed, req.Groups, req.Tolerate, int64(req.Patience / time.Second), orderOf(req.Order)}
	var out api.Update
	err := u.c.send(ctx, http.MethodPost, full(updatePath()), body, &out)
	return out, err
}

// Status tells how far the minions have come.
func (u Updates) Status(ctx context.Context) (api.Update, error) {
	var out api.Update
	err := u.c.get(ctx, &out, nil, updatePath()...)
	return out, err
}

// Pause has no further minion told.
func (u Updates) Pause(ctx context.Context, o api.Order) error {
	return u.c.post(ctx, orderOf(o), updatePath("pause")...)
}

// Resume ends a pause.
func (u Updates) Resume(ctx context.Context, o api.Order) error {
	return u.c.post(ctx, orderOf(o), updatePath("resume")...)
}

// Stop ends the update; minions that were told are not called back.
func (u Updates) Stop(ctx context.Context, o api.Order) error {
	return u.c.post(ctx, orderOf(o), updatePath("stop")...)
}
