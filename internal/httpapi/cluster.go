package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type nodesBody struct {
	Nodes []api.Node `json:"nodes" nullable:"false"`
}

type minionsBody struct {
	Minions []api.Minion `json:"minions" nullable:"false"`
}

type shardsBody struct {
	Shards []api.Shard `json:"shards" nullable:"false"`
}

type doctorBody struct {
	Checks []api.Check `json:"checks" nullable:"false"`
}

type matchInput struct {
	Target string `query:"target" required:"true" doc:"A target expression, such as web* and os == \"linux\"."`
}

type minionInput struct {
	ID job.MinionID `path:"id" doc:"The minion's id. One that is called match is found in the list of minions only."`
}

func (a *API) clusterRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/nodes", "list-nodes", "Scheduler nodes: those that live, and those that are gone and have not left in order"),
		func(ctx context.Context, _ *struct{}) (*reply[nodesBody], error) {
			nodes, err := a.control.Nodes(ctx)
			return answer(nodesBody{some(nodes)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minions", "list-minions", "Known minions"),
		func(ctx context.Context, _ *struct{}) (*reply[minionsBody], error) {
			minions, err := a.control.Minions(ctx)
			return answer(minionsBody{some(minions)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minions/match", "match-minions", "Minions that a target matches"),
		func(ctx context.Context, in *matchInput) (*reply[api.Match], error) {
			return answer(a.control.MatchMinions(ctx, in.Target))
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minions/{id}", "get-minion", "All that is known of a minion: what it was granted, what it asks for, what it says, and its certificate"),
		func(ctx context.Context, in *minionInput) (*reply[api.MinionDetail], error) {
			return answer(a.control.Minion(ctx, in.ID))
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/shards", "list-shards", "Shards and their owners"),
		func(ctx context.Context, _ *struct{}) (*reply[shardsBody], error) {
			shards, err := a.control.Shards(ctx)
			return answer(shardsBody{some(shards)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/doctor", "doctor", "What is wrong, or will soon be"),
		func(ctx context.Context, _ *struct{}) (*reply[doctorBody], error) {
			checks, err := a.control.Doctor(ctx)
			return answer(doctorBody{some(checks)}, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/recover", "recover", "Have a cluster go on that is held since a restore, or show what would be done", http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *recoverInput) (*reply[api.Recovery], error) {
			b := &in.Body
			req := api.RecoverRequest{Order: api.Order{By: b.By, Reason: b.Reason}, DryRun: b.DryRun, AcceptUnknown: b.AcceptUnknown, Adopt: b.Adopt}
			if b.LostAt != nil {
				req.LostAt = *b.LostAt
			}
			v, err := a.control.Recover(ctx, req)
			v.Jobs, v.Lost, v.Silent = some(v.Jobs), some(v.Lost), some(v.Silent)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/version", "version", "What runs here"),
		func(context.Context, *struct{}) (*reply[api.Version], error) {
			return answer(a.control.Version(), nil)
		})
}

type recoverInput struct{ Body recoverBody }

type recoverBody struct {
	DryRun        bool       `json:"dryRun,omitempty" doc:"Only show what would be done."`
	AcceptUnknown bool       `json:"acceptUnknown,omitempty" doc:"Do not wait for minions that do not answer: what they may have run is recorded as indeterminate."`
	LostAt        *time.Time `json:"lostAt,omitempty" doc:"When the cluster was lost: what was due after it has certainly not run. Default: when it was restored."`
	Adopt         bool       `json:"adopt,omitempty" doc:"Go on from what etcd holds, which went back without carillon restore; the cluster is held then, in a new epoch."`
	By            string     `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason        string     `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

// Where health is told.
const (
	livezPath  = "/livez"
	readyzPath = "/readyz"
)

// health is the body of /livez and /readyz.
type health struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons"`
}

func (a *API) livez(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, health{Status: "ok", Reasons: []string{}})
}

func (a *API) readyz(w http.ResponseWriter, _ *http.Request) {
	if reasons := a.ready(); len(reasons) > 0 {
		writeHealth(w, http.StatusServiceUnavailable, health{Status: "not ready", Reasons: reasons})
		return
	}
	writeHealth(w, http.StatusOK, health{Status: "ok", Reasons: []string{}})
}

func writeHealth(w http.ResponseWriter, status int, h health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h) // who does not read has gone
}
