package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
)

type pauseInput struct{ Body pauseBody }

type pauseBody struct {
	Scope     api.Scope `json:"scope" enum:"job,group,namespace,all" doc:"What is paused or resumed."`
	Namespace string    `json:"namespace,omitempty" doc:"The namespace, or that of the job or group."`
	Name      string    `json:"name,omitempty" doc:"The job's or group's name."`
	Until     time.Time `json:"until,omitempty" doc:"When the pause ends by itself; not given: it does not. Only to pause."`
	By        string    `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason    string    `json:"reason,omitempty" maxLength:"1024" doc:"Why; shown to others and kept in the audit record."`
}

func (b *pauseBody) paused() api.Paused {
	return api.Paused{Scope: b.Scope, Namespace: b.Namespace, Name: b.Name}
}

func (b *pauseBody) order() api.Order { return api.Order{By: b.By, Reason: b.Reason} }

type pausesBody struct {
	Pauses []api.Pause `json:"pauses" nullable:"false"`
}

// heldOutput tells from where on something holds.
type heldOutput struct {
	HoldsFrom string `header:"Carillon-Holds-From" doc:"No occurrence after this instant (RFC 3339) is committed by what was there before. Not there: it cannot be told now, and holds all the same."`
}

// held answers an order that holds from an instant on.
func held(from time.Time, err error) (*heldOutput, error) {
	if err != nil {
		return nil, problemOf(err)
	}
	out := &heldOutput{}
	if !from.IsZero() {
		out.HoldsFrom = from.Format(time.RFC3339Nano)
	}
	return out, nil
}

func (a *API) pauseRoutes(doc huma.API) {
	order := func(path, id, summary string) huma.Operation {
		op := operation(http.MethodPost, path, id, summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		op.DefaultStatus = http.StatusNoContent
		return op
	}
	huma.Register(doc, order("/v1/pause", "pause", "Pause scheduled runs"),
		func(ctx context.Context, in *pauseInput) (*heldOutput, error) {
			return held(a.control.Pause(ctx, in.Body.paused(), in.Body.Until, in.Body.order()))
		})
	huma.Register(doc, order("/v1/resume", "resume", "End a pause"),
		func(ctx context.Context, in *pauseInput) (*heldOutput, error) {
			return held(a.control.Resume(ctx, in.Body.paused(), in.Body.order()))
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/pauses", "list-pauses", "What is paused"),
		func(ctx context.Context, _ *struct{}) (*reply[pausesBody], error) {
			all, err := a.control.Pauses(ctx)
			return answer(pausesBody{some(all)}, err)
		})
}
