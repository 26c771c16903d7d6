package control

import (
	"context"
	"errors"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

const onePlan = `<plan id="p" upstream="erp">
<task id="a" type="q"><parameter name="n" type="number">1</parameter></task>
<task id="b" type="q" group="g"><after task="a"/></task>
</plan>`

// TestPlansAreWholeOrNothing: a plan is accepted once, recognised in whatever format, refused
// with all that is wrong, and of one that is not accepted nothing stays (P1, P2).
func TestPlansAreWholeOrNothing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	q := queued("q")
	q.Queue.PayloadSchema = `{"type": "object", "properties": {"n": {"type": "integer"}}}`
	e.apply(t, q)
	send := func(format plan.Format, text string) (api.PlanReceipt, error) {
		return e.SendPlan(t.Context(), plans.Sending{Namespace: "ops", Format: format, Body: strings.NewReader(text)}, api.Order{By: "ann"})
	}
	_, err := send(plan.XML, `<plan id="p" upstream="erp">
<task id="a" type="nosuch"/>
<task id="b" type="q"><parameter name="n">x</parameter></task>
<task id="c" type="q" priority="11"/>
</plan>`)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Errorf("got %v", err)
	}
	for i, line := range []int{2, 3, 4} {
		if i < len(invalid.Problems) && invalid.Problems[i].Line != line {
			t.Errorf("problem %d: %s", i, invalid.Problems[i])
		}
	}
	left := func() int64 {
		t.Helper()
		resp, err := e.db.Client.Get(t.Context(), e.db.Keys.Root()+"plan", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count
	}
	if n := left(); n != 0 {
		t.Errorf("%d keys are left of a plan that was refused", n)
	}

	first, err := send(plan.XML, onePlan)
	if err != nil || first.Recognised || first.Tasks != 2 || first.By != "ann" {
		t.Fatalf("%+v, %v", first, err)
	}
	kept := left()
	again, err := send(plan.JSON, `{"tasks": [{"id": "a", "type": "q", "parameters": {"n": 1}}, {"type": "q", "id": "b", "after": ["a"], "group": "g"}], "upstream": "erp", "id": "p"}`)
	if err != nil || !again.Recognised || again.UID != first.UID || left() != kept {
		t.Errorf("the same in JSON: %+v, %v", again, err)
	}
	if _, err := send(plan.XML, strings.Replace(onePlan, `group="g"`, `group="h"`, 1)); !errors.Is(err, job.ErrConflict) || left() != kept {
		t.Errorf("another content: %v", err)
	}
	if _, err := send(plan.XML, onePlan[:len(onePlan)-10]); !errors.As(err, &invalid) || left() != kept {
		t.Errorf("one that is cut: %v", err)
	}
	// It is recognised also when its queue would take it no more.
	if err := e.HoldQueue(t.Context(), job.Key{Namespace: "ops", Name: "q"}, api.QueueDrain, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if r, err := send(plan.XML, onePlan); err != nil || !r.Recognised {
		t.Errorf("again, while its queue is draining: %+v, %v", r, err)
	}
	if _, err := send(plan.XML, strings.Replace(onePlan, `id="p"`, `id="other"`, 1)); err == nil || !strings.Contains(err.Error(), "is draining") {
		t.Errorf("another one, while its queue is draining: %v", err)
	}

	page, err := e.PlanTasks(t.Context(), "ops", "erp", "p", api.PlanTaskQuery{Limit: 1})
	if err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != "a" || page.Next == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = e.PlanTasks(t.Context(), "ops", "erp", "p", api.PlanTaskQuery{Limit: 1, Cursor: page.Next})
	if err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != "b" || page.Tasks[0].State != "pending" || page.Next != "" {
		t.Errorf("%+v, %v", page, err)
	}
	if err := e.CancelPlan(t.Context(), "ops", "erp", "p", api.PlanCancel{Tasks: []string{"a", "x"}}, api.Order{}); !errors.As(err, &invalid) || !strings.Contains(err.Error(), `tasks[1]: the plan has no task "x"`) {
		t.Errorf("cancel of what is not there: %v", err)
	}
	if err := e.CancelPlan(t.Context(), "ops", "erp", "p", api.PlanCancel{Group: "g"}, api.Order{By: "ann", Reason: "late"}); err != nil {
		t.Error(err)
	}
	if p, err := e.Plan(t.Context(), "ops", "erp", "p"); err != nil || !p.Cancelling || p.Counts["pending"] != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := e.Plan(t.Context(), "ops", "erp", "q"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("a plan that is not there: %v", err)
	}
	audit, err := e.Audit(t.Context(), api.AuditQuery{Limit: 10, Action: "plan"})
	if err != nil || len(audit.Records) != 2 {
		t.Errorf("%+v, %v", audit, err)
	}
}

// TestPlansAreForTheirQueues: who may not put into one of the queues sends nothing.
func TestPlansAreForTheirQueues(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, queued("q"))
	for _, text := range []string{onePlan, strings.Replace(onePlan, "type", "kind", 1)} {
		_, err := e.SendPlan(t.Context(), plans.Sending{
			Namespace: "ops", Format: plan.XML, Body: strings.NewReader(text),
			May: func(context.Context, job.Key) error { return job.ErrForbidden },
		}, api.Order{})
		if !errors.Is(err, job.ErrForbidden) {
			t.Errorf("got %v", err)
		}
	}
}

// TestPlansAreAmended: a new version is accepted once, recognised, and refused where it cannot
// be (P9).
func TestPlansAreAmended(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, queued("q"))
	denied := false
	send := func(text string) (api.PlanReceipt, error) {
		return e.SendPlan(t.Context(), plans.Sending{
			Namespace: "ops", Format: plan.XML, Body: strings.NewReader(text),
			MayAmend: func(context.Context) error {
				if denied {
					return job.ErrForbidden
				}
				return nil
			},
		}, api.Order{By: "ann"})
	}
	text := strings.Replace(strings.Replace(onePlan, `upstream="erp"`, `upstream="erp" amend="true"`, 1), `group="g"`, `group="h"`, 1)
	if _, err := send(text); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("of a plan that is not there: %v", err)
	}
	first, err := send(onePlan)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := send(strings.Replace(onePlan, `upstream="erp"`, `upstream="erp" amend="true"`, 1)); err != nil || !same.Recognised {
		t.Errorf("the same content: %+v, %v", same, err)
	}
	var invalid *job.InvalidError
	if _, err := send(strings.Replace(text, "amend=", `callback="https://erp.example.org/" amend=`, 1)); !errors.As(err, &invalid) {
		t.Errorf("another callback: %v", err)
	}
	denied = true
	if _, err := send(text); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("who may not: %v", err)
	}
	denied = false
	for _, again := range []bool{false, true} {
		r, err := send(text)
		if err != nil || r.UID != first.UID || !r.Amending || r.Recognised != again {
			t.Errorf("again %v: %+v, %v", again, r, err)
		}
	}
	if _, err := send(strings.Replace(text, `group="h"`, `group="i"`, 1)); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("one more, before it is taken over: %v", err)
	}
	if _, err := send(onePlan); !errors.Is(err, job.ErrConflict) {
		t.Errorf("the version before: %v", err)
	}
	audit, err := e.Audit(t.Context(), api.AuditQuery{Limit: 10, Action: "plan.amend"})
	if err != nil || len(audit.Records) != 1 {
		t.Errorf("%+v, %v", audit, err)
	}
}
