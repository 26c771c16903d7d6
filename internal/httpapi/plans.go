package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/plan"
)

type plansInput struct {
	Namespace string `query:"namespace" doc:"Only plans of this namespace."`
}

type plansBody struct {
	Plans []api.Plan `json:"plans" nullable:"false"`
}

type planPath struct {
	Namespace string `path:"ns" doc:"The plan's namespace."`
	Upstream  string `path:"upstream" doc:"The system that sent it."`
	ID        string `path:"id" doc:"The plan's id."`
}

type planTasksInput struct {
	Namespace string `path:"ns" doc:"The plan's namespace."`
	Upstream  string `path:"upstream" doc:"The system that sent it."`
	ID        string `path:"id" doc:"The plan's id."`
	Task      string `query:"task" maxLength:"100" doc:"Only the task of this id."`
	Group     string `query:"group" maxLength:"100" doc:"Only tasks of this group."`
	State     string `query:"state" enum:"pending,queued,running,succeeded,failed,expired,cancelled,skipped,replaced" doc:"Only tasks in this state."`
	Cursor    string `query:"cursor" doc:"Where the page before ended."`
	Limit     int    `query:"limit" minimum:"0" maximum:"1000" doc:"How many at most; 0: 100."`
}

type planCancelInput struct {
	Namespace string `path:"ns" doc:"The plan's namespace."`
	Upstream  string `path:"upstream" doc:"The system that sent it."`
	ID        string `path:"id" doc:"The plan's id."`
	Body      struct {
		Tasks  []string `json:"tasks,omitempty" maxItems:"100" doc:"The ids of tasks. Neither these nor a group: all tasks."`
		Group  string   `json:"group,omitempty" maxLength:"100" doc:"A group of tasks."`
		By     string   `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string   `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

type planSecretInput struct {
	Namespace string `path:"ns" doc:"The namespace of its plans."`
	Upstream  string `path:"upstream" doc:"The system that is called."`
	Body      struct {
		Secret string `json:"secret,omitempty" maxLength:"256" doc:"The secret, whsec_ and base64, where the other side has made it. Not given: one is made."`
		By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

const (
	plansPath      = "/v1/namespaces/{ns}/plans"
	planSchemaPath = "/v1/plan-schema"
	planSecretPath = "/v1/namespaces/{ns}/upstreams/{upstream}/secret"
)

func (a *API) planRoutes(doc huma.API, mux *routes) {
	huma.Register(doc, operation(http.MethodGet, "/v1/plans", "list-plans", "List plans, the newest first"),
		func(ctx context.Context, in *plansInput) (*reply[plansBody], error) {
			all, err := a.control.Plans(ctx, in.Namespace)
			return answer(plansBody{some(all)}, err)
		})
	const one = plansPath + "/{upstream}/{id}"
	huma.Register(doc, operation(http.MethodGet, one, "get-plan", "Show a plan: how many of its tasks are in which state", http.StatusNotFound),
		func(ctx context.Context, in *planPath) (*reply[api.Plan], error) {
			return answer(a.control.Plan(ctx, in.Namespace, in.Upstream, in.ID))
		})
	huma.Register(doc, operation(http.MethodGet, one+"/tasks", "list-plan-tasks", "List tasks of a plan with their states, without their parameters", http.StatusNotFound),
		func(ctx context.Context, in *planTasksInput) (*reply[api.PlanTaskPage], error) {
			v, err := a.control.PlanTasks(ctx, in.Namespace, in.Upstream, in.ID, api.PlanTaskQuery{ID: in.Task, Group: in.Group, State: in.State, Cursor: in.Cursor, Limit: in.Limit})
			v.Tasks = some(v.Tasks)
			return answer(v, err)
		})
	cancel := operation(http.MethodPost, one+"/cancel", "cancel-plan", "Cancel tasks of a plan: some, those of a group, or all", http.StatusNotFound, http.StatusConflict)
	cancel.DefaultStatus = http.StatusAccepted
	huma.Register(doc, cancel, func(ctx context.Context, in *planCancelInput) (*struct{}, error) {
		which := api.PlanCancel{Tasks: in.Body.Tasks, Group: in.Body.Group}
		return done(a.control.CancelPlan(ctx, in.Namespace, in.Upstream, in.ID, which, api.Order{By: in.Body.By, Reason: in.Body.Reason}))
	})

	huma.Register(doc, operation(http.MethodPost, planSecretPath, "make-plan-secret", "Make what calls to an upstream are signed with, in place of the one before"),
		func(ctx context.Context, in *planSecretInput) (*reply[api.WebhookSecret], error) {
			v, err := a.control.PlanSecret(ctx, in.Namespace, in.Upstream, in.Body.Secret, api.Order{By: in.Body.By, Reason: in.Body.Reason})
			return answer(v, err)
		})

	mux.HandleFunc("POST "+plansPath, a.sendPlan)
	mux.HandleFunc("POST "+planReportPath, a.reportPlan)
	mux.HandleFunc("GET "+planSchemaPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, plan.XSD()) // who does not read has gone
	})
	text := &huma.Schema{Type: huma.TypeString}
	failed := &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}}}
	receipt := map[string]*huma.MediaType{"application/json": {Schema: doc.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.PlanReceipt](), true, "PlanReceipt")}}
	doc.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: plansPath, OperationID: "send-plan", Summary: "Send a plan: it is accepted whole, or refused with all that is wrong with it",
		Parameters: []*huma.Param{{Name: "ns", In: "path", Required: true, Schema: text, Description: "The namespace whose queues do the tasks."}},
		RequestBody: &huma.RequestBody{Required: true, Description: "The plan; " + planSchemaPath + " is the schema of the XML.", Content: map[string]*huma.MediaType{
			"application/xml": {Schema: text}, "application/json": {Schema: text}, "application/yaml": {Schema: text},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "It was accepted before, and nothing has changed.", Content: receipt},
			"201": {Description: "It is accepted.", Content: receipt}, "default": failed,
		},
	})
	both := map[string]*huma.MediaType{"application/xml": {Schema: text}, "application/json": {Schema: text}}
	doc.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: planReportPath, OperationID: "report-plan", Summary: "Answer a query with a report on a plan, in the same format",
		Parameters:  []*huma.Param{{Name: "ns", In: "path", Required: true, Schema: text, Description: "The plan's namespace."}},
		RequestBody: &huma.RequestBody{Required: true, Description: "The query; " + planSchemaPath + " is the schema of the XML.", Content: both},
		Responses:   map[string]*huma.Response{"200": {Description: "The report.", Content: both}, "default": failed},
	})
	describe(doc, planSchemaPath, &huma.Operation{
		OperationID: "get-plan-schema", Summary: "The schema of plans in XML (XSD)",
		Responses: map[string]*huma.Response{"200": {Description: "The schema.", Content: map[string]*huma.MediaType{"application/xml": {Schema: text}}}},
	})
}

// sendPlan takes a plan as it comes in.
func (a *API) sendPlan(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = r.Header.Get("Content-Type")
	}
	format, err := plan.FormatOf(kind)
	if err != nil {
		writeProblem(w, problem(http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Type %v", err)))
		return
	}
	body := &paced{Reader: http.MaxBytesReader(w, r.Body, plan.MaxBytes+1), control: http.NewResponseController(w)}
	receipt, err := a.control.SendPlan(r.Context(), plans.Sending{Namespace: r.PathValue("ns"), Format: format, Body: body}, api.Order{})
	if err != nil {
		writeProblem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !receipt.Recognised {
		w.WriteHeader(http.StatusCreated)
	}
	_ = json.NewEncoder(w).Encode(receipt) // who does not read has gone, and may send it again
}

// paced is a long body: each piece of it has bodyWait, as the whole of others has.
type paced struct {
	io.Reader

	control *http.ResponseController
}

func (p *paced) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(bodyWait)) // writers that are no connection have no deadlines
	return p.Reader.Read(b)
}
