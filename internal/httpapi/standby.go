package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// mirrorPath is where a standby follows this cluster.
const mirrorPath = "/v1/mirror"

type followInput struct{ Body followBody }

type followBody struct {
	From    string `json:"from" maxLength:"1024" doc:"Where the API of the active cluster is reached; several addresses with commas between them."`
	CA      string `json:"ca,omitempty" maxLength:"32768" doc:"Certificates of the authorities that it is known by, in PEM. Default: those that the hosts of the nodes trust."`
	Token   string `json:"token,omitempty" maxLength:"512" doc:"A token of the active cluster that may grant on the cluster. It is kept sealed."`
	Replace bool   `json:"replace,omitempty" doc:"Give up what this cluster has of its own, when it is promoted."`
	DryRun  bool   `json:"dryRun,omitempty" doc:"Only show what would be given up."`
	By      string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason  string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type promoteInput struct{ Body promoteBody }

type promoteBody struct {
	DryRun             bool       `json:"dryRun,omitempty" doc:"Only show what would be done."`
	Planned            bool       `json:"planned,omitempty" doc:"The active cluster lives: stop it first, and take all that it has."`
	LostAt             *time.Time `json:"lostAt,omitempty" doc:"When the active cluster was lost: what was due after it has certainly not run. Default: now."`
	AcceptAfterSeconds int64      `json:"acceptAfterSeconds,omitempty" minimum:"0" maximum:"86400" doc:"How long minions are waited for; then what those that are silent may have run is recorded as indeterminate. Default: as long as it takes."`
	By                 string     `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason             string     `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type overtakenInput struct{ Body overtakenBody }

type overtakenBody struct {
	Cluster  string `json:"cluster" maxLength:"64" doc:"The id of the cluster that goes on."`
	Epoch    int64  `json:"epoch" minimum:"0" doc:"Its epoch."`
	Revision int64  `json:"revision,omitempty" minimum:"0" doc:"The revision of this cluster's etcd of which its copy was."`
	Site     string `json:"site,omitempty" maxLength:"1024" doc:"Where it is reached."`
	By       string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason   string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

func (a *API) standbyRoutes(doc huma.API, mux *routes) {
	huma.Register(doc, operation(http.MethodGet, "/v1/standby", "get-standby", "What this cluster is to another one: its standby, or what it was overtaken by"),
		func(ctx context.Context, _ *struct{}) (*reply[api.Standby], error) {
			return answer(a.control.Standby(ctx))
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/standby", "follow-active", "Make this cluster the standby of another one, or show what it would give up", http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *followInput) (*reply[api.Followed], error) {
			b := &in.Body
			v, err := a.control.FollowActive(ctx, api.FollowRequest{
				Order: api.Order{By: b.By, Reason: b.Reason}, From: b.From, CA: b.CA, Token: b.Token, Replace: b.Replace, DryRun: b.DryRun,
			})
			v.Lost = some(v.Lost)
			return answer(v, err)
		})
	stop := operation(http.MethodPost, "/v1/standby/stop", "stop-following", "Have a standby go on by itself, with what it has of its own", http.StatusConflict)
	stop.DefaultStatus = http.StatusNoContent
	huma.Register(doc, stop, func(ctx context.Context, in *orderInput) (*struct{}, error) {
		return done(a.control.StopFollowing(ctx, in.Body.order()))
	})
	huma.Register(doc, operation(http.MethodPost, "/v1/promote", "promote-cluster", "Have a standby take over, or show what would be done", http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *promoteInput) (*reply[api.Promotion], error) {
			b := &in.Body
			req := api.PromoteRequest{Order: api.Order{By: b.By, Reason: b.Reason}, DryRun: b.DryRun, Planned: b.Planned, AcceptAfter: time.Duration(b.AcceptAfterSeconds) * time.Second}
			if b.LostAt != nil {
				req.LostAt = *b.LostAt
			}
			v, err := a.control.PromoteCluster(ctx, req)
			v.Warnings = some(v.Warnings)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/hand-over", "hand-over", "Have this cluster stop, for its standby to take over", http.StatusConflict),
		func(ctx context.Context, in *orderInput) (*reply[api.HandedOver], error) {
			return answer(a.control.HandOver(ctx, in.Body.order()))
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/overtaken", "overtaken", "Tell this cluster that its standby was promoted, and goes on", http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *overtakenInput) (*reply[api.Standby], error) {
			b := &in.Body
			return answer(a.control.Overtaken(ctx, api.OvertakenRequest{
				Order: api.Order{By: b.By, Reason: b.Reason}, Cluster: b.Cluster, Epoch: b.Epoch, Revision: b.Revision, Site: b.Site,
			}))
		})
	mux.HandleFunc("POST "+mirrorPath, a.mirror)
	text, number := &huma.Schema{Type: huma.TypeString}, &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
	describe(doc, mirrorPath, &huma.Operation{
		Method: http.MethodPost, OperationID: "mirror", Summary: "What etcd holds of the cluster, and then what changes, as a standby follows it",
		Parameters: []*huma.Param{
			{Name: "cluster", In: "query", Schema: text, Description: "The cluster of which there is a copy."},
			{Name: "epoch", In: "query", Schema: number, Description: "The epoch of the copy."},
			{Name: "after", In: "query", Schema: number, Description: "The revision of the copy. Not given: there is none."},
		},
		Responses: map[string]*huma.Response{
			"200":     {Description: "Frames, until the client goes: a head, the records of a snapshot if what changed is not known any more, then changes by revision.", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: text}}},
			"default": {Description: "Error", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}}},
		},
	})
}

// mirror streams what etcd holds, and what changes.
func (a *API) mirror(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	req := api.MirrorRequest{Cluster: q.Get("cluster")}
	var invalid job.InvalidError
	for name, to := range map[string]*int64{"epoch": &req.Epoch, "after": &req.After} {
		v := q.Get(name)
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			invalid.Problems = append(invalid.Problems, job.Problem{Path: name, Message: fmt.Sprintf("%q is not a number from 0", v)})
		}
		*to = n
	}
	if len(invalid.Problems) > 0 {
		writeProblem(w, &invalid)
		return
	}
	s := a.stream(w, "application/octet-stream")
	if err := a.control.Mirror(r.Context(), req, s); err != nil && !s.begun && r.Context().Err() == nil {
		writeProblem(w, err)
	}
}
