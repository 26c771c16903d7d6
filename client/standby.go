package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// Standby is what the cluster is to another one.
type Standby struct{ c *conn }

// Get tells what the cluster is to another one.
func (s Standby) Get(ctx context.Context) (api.Standby, error) {
	var out api.Standby
	err := s.c.get(ctx, &out, nil, "standby")
	return out, err
}

// Follow makes the cluster the standby of another one, or tells what it would give up.
func (s Standby) Follow(ctx context.Context, req api.FollowRequest) (api.Followed, error) {
	body := struct {
		From    string `json:"from"`
		CA      string `json:"ca,omitempty"`
		Token   string `json:"token,omitempty"`
		Replace bool   `json:"replace,omitempty"`
		DryRun  bool   `json:"dryRun,omitempty"`
		order
	}{req.From, req.CA, req.Token, req.Replace, req.DryRun, orderOf(req.Order)}
	var out api.Followed
	err := s.c.send(ctx, http.MethodPost, []string{"v1", "standby"}, body, &out)
	return out, err
}

// Stop has a standby go on by itself.
func (s Standby) Stop(ctx context.Context, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "standby", "stop")
}

// Promote has a standby take over, or tells what would be done. It takes as long as it
// takes; ctx bounds it.
func (s Standby) Promote(ctx context.Context, req api.PromoteRequest) (api.Promotion, error) {
	body := struct {
		DryRun             bool       `json:"dryRun,omitempty"`
		Planned            bool       `json:"planned,omitempty"`
		LostAt             *time.Time `json:"lostAt,omitempty"`
		AcceptAfterSeconds int64      `json:"acceptAfterSeconds,omitempty"`
		order
	}{DryRun: req.DryRun, Planned: req.Planned, AcceptAfterSeconds: int64(req.AcceptAfter / time.Second), order: orderOf(req.Order)}
	if !req.LostAt.IsZero() {
		body.LostAt = &req.LostAt
	}
	var out api.Promotion
	err := s.slowly(ctx, body, &out, "promote")
	return out, err
}

// HandOver has an active cluster stop, for its standby to take over.
func (s Standby) HandOver(ctx context.Context, o api.Order) (api.HandedOver, error) {
	var out api.HandedOver
	err := s.slowly(ctx, orderOf(o), &out, "hand-over")
	return out, err
}

// Overtaken tells a cluster that its standby was promoted.
func (s Standby) Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error) {
	body := struct {
		Cluster  string `json:"cluster"`
		Epoch    int64  `json:"epoch"`
		Revision int64  `json:"revision,omitempty"`
		Site     string `json:"site,omitempty"`
		order
	}{req.Cluster, req.Epoch, req.Revision, req.Site, orderOf(req.Order)}
	var out api.Standby
	err := s.c.send(ctx, http.MethodPost, []string{"v1", "overtaken"}, body, &out)
	return out, err
}

// Mirror returns what etcd holds of the cluster, and then what changes in it, until it is
// closed. Its form is for standbys of this release.
func (s Standby) Mirror(ctx context.Context, req api.MirrorRequest) (io.ReadCloser, error) {
	q := url.Values{}
	if req.Cluster != "" {
		q.Set("cluster", req.Cluster)
	}
	for name, v := range map[string]int64{"epoch": req.Epoch, "after": req.After} {
		if v != 0 {
			q.Set(name, strconv.FormatInt(v, 10))
		}
	}
	return s.c.open(ctx, request{method: http.MethodPost, path: []string{"v1", "mirror"}, query: q})
}

// slowly is send without a bound of its own.
func (s Standby) slowly(ctx context.Context, body, out any, verb string) error {
	text, err := encode(body)
	if err != nil {
		return err
	}
	answer, err := s.c.open(ctx, request{method: http.MethodPost, path: []string{"v1", verb}, body: text, kind: "application/json"})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }()
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
