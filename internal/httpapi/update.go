package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/release"
)

// maxUpdateBytes bounds the body that starts an update: it has a signed manifest.
const maxUpdateBytes = 1 << 20

type updateInput struct{ Body updateBody }

type updateBody struct {
	Manifest        release.Signed    `json:"manifest" doc:"The signed manifest, as carillon minions update sign writes it."`
	Groups          []updateGroupBody `json:"groups" nullable:"false" doc:"Groups of minions; they come one after the other."`
	Tolerate        int               `json:"tolerate,omitempty" minimum:"0" doc:"How many failures do not halt the plan."`
	PatienceSeconds int64             `json:"patienceSeconds,omitempty" minimum:"0" doc:"How long a minion may take; not given: ten minutes."`
	By              string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason          string            `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type updateGroupBody struct {
	Name        string `json:"name" minLength:"1" maxLength:"128" doc:"The group's name."`
	Match       string `json:"match" minLength:"1" maxLength:"4096" doc:"The target expression of its minions."`
	Canaries    int    `json:"canaries,omitempty" minimum:"0" doc:"How many must have the release before the others are told."`
	MaxInFlight string `json:"maxInFlight,omitempty" maxLength:"16" doc:"How many may be under way: 20 or 5%; not given: one."`
}

type orderInput struct{ Body *orderBody }

func (a *API) updateRoutes(doc huma.API) {
	const path = "/v1/minion-update"
	start := operation(http.MethodPost, path, "start-minion-update", "Update minions to a signed release, group by group", http.StatusConflict, http.StatusUnprocessableEntity)
	start.MaxBodyBytes = maxUpdateBytes
	huma.Register(doc, start, func(ctx context.Context, in *updateInput) (*reply[api.Update], error) {
		b := &in.Body
		signed, err := json.Marshal(b.Manifest)
		if err != nil {
			return answer(api.Update{}, err)
		}
		req := api.UpdateRequest{
			Signed: signed, Tolerate: b.Tolerate, Patience: time.Duration(b.PatienceSeconds) * time.Second,
			Order: api.Order{By: b.By, Reason: b.Reason},
		}
		for _, g := range b.Groups {
			req.Groups = append(req.Groups, api.UpdateGroup(g))
		}
		v, err := a.control.StartUpdate(ctx, req)
		return answer(v, err)
	})
	huma.Register(doc, operation(http.MethodGet, path, "minion-update-status", "The progress of the update of minions", http.StatusNotFound),
		func(ctx context.Context, _ *struct{}) (*reply[api.Update], error) {
			v, err := a.control.UpdateStatus(ctx)
			return answer(v, err)
		})
	for _, o := range []struct {
		verb, summary string
		do            func(context.Context, api.Order) error
	}{
		{"pause", "Pause the update: no further minion is told of the release", a.control.PauseUpdate},
		{"resume", "End a pause of the update", a.control.ResumeUpdate},
		{"stop", "End the update; minions that were told are not called back", a.control.StopUpdate},
	} {
		op := operation(http.MethodPost, path+"/"+o.verb, o.verb+"-minion-update", o.summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		op.DefaultStatus = http.StatusNoContent
		huma.Register(doc, op, func(ctx context.Context, in *orderInput) (*struct{}, error) {
			return done(o.do(ctx, in.Body.order()))
		})
	}
}
