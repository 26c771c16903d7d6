package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// hooksPath begins the paths of webhooks, which have tokens of their own.
const hooksPath = "/v1/hooks/"

type hookInput struct {
	Namespace     string `path:"ns" doc:"The job's namespace."`
	Name          string `path:"name" doc:"The job's name."`
	Authorization string `header:"Authorization" doc:"Bearer TOKEN."`
	Token         string `header:"X-Carillon-Token" doc:"The token, for callers that cannot set Authorization."`
	Key           string `header:"Idempotency-Key" doc:"The call's name: within an hour the same call again starts nothing, and has the same answer."`
	ID            string `header:"Webhook-Id" doc:"The call's name, where calls are signed as Standard Webhooks are."`
	Timestamp     string `header:"Webhook-Timestamp" doc:"When it was sent, in seconds since 1970, where calls are signed."`
	Signature     string `header:"Webhook-Signature" doc:"v1,BASE64 of the HMAC with SHA-256 of ID.TIMESTAMP.BODY, where calls are signed."`
	RawBody       []byte `contentType:"application/json" required:"false"`

	from string
}

// Resolve implements huma.Resolver: it notes who calls.
func (in *hookInput) Resolve(ctx huma.Context) []error {
	in.from = withoutPort(ctx.RemoteAddr())
	if c, ok := caller.From(ctx.Context()); ok && c.Remote != "" {
		in.from = c.Remote
	}
	return nil
}

func (in *hookInput) call() webhook.Call {
	c := webhook.Call{
		Token: in.Token, Signed: webhook.Signed{ID: in.ID, Timestamp: in.Timestamp, Signature: in.Signature},
		Key: in.Key, From: in.from, Body: in.RawBody,
	}
	if bearer, ok := strings.CutPrefix(in.Authorization, "Bearer "); ok {
		c.Token = strings.TrimSpace(bearer)
	}
	return c
}

// secretInput spells the path out: huma does not fill embedded fields that are not
// exported.
type secretInput struct {
	Namespace string `path:"ns" doc:"The job's namespace."`
	Name      string `path:"name" doc:"The job's name."`
	Body      *secretBody
}

type secretBody struct {
	Secret string `json:"secret,omitempty" maxLength:"128" doc:"whsec_ and 24 to 64 bytes in base64, as the other side has made it. Not given: one is made."`
	By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

func (a *API) hookRoutes(doc huma.API) {
	hook := operation(http.MethodPost, hooksPath+"{ns}/{name}", "call-webhook", "Start a job by its webhook",
		http.StatusNotFound, http.StatusForbidden, http.StatusUnprocessableEntity)
	hook.DefaultStatus = http.StatusAccepted
	hook.SkipValidateBody = true
	hook.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{}}
	huma.Register(doc, hook, func(ctx context.Context, in *hookInput) (*reply[api.Started], error) {
		key := job.Key{Namespace: in.Namespace, Name: in.Name}
		fire, err := a.control.Hook(ctx, key, in.call())
		if errors.Is(err, job.ErrForbidden) || errors.Is(err, job.ErrNotFound) || errors.As(err, new(*caller.BusyError)) {
			a.control.Refused(ctx, "call", "the webhook of job "+key.String(), err.Error())
		}
		return answer(api.Started{RunID: fire.RunID(), FireID: fire}, err)
	})
	// What is signed has the form of whoever signs it, so that the body is read by
	// itself; this is what else is asked for.
	hook.RequestBody.Required = false
	hook.RequestBody.Content["application/json"].Schema = &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"params": {Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeString}, Description: "Reach the command as variables CARILLON_PARAM_NAME."},
	}, Description: "Of a call that is signed, other members are not looked at; else there are none."}

	huma.Register(doc, operation(http.MethodPost, "/v1/namespaces/{ns}/jobs/{name}/webhook-secret", "make-webhook-secret",
		"Make what calls of a job's webhook are to be signed with, in place of the former one",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *secretInput) (*reply[api.WebhookSecret], error) {
			if in.Body == nil {
				in.Body = &secretBody{}
			}
			return answer(a.control.WebhookSecret(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.Body.Secret, api.Order{By: in.Body.By, Reason: in.Body.Reason}))
		})
}
