package webui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// jobsPath is the list of jobs, and jobsDo takes what is to be done with those that are
// chosen in it.
const (
	jobsPath = "/jobs"
	jobsDo   = "/jobs/do"
)

// rowsOfPage is how many rows a page of a list has.
const rowsOfPage = 100

// jobsData is the list of jobs with what it was asked by.
type jobsData struct {
	Words, Sort string
	Page        api.JobPage
	Gap         string
	// Problems say why the words cannot be read; Help are the words that there are.
	Problems []job.Problem
	Help     []query.Words
	Facets   []facet
	// First and Next are the links to the other pages; empty: there are none.
	First, Next string
	// Back is this list, and Sorts are the same jobs in other orders, by what they are
	// sorted.
	Back  string
	Sorts map[string]string
	// Does are what the reader may do somewhere with jobs; Edits: among it, to edit them.
	Does  []deed
	Edits bool
}

// facet are the values of a word, with how many jobs have each.
type facet struct {
	Key    string
	Values []facetLink
}

type facetLink struct {
	Value string
	Jobs  int
	// Link asks for these jobs only; where On is set, for all again.
	Link string
	On   bool
}

// deed is something that is done with jobs.
type deed struct{ Name, Label string }

// list is the address of a list by its words, order and place.
func list(path, words, sort, cursor string) string {
	v := url.Values{}
	for name, value := range map[string]string{"q": words, "sort": sort, "cursor": cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

func (u *UI) jobs(w http.ResponseWriter, r *http.Request) {
	words, sort, cursor := strings.TrimSpace(r.FormValue("q")), r.FormValue("sort"), r.FormValue("cursor")
	if ns := r.FormValue("namespace"); ns != "" { // as lists were asked for before there were words
		words = strings.TrimSpace(words + " namespace:" + ns)
	}
	d := jobsData{Words: words, Sort: sort, Back: list(jobsPath, words, sort, cursor), Sorts: map[string]string{}, Does: u.deeds(r.Context())}
	d.Edits = u.may(r.Context(), rights.Edit, rights.Jobs)
	p := page{Title: "Jobs", Nav: "jobs", Topics: "jobs runs", List: true}
	found, err := u.control.JobPage(r.Context(), api.JobQuery{Words: words, Sort: sort, Cursor: cursor, Limit: rowsOfPage, Facets: true})
	var invalid *job.InvalidError
	if errors.As(err, &invalid) && words != "" {
		d.Problems, d.Help = invalid.Problems, query.JobWords()
		p.Data, p.Topics = d, ""
		u.render(w, r, http.StatusUnprocessableEntity, "jobs", p)
		return
	}
	d.Page, d.Gap = found, found.Gap()
	if cursor != "" {
		d.First = list(jobsPath, words, sort, "")
	}
	if found.NextCursor != "" {
		d.Next = list(jobsPath, words, sort, found.NextCursor)
	}
	for _, by := range api.JobSorts() {
		other := by
		if sort == by || sort == "" && by == "name" {
			other = "-" + by
		}
		d.Sorts[by] = list(jobsPath, words, other, "")
	}
	d.Facets = facets(words, sort, found.Facets)
	p.Data = d
	u.show(w, r, "jobs", p, err)
}

// facets are links that add a word to a query, or take it away again. Those of one value
// only, and of none that is worth a look, are left out.
func facets(words, sort string, all []api.Facet) []facet {
	var out []facet
	for _, f := range all {
		one := facet{Key: f.Key}
		for _, v := range f.Values {
			if len(one.Values) == facetsShown {
				break
			}
			word := f.Key + ":" + v.Value
			fields := strings.Fields(words)
			on := slices.Contains(fields, word)
			if on {
				fields = slices.DeleteFunc(fields, func(s string) bool { return s == word })
			} else {
				fields = append(fields, word)
			}
			one.Values = append(one.Values, facetLink{Value: v.Value, Jobs: v.Jobs, Link: list(jobsPath, strings.Join(fields, " "), sort, ""), On: on})
		}
		if len(one.Values) > 1 || len(one.Values) == 1 && one.Values[0].On {
			out = append(out, one)
		}
	}
	return out
}

// facetsShown is how many values of a facet the page shows.
const facetsShown = 8

// deeds are what the reader may do somewhere with jobs: the others are not shown. Control
// decides about each job.
func (u *UI) deeds(ctx context.Context) []deed {
	var out []deed
	for _, d := range []struct {
		deed
		verb rights.Verb
	}{
		{deed{"pause", "Pause"}, rights.Pause}, {deed{"resume", "Resume"}, rights.Pause}, {deed{"run", "Run now"}, rights.Run},
		{deed{"enable", "Enable"}, rights.Edit}, {deed{"disable", "Disable"}, rights.Edit}, {deed{"label", "Label"}, rights.Edit},
	} {
		if u.may(ctx, d.verb, rights.Jobs) {
			out = append(out, d.deed)
		}
	}
	return out
}

// Bounds of what one form does.
const (
	maxForm   = 256 << 10
	maxChosen = 1000
)

// doneData tells what was done.
type doneData struct {
	What string
	// Done are what it was done to, with what came of it; Not what it was not done to, and why.
	Done, Not []outcome
	Back      string
}

type outcome struct{ Name, Link, Text string }

// doJobs does something with the jobs that were chosen in the list. That the form is our
// own, and not another site's, the check of the origin in front of the page tells.
func (u *UI) doJobs(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		u.show(w, r, "error", page{}, &job.InvalidError{Problems: []job.Problem{{Path: "form", Message: "cannot be read: " + err.Error()}}})
		return
	}
	do, o := r.PostFormValue("do"), api.Order{Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	d := doneData{Back: local(r.PostFormValue("back"))}
	chosen := r.PostForm["job"]
	keys := make([]job.Key, 0, len(chosen))
	var problems []job.Problem
	for _, text := range chosen {
		ns, name, ok := strings.Cut(text, "/")
		if !ok || job.CheckName(ns) != nil || job.CheckName(name) != nil {
			problems = append(problems, job.Problem{Path: "job", Message: fmt.Sprintf("%q is not a job; want NAMESPACE/NAME", text)})
		}
		keys = append(keys, job.Key{Namespace: ns, Name: name})
	}
	act, ok := u.acts()[do]
	if do == "label" {
		act, ok = u.label(r.PostFormValue("label")), true
	}
	switch {
	case !ok:
		problems = append(problems, job.Problem{Path: "do", Message: fmt.Sprintf("%q is nothing that can be done with jobs", do)})
	case len(keys) == 0:
		problems = append(problems, job.Problem{Path: "job", Message: "none is chosen: tick those that you mean"})
	case len(keys) > maxChosen:
		problems = append(problems, job.Problem{Path: "job", Message: fmt.Sprintf("%d are chosen; %d at most", len(keys), maxChosen)})
	}
	if problems != nil {
		u.show(w, r, "error", page{Nav: "jobs"}, &job.InvalidError{Problems: problems})
		return
	}
	for _, key := range keys {
		text, link, err := act(r.Context(), key, o)
		if err != nil {
			d.Not = append(d.Not, outcome{key.String(), jobsPath + "/" + key.String(), err.Error()})
			continue
		}
		d.Done = append(d.Done, outcome{key.String(), link, text})
	}
	d.What = do
	u.show(w, r, "done", page{Title: counted(len(keys), "job") + ": " + do, Nav: "jobs", Data: d}, nil)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// act does something with a job, and tells what came of it and where to see it.
type act func(ctx context.Context, key job.Key, o api.Order) (text, link string, err error)

func (u *UI) acts() map[string]act {
	at := func(key job.Key) string { return jobsPath + "/" + key.String() }
	pause := func(key job.Key) api.Paused {
		return api.Paused{Scope: api.ScopeJob, Namespace: key.Namespace, Name: key.Name}
	}
	turn := func(on bool) act {
		return func(ctx context.Context, key job.Key, o api.Order) (string, string, error) {
			done, err := u.control.SetEnabled(ctx, key, on, o)
			return string(done.Action), at(key), err
		}
	}
	return map[string]act{
		"pause": func(ctx context.Context, key job.Key, o api.Order) (string, string, error) {
			_, err := u.control.Pause(ctx, pause(key), time.Time{}, o)
			return "paused", at(key), err
		},
		"resume": func(ctx context.Context, key job.Key, o api.Order) (string, string, error) {
			_, err := u.control.Resume(ctx, pause(key), o)
			return "resumed", at(key), err
		},
		"run": func(ctx context.Context, key job.Key, _ api.Order) (string, string, error) {
			fire, err := u.control.Start(ctx, key, api.StartRequest{})
			return "started", "/runs/" + string(fire.RunID()), err
		},
		"enable":  turn(true),
		"disable": turn(false),
	}
}
