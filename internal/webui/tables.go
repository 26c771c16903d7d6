package webui

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// table is a list that needs nothing but cells.
type table struct {
	Note string
	// Acts are the buttons above it.
	Acts []button
	Head []string
	Rows [][]cell
	// None is said where there are no rows.
	None string
	// Next is the link to the next page; empty: this is the last one.
	Next string
}

// cell is one cell: a text, which may lead somewhere, or an instant.
type cell struct {
	Text string
	Link string
	Mono bool
	At   time.Time
	// State has it coloured as a state.
	State string
	// More is folded below it.
	More []string
	// Act is a button below it; nil: none.
	Act *button
}

// button is what it says, and where it posts to.
type button struct{ Label, Path string }

func said(text string) cell { return cell{Text: text} }
func code(text string) cell { return cell{Text: text, Mono: true} }
func when(t time.Time) cell { return cell{At: t} }
func number(n int) cell     { return cell{Text: strconv.Itoa(n)} }

func (u *UI) showTable(w http.ResponseWriter, r *http.Request, title, nav, topics string, t table, err error) {
	u.show(w, r, "table", page{Title: title, Nav: nav, Topics: topics, Data: t}, err)
}

func (u *UI) pauses(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Pauses(r.Context())
	t := table{Head: []string{"What", "Since", "Until", "By", "Reason"}, None: "Nothing is paused."}
	for i := range all {
		p := &all[i]
		what := said(api.Paused{Scope: p.Scope, Namespace: p.Namespace, Name: p.Name}.String())
		if p.Scope == api.ScopeJob {
			what.Link = jobsPath + "/" + p.Namespace + "/" + p.Name
		}
		until := when(p.Until)
		if p.Until.IsZero() {
			until = said("it is resumed")
		}
		by := p.By
		if p.ByFailures {
			by = "its failures"
		}
		t.Rows = append(t.Rows, []cell{what, when(p.Since), until, said(by), said(p.Reason)})
	}
	u.showTable(w, r, "Pauses", "pauses", "jobs", t, err)
}

func (u *UI) calendars(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Calendars(r.Context(), r.FormValue("namespace"))
	t := table{Head: []string{"Calendar", "Zone", "Business days", "Closed", "Open", "Windows", "Changed"}, None: "No calendars. A calendar says on which days and at which times jobs do not run."}
	for i := range all {
		c := &all[i]
		zone := c.Spec.TimeZone
		if zone == "" {
			zone = "UTC"
		}
		days := strings.Join(c.Spec.Weekdays, ", ")
		if days == "" {
			days = "all"
		}
		closed := cell{Text: counted(len(c.Spec.Closed), "day"), More: c.Spec.Closed}
		if c.Spec.ICS != "" {
			closed.Text += ", and an iCalendar file"
		}
		t.Rows = append(t.Rows, []cell{
			said(c.Key().String()), said(zone), said(days), closed, {Text: strconv.Itoa(len(c.Spec.Open)), More: c.Spec.Open},
			{Text: strconv.Itoa(len(c.Spec.Windows)), More: c.Spec.Windows}, when(c.UpdatedAt),
		})
	}
	u.showTable(w, r, "Calendars", "calendars", "", t, err)
}

func (u *UI) locks(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Locks(r.Context(), r.FormValue("namespace"))
	t := table{
		Note: "Who holds a lock, and who waits for it. carillon lock break frees one whose holder does not let go.",
		Head: []string{"Lock", "Holder", "For", "Since", "Token", "Waiting"}, None: "Nobody holds a lock, or waits for one.",
	}
	for i := range all {
		l := &all[i]
		waiting := number(len(l.Waiters))
		for _, w := range l.Waiters {
			waiting.More = append(waiting.More, w.Holder+" since "+utc(w.Since)+" UTC")
		}
		if len(l.Holders) == 0 {
			t.Rows = append(t.Rows, []cell{said(l.Key().String()), said("nobody"), {}, {}, {}, waiting})
		}
		for _, h := range l.Holders {
			t.Rows = append(t.Rows, []cell{said(l.Key().String()), said(h.Holder), said(h.Purpose), when(h.Since), code(h.Token.String()), waiting})
		}
	}
	u.showTable(w, r, "Locks", "locks", "", t, err)
}

func (u *UI) scripts(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Scripts(r.Context(), r.FormValue("namespace"))
	t := table{Head: []string{"Script", "Version", "SHA-256", "Parameters", "Made"}, None: "No scripts. A script of the library is named by jobs, and run by carillon exec."}
	runs := "" // those who may run one are led to its form
	if u.may(r.Context(), rights.Exec, rights.Jobs) {
		runs = execPath + "?script="
	}
	for i := range all {
		s := &all[i]
		params := cell{Text: strconv.Itoa(len(s.Spec.Params))}
		for _, p := range s.Spec.Params {
			params.More = append(params.More, p.Name+" "+string(p.Type)+" "+p.Description)
		}
		t.Rows = append(t.Rows, []cell{{Text: s.Key().String(), Link: formOf(runs, s.Key())}, number(s.Version), code(s.SHA256[:min(12, len(s.SHA256))]), params, when(s.CreatedAt)})
	}
	u.showTable(w, r, "Scripts", "scripts", "", t, err)
}

// formOf is the form to run a script by; empty: there is none.
func formOf(path string, script job.Key) string {
	if path == "" {
		return ""
	}
	return path + url.QueryEscape(script.String())
}

func (u *UI) secrets(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Secrets(r.Context(), r.FormValue("namespace"))
	t := table{
		Note: "Secrets are sealed to the keys of minions before they are sent: nobody here can read one.",
		Head: []string{"Secret", "Description", "Version", "Sealed to", "Sealed", "By"}, None: "No secrets.",
	}
	for i := range all {
		s := &all[i]
		t.Rows = append(t.Rows, []cell{
			said(s.Key().String()), said(s.Spec.Description), number(s.Version),
			{Text: counted(len(s.Spec.Recipients), "key"), More: s.Spec.Recipients}, when(s.SealedAt), said(s.SealedBy),
		})
	}
	u.showTable(w, r, "Secrets", "secrets", "", t, err)
}

func (u *UI) doctor(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Doctor(r.Context())
	t := table{Head: []string{"Check", "Result", "What was found", "What to do"}, None: "Nothing was checked."}
	state := map[api.CheckStatus]string{api.CheckOK: "succeeded", api.CheckWarn: "running", api.CheckFail: "failed"}
	mark := map[api.CheckStatus]string{api.CheckOK: "✓ ok", api.CheckWarn: "▲ warn", api.CheckFail: "✗ fail"}
	for _, c := range all {
		t.Rows = append(t.Rows, []cell{said(c.Name), {Text: mark[c.Status], State: state[c.Status]}, said(c.Detail), said(c.Hint)})
	}
	u.showTable(w, r, "Doctor", "doctor", "", t, err)
}

func (u *UI) audit(w http.ResponseWriter, r *http.Request) {
	q := api.AuditQuery{
		Limit: rowsOfPage, By: r.FormValue("by"), Action: r.FormValue("action"), Object: r.FormValue("object"), After: r.FormValue("after"),
	}
	found, err := u.control.Audit(r.Context(), q)
	d := struct {
		Query api.AuditQuery
		table
	}{q, table{Head: []string{"When", "Who", "From", "Action", "Object", "Reason"}, None: "Nothing here was done."}}
	for i := range found.Records {
		a := &found.Records[i]
		object := cell{Text: a.Object}
		for _, c := range a.Changes {
			object.More = append(object.More, c.Path+": "+orDash(c.Before)+" → "+orDash(c.After))
		}
		if a.LeftOut > 0 {
			object.More = append(object.More, fmt.Sprintf("and %d more fields", a.LeftOut))
		}
		if ns, name, ok := strings.Cut(strings.TrimPrefix(a.Object, "job "), "/"); ok && strings.HasPrefix(a.Object, "job ") {
			object.Link = jobsPath + "/" + ns + "/" + name
		}
		d.Rows = append(d.Rows, []cell{when(a.At), said(a.By), code(a.From), said(a.Action), object, said(a.Reason)})
	}
	if found.Next != "" {
		v := r.URL.Query()
		v.Set("after", found.Next)
		d.Next = "/audit?" + v.Encode()
	}
	u.show(w, r, "audit", page{Title: "Audit", Nav: "audit", Data: d}, err)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
