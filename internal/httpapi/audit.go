package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
)

type auditInput struct {
	Limit  int       `query:"limit" default:"50" doc:"How many at most."`
	Since  time.Time `query:"since" doc:"Only what was done at this time or later, as in 2027-01-31T09:00:00Z."`
	Until  time.Time `query:"until" doc:"Only what was done at this time or before."`
	By     string    `query:"by" doc:"Only what was done by this name."`
	Action string    `query:"action" doc:"Only this action; its first word, such as job, for all that begin with it."`
	Object string    `query:"object" doc:"Only what was done to objects whose names hold this."`
	After  string    `query:"after" doc:"next of the answer before."`
}

type feedInput struct {
	After int64     `query:"after" default:"-1" doc:"The segment after which records are wanted; -1: those to come."`
	Since time.Time `query:"since" doc:"Only what was done at this time or later, as in 2027-01-31T09:00:00Z."`
}

type verifyInput struct {
	Segment int64  `query:"segment" minimum:"0" doc:"A segment whose hash is known from elsewhere; 0: none."`
	SHA256  string `query:"sha256" maxLength:"64" doc:"That hash."`
}

func (a *API) auditRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/audit", "list-audit", "What people did, newest first", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *auditInput) (*reply[api.AuditPage], error) {
			page, err := a.control.Audit(ctx, api.AuditQuery{
				Limit: in.Limit, Since: in.Since, Until: in.Until, By: in.By, Action: in.Action, Object: in.Object, After: in.After,
			})
			page.Records = some(page.Records)
			return answer(page, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/audit/sealed", "follow-audit", "What people did, in the order in which it was sealed: ask again with last of the answer before"),
		func(ctx context.Context, in *feedInput) (*reply[api.AuditFeed], error) {
			feed, err := a.control.AuditFeed(ctx, in.After, in.Since)
			feed.Records, feed.Seals = some(feed.Records), some(feed.Seals)
			return answer(feed, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/audit/verify", "verify-audit", "Whether records were changed, removed or put in later", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *verifyInput) (*reply[api.AuditVerdict], error) {
			v, err := a.control.VerifyAudit(ctx, in.Segment, in.SHA256)
			v.Problems = some(v.Problems)
			return answer(v, err)
		})
}
