package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/plan"
)

const planReportPath = "/v1/namespaces/{ns}/plan-reports"

// reportPlan answers a query with a report, in the same format. A report that does not end as a
// document is none: the connection is cut then.
func (a *API) reportPlan(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = r.Header.Get("Content-Type")
	}
	format, err := plan.FormatOf(kind)
	if err != nil || format == plan.YAML {
		writeProblem(w, problem(http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Type %q: a query is application/xml or application/json", kind)))
		return
	}
	ns := r.PathValue("ns")
	p, q, err := a.control.AskPlan(r.Context(), ns, func() (plan.Query, error) {
		return plan.ReadQuery(http.MaxBytesReader(w, r.Body, plan.MaxQueryBytes+1), format)
	})
	if err != nil {
		writeProblem(w, err)
		return
	}
	out := bufio.NewWriterSize(&unhurried{w, http.NewResponseController(w)}, 64<<10)
	report, tasks := reportOf(&p), iter.Seq2[plan.ReportTask, error](nil)
	if q.Tasks {
		tasks = a.reportTasks(r.Context(), ns, &q)
	}
	w.Header().Set("Content-Type", "application/"+string(format))
	if err := report.Write(out, format, tasks); err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = out.Flush() // who does not read has gone
}

// reportOf is what is told of a plan.
func reportOf(p *api.Plan) *plan.Report {
	r := &plan.Report{
		Namespace: p.Namespace, Upstream: p.Upstream, Plan: p.ID, UID: p.UID, Digest: p.Digest, State: "open", Count: p.Tasks,
		AcceptedAt: p.AcceptedAt, At: time.Now().UTC(), Counts: p.Counts,
	}
	if !p.EndedAt.IsZero() {
		r.EndedAt, r.State = &p.EndedAt, "ended"
		if p.Counts[string(plan.Succeeded)] == p.Tasks {
			r.State = "succeeded"
		}
	}
	return r
}

// reportTasks are the tasks that a query asks for, page by page.
func (a *API) reportTasks(ctx context.Context, ns string, q *plan.Query) iter.Seq2[plan.ReportTask, error] {
	return func(yield func(plan.ReportTask, error) bool) {
		want := api.PlanTaskQuery{ID: q.Task, Group: q.Group, State: string(q.State), Limit: api.MaxPlanTasks}
		for {
			page, err := a.control.PlanTasks(ctx, ns, q.Upstream, q.Plan, want)
			if err != nil {
				yield(plan.ReportTask{}, err)
				return
			}
			for i := range page.Tasks {
				t := &page.Tasks[i]
				one := plan.ReportTask{ID: t.ID, Type: t.Type, State: t.State, Minion: string(t.Minion), Attempt: t.Attempt, Run: string(t.RunID), Reason: t.Reason}
				if !t.Since.IsZero() {
					one.Since = &t.Since
				}
				if !yield(one, nil) {
					return
				}
			}
			if want.Cursor = page.Next; want.Cursor == "" {
				return
			}
		}
	}
}

// unhurried is a long answer: each piece of it has bodyWait to be taken.
type unhurried struct {
	http.ResponseWriter

	control *http.ResponseController
}

func (p *unhurried) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(bodyWait)) // writers that are no connection have no deadlines
	return p.ResponseWriter.Write(b)
}
