package webui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// How many instants, runs and changes a job's page shows.
const (
	instantsShown = 10
	runsShown     = 50
	runsDrawn     = 500 // by hours
	changesShown  = 30
)

// jobData is a job as its page shows it.
type jobData struct {
	Job  api.Job
	Runs []job.Run
	Gap  string
	// Next are its next instants, and Ends why there are no more of them.
	Next []instant
	Zone string
	Ends string
	// Bars are its last runs over time, newest first; Folds are the occurrences that did
	// not run, those of one cause in a row as one.
	Bars  []bar
	Folds []fold
	// Heat are the days around now, by hours.
	Heat []heatDay
	// Changes are who changed it, where the reader may see the audit.
	Changes []api.AuditRecord
	Audit   bool
	// Versions are what it was before, the newest first.
	Versions []version
	Does     map[string]bool
}

// instant is an instant of a job in its own zone.
type instant struct {
	api.Instant

	Local string
	// Shift tells that clocks were changed since the instant before; empty: they were not.
	Shift string
}

// bar is a run as a bar: in hundredths of a percent of the longest one.
type bar struct {
	Run job.Run
	// Wait is from its instant to its start, Took from there to its end.
	Wait, Took int
}

// fold is occurrences in a row that did not run, for one cause.
type fold struct {
	State       job.State
	Reason      string
	Count       int
	First, Last time.Time
	Run         job.RunID
}

func (u *UI) job(w http.ResponseWriter, r *http.Request) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	d, err := u.jobData(r.Context(), key)
	u.show(w, r, "job", page{Title: key.String(), Nav: "jobs", Topics: "jobs runs", About: key.String(), Data: d}, err)
}

func (u *UI) jobData(ctx context.Context, key job.Key) (*jobData, error) {
	v, err := u.control.Job(ctx, key)
	if err != nil {
		return nil, err
	}
	runs, err := u.control.Runs(ctx, api.RunQuery{Namespace: key.Namespace, Job: key.Name, Limit: runsDrawn})
	if err != nil {
		return nil, err
	}
	last := runs.Runs[:min(len(runs.Runs), runsShown)]
	d := &jobData{Job: v, Runs: last, Gap: runs.Gap(), Bars: bars(last), Folds: folds(runs.Runs), Does: map[string]bool{}}
	for name, verb := range map[string]rights.Verb{"run": rights.Run, "pause": rights.Pause, "edit": rights.Edit, "delete": rights.Delete} {
		d.Does[name] = u.allows(ctx, rights.Request{Verb: verb, Kind: rights.Jobs, Namespace: key.Namespace, Labels: v.Labels})
	}
	next, err := u.control.Upcoming(ctx, key, time.Now(), instantsShown)
	switch {
	case errors.As(err, new(*job.InvalidError)): // its schedule cannot be read: the page says so above
	case err != nil:
		return nil, err
	}
	if d.Versions, err = u.versions(ctx, &v); err != nil {
		return nil, err
	}
	d.Zone, d.Ends, d.Next = next.TimeZone, next.Ends, instants(&next)
	zone, err := schedule.LoadZone(d.Zone)
	if err != nil {
		d.Zone, zone = "UTC", time.UTC
	}
	d.Heat = heat(key, &v.Spec, runs.Runs, zone, time.Now())
	if d.Audit = u.allows(ctx, rights.Request{Verb: rights.Audit, Kind: rights.Cluster}); d.Audit {
		page, err := u.control.Audit(ctx, api.AuditQuery{Object: "job " + key.String(), Limit: api.MaxAudit})
		if err != nil {
			return nil, err
		}
		for i := range page.Records {
			if page.Records[i].Object == "job "+key.String() && len(d.Changes) < changesShown {
				d.Changes = append(d.Changes, page.Records[i])
			}
		}
	}
	return d, nil
}

// instants writes instants in their job's zone, and marks where clocks are changed.
func instants(v *api.Upcoming) []instant {
	zone, err := schedule.LoadZone(v.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	out := make([]instant, len(v.Next))
	before := time.Now().In(zone)
	for i := range v.Next {
		at := v.Next[i].At.In(zone)
		out[i] = instant{Instant: v.Next[i], Local: at.Format("Mon 2006-01-02 15:04:05 -07:00")}
		if a, b := before.Format("-07:00"), at.Format("-07:00"); a != b {
			out[i].Shift = "clocks change from " + a + " to " + b
		}
		before = at
	}
	return out
}

// bars draws runs to one scale.
func bars(runs []job.Run) []bar {
	longest := time.Duration(1)
	length := func(r *job.Run) (wait, took time.Duration) {
		first, end := r.FirstStartedAt(), r.EndedAt
		if first.IsZero() {
			return 0, 0
		}
		if end.IsZero() {
			end = time.Now()
		}
		return max(first.Sub(r.ScheduledAt), 0), max(end.Sub(first), 0)
	}
	for i := range runs {
		wait, took := length(&runs[i])
		longest = max(longest, wait+took)
	}
	out := make([]bar, 0, len(runs))
	for i := range runs {
		wait, took := length(&runs[i])
		if wait+took == 0 {
			continue // it never started
		}
		out = append(out, bar{runs[i], int(10_000 * wait / longest), max(int(10_000*took/longest), 20)})
	}
	return out
}

// folds are what did not run, newest first, folded.
func folds(runs []job.Run) []fold {
	var out []fold
	row := false // the run before did not run either
	for i := range runs {
		r := &runs[i]
		if r.State != job.StateSkipped && r.State != job.StateMissed {
			row = false
			continue
		}
		n := max(r.Count, 1)
		last := r.ScheduledAt
		if r.Until.After(last) {
			last = r.Until
		}
		if k := len(out) - 1; row && out[k].State == r.State && out[k].Reason == r.Reason {
			out[k].Count += n
			out[k].First = r.ScheduledAt
			continue
		}
		out = append(out, fold{State: r.State, Reason: r.Reason, Count: n, First: r.ScheduledAt, Last: last, Run: r.RunID})
		row = true
	}
	return out
}

// doJob does something with one job: its page has a form for each.
func (u *UI) doJob(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	if err := r.ParseForm(); err != nil {
		u.show(w, r, "error", page{Nav: "jobs"}, &job.InvalidError{Problems: []job.Problem{{Path: "form", Message: "cannot be read: " + err.Error()}}})
		return
	}
	back := jobsPath + "/" + key.String()
	var err error
	switch do := r.PathValue("do"); do {
	case "run":
		var params map[string]string
		if params, err = given(r); err == nil {
			var fire job.FireID
			fire, err = u.control.Start(r.Context(), key, api.StartRequest{Params: params})
			back = "/runs/" + string(fire.RunID())
		}
	case "delete":
		_, err = u.control.Delete(withOrder(r.Context(), r.PostFormValue("reason"), 0), key)
		back = jobsPath
	case "rollback":
		err = u.rollBack(r.Context(), key, r)
	default:
		act, ok := u.acts()[do]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _, err = act(r.Context(), key, api.Order{Reason: strings.TrimSpace(r.PostFormValue("reason"))})
	}
	if err != nil {
		u.show(w, r, "error", page{Nav: "jobs"}, err)
		return
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// given reads the parameters of a start: those that the job declares each have a field,
// others stand in lines of KEY=VALUE.
func given(r *http.Request) (map[string]string, error) {
	params := map[string]string{}
	for name, values := range r.PostForm {
		if p, ok := strings.CutPrefix(name, "param."); ok && values[0] != "" {
			params[p] = values[0]
		}
	}
	var problems []job.Problem
	for line := range strings.Lines(r.PostFormValue("params")) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || k == "" {
			problems = append(problems, job.Problem{Path: "params", Message: fmt.Sprintf("%q is no parameter; want KEY=VALUE", line)})
			continue
		}
		params[k] = v
	}
	if problems != nil {
		return nil, &job.InvalidError{Problems: problems}
	}
	return params, nil
}
