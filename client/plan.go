package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/plan"
)

// Plans are sets of tasks that other systems send; see package plan for what one is.
type Plans struct{ c *conn }

func planPath(namespace, upstream, id string, more ...string) []string {
	return append([]string{"namespaces", namespace, "plans", upstream, id}, more...)
}

// Send sends a plan as it is read. It is accepted whole, or refused with all that is wrong. To
// send the same again is safe: it is recognised.
func (p Plans) Send(ctx context.Context, namespace string, format plan.Format, text io.Reader) (api.PlanReceipt, error) {
	var out api.PlanReceipt
	if text == nil {
		text = http.NoBody
	}
	r := request{method: http.MethodPost, path: full([]string{"namespaces", namespace, "plans"}), stream: text, kind: "application/" + string(format)}
	body, err := p.c.open(ctx, r)
	if err != nil {
		return out, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return out, fmt.Errorf("read the receipt of a plan: %w", err)
	}
	return out, nil
}

// Report answers a query, which package plan describes, with a report in the same format. Close
// it; an error in the midst of it says that it is no whole one.
func (p Plans) Report(ctx context.Context, namespace string, format plan.Format, query []byte) (io.ReadCloser, error) {
	return p.c.open(ctx, request{method: http.MethodPost, path: full([]string{"namespaces", namespace, "plan-reports"}), body: query, kind: "application/" + string(format)})
}

// Schema returns the schema of plans in XML.
func (p Plans) Schema(ctx context.Context) ([]byte, error) {
	body, err := p.c.open(ctx, request{method: http.MethodGet, path: full([]string{"plan-schema"})})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the schema of plans: %w", err)
	}
	return text, nil
}

// List returns the plans of a namespace, of all when that is empty, the newest first.
func (p Plans) List(ctx context.Context, namespace string) ([]api.Plan, error) {
	var out struct{ Plans []api.Plan }
	err := p.c.get(ctx, &out, where("namespace", namespace), "plans")
	return out.Plans, err
}

// Get returns a plan: how many of its tasks are in which state.
func (p Plans) Get(ctx context.Context, namespace, upstream, id string) (api.Plan, error) {
	var out api.Plan
	err := p.c.get(ctx, &out, nil, planPath(namespace, upstream, id)...)
	return out, err
}

// Tasks returns tasks of a plan with their states, in the order of the plan.
func (p Plans) Tasks(ctx context.Context, namespace, upstream, id string, q api.PlanTaskQuery) (api.PlanTaskPage, error) {
	values := url.Values{}
	set(values, "task", q.ID)
	set(values, "group", q.Group)
	set(values, "state", q.State)
	set(values, "cursor", q.Cursor)
	if q.Limit != 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	var out api.PlanTaskPage
	err := p.c.get(ctx, &out, values, planPath(namespace, upstream, id, "tasks")...)
	return out, err
}

// Secret makes what calls to an upstream are signed with, or takes what is given. The former
// one is good no more.
func (p Plans) Secret(ctx context.Context, namespace, upstream, given string, o api.Order) (api.WebhookSecret, error) {
	body := struct {
		Secret string `json:"secret,omitempty"`
		order
	}{given, orderOf(o)}
	var out api.WebhookSecret
	err := p.c.send(ctx, http.MethodPost, full([]string{"namespaces", namespace, "upstreams", upstream, "secret"}), body, &out)
	return out, err
}

// Cancel cancels tasks of a plan. From then on none of them is put into its queue; what workers
// have they are told to end.
func (p Plans) Cancel(ctx context.Context, namespace, upstream, id string, which api.PlanCancel, o api.Order) error {
	body := struct {
		api.PlanCancel
		order
	}{which, orderOf(o)}
	return p.c.send(ctx, http.MethodPost, full(planPath(namespace, upstream, id, "cancel")), body, nil)
}
