package webui

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

const plansPath = "/plans"

// planPath is the page of a plan.
func planPath(p *api.Plan) string {
	return plansPath + "/" + url.PathEscape(p.Namespace) + "/" + url.PathEscape(p.Upstream) + "/" + url.PathEscape(p.ID)
}

// progress is how far a plan is, coloured as its worst task.
func progress(p *api.Plan) cell {
	c := cell{Text: fmt.Sprintf("%d of %s done", p.Counts["succeeded"], counted(p.Tasks, "task")), State: string(job.StateRunning)}
	if !p.EndedAt.IsZero() {
		c.State = string(job.StateSucceeded)
	}
	for _, state := range slices.Sorted(maps.Keys(p.Counts)) {
		if p.Counts[state] == 0 {
			continue
		}
		c.More = append(c.More, fmt.Sprintf("%d %s", p.Counts[state], state))
		if state == "failed" || state == "expired" {
			c.State = string(job.StateFailed)
		}
	}
	return c
}

// troubles are why a plan does not go on.
func troubles(p *api.Plan) cell {
	var c cell
	for _, t := range slices.Sorted(maps.Keys(p.Trouble)) {
		c.More = append(c.More, t+": "+p.Trouble[t])
	}
	if p.CallbackTrouble != "" {
		c.More = append(c.More, "the callback: "+p.CallbackTrouble)
	}
	switch {
	case len(c.More) > 0:
		c.Text = "it waits"
	case p.Cancelling:
		c.Text = "it is being cancelled"
	case p.Amending:
		c.Text = "a new version is being taken over"
	}
	return c
}

func (u *UI) plans(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Plans(r.Context(), r.FormValue("namespace"))
	t := table{
		Head: []string{"Plan", "Tasks", "Trouble", "Accepted", "By", "Ended", "Node"},
		None: "No plans. A plan is a set of tasks that another system sends: carillon plan send.",
	}
	for i := range all {
		p := &all[i]
		t.Rows = append(t.Rows, []cell{
			{Text: p.Namespace + "/" + p.Upstream + "/" + p.ID, Link: planPath(p)}, progress(p), troubles(p), when(p.AcceptedAt), said(p.By), when(p.EndedAt), said(string(p.Owner)),
		})
	}
	u.showTable(w, r, "Plans", "plans", "queues", t, err)
}

func (u *UI) plan(w http.ResponseWriter, r *http.Request) {
	ns, upstream, id := r.PathValue("namespace"), r.PathValue("upstream"), r.PathValue("id")
	title := "Plan " + ns + "/" + upstream + "/" + id
	p, err := u.control.Plan(r.Context(), ns, upstream, id)
	if err != nil {
		u.showTable(w, r, title, "plans", "", table{}, err)
		return
	}
	state := r.FormValue("state")
	page, err := u.control.PlanTasks(r.Context(), ns, upstream, id, api.PlanTaskQuery{State: state, Cursor: r.FormValue("cursor"), Limit: rowsOfPage})
	t := table{
		Note: progress(&p).Text + ". carillon plan tasks " + upstream + "/" + id + " lists all tasks, carillon plan cancel cancels some.",
		Head: []string{"Task", "State", "Since", "Reason", "Type", "Priority", "After", "Minion", "Attempt", "Run"}, None: "No tasks here.",
	}
	for i := range page.Tasks {
		k := &page.Tasks[i]
		after, run := cell{}, cell{}
		if len(k.After) > 0 {
			after = cell{Text: counted(len(k.After), "task"), More: k.After}
		}
		if k.RunID != "" {
			run = cell{Text: string(k.RunID[:min(8, len(k.RunID))]), Link: "/runs/" + string(k.RunID), Mono: true}
		}
		t.Rows = append(t.Rows, []cell{
			said(k.ID), {Text: k.State, State: k.State}, when(k.Since), said(k.Reason), said(k.Type), number(k.Priority), after, said(string(k.Minion)), number(k.Attempt), run,
		})
	}
	if page.Next != "" {
		v := url.Values{"cursor": {page.Next}}
		if state != "" {
			v.Set("state", state)
		}
		t.Next = planPath(&p) + "?" + v.Encode()
	}
	u.showTable(w, r, title, "plans", "queues", t, err)
}
