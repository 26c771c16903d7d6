package webui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// execPath is where a command is run once.
const execPath = "/exec"

// execData is a command that is to be run once, and where that would be.
type execData struct {
	Target, On, Shell, Script, Namespace, Timeout string
	// Scripts are those of the library; Params are those of the one that is chosen, with
	// what was given.
	Scripts []string
	Params  []givenParam
	// Match is what the target matches now; nil: nobody asked.
	Match *api.Match
	// Problems say what is wrong.
	Problems []job.Problem
}

type givenParam struct {
	job.Param

	Given string
}

// Hidden is how many more minions match than are shown.
func (d *execData) Hidden() int { return max(len(d.Match.Minions)-minionsShown, 0) }

// Some are the minions that are shown.
func (d *execData) Some() []job.MinionID {
	return d.Match.Minions[:min(len(d.Match.Minions), minionsShown)]
}

// minionsShown is how many minions of a target the preview names.
const minionsShown = 200

func (u *UI) readExec(r *http.Request) (*execData, error) {
	d := &execData{
		Target: strings.TrimSpace(r.FormValue("target")), On: r.FormValue("on"), Shell: strings.ReplaceAll(r.FormValue("shell"), "\r\n", "\n"),
		Script: r.FormValue("script"), Namespace: r.FormValue("namespace"), Timeout: strings.TrimSpace(r.FormValue("timeout")),
	}
	if d.Namespace == "" {
		d.Namespace = job.DefaultNamespace
	}
	all, err := u.control.Scripts(r.Context(), "")
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		all = nil // who may not see scripts runs commands only; control decides about those
	}
	for i := range all {
		name := all[i].Key().String()
		if !slices.Contains(d.Scripts, name) {
			d.Scripts = append(d.Scripts, name)
		}
		if name == d.Script {
			d.Params = nil
			for _, p := range all[i].Spec.Params { // of the newest version, which comes last
				d.Params = append(d.Params, givenParam{p, r.FormValue("param." + p.Name)})
			}
		}
	}
	if d.Target == "" {
		return d, nil
	}
	match, err := u.control.MatchMinions(r.Context(), d.Target)
	var invalid *job.InvalidError
	switch {
	case errors.As(err, &invalid):
		d.Problems = invalid.Problems
	case err != nil:
		return d, err
	default:
		d.Match = &match
	}
	return d, nil
}

func (u *UI) execForm(w http.ResponseWriter, r *http.Request) {
	d, err := u.readExec(r)
	p := page{Title: "Exec", Nav: "exec", Data: d}
	if d != nil && d.Problems != nil {
		u.render(w, r, http.StatusUnprocessableEntity, "exec", p)
		return
	}
	u.show(w, r, "exec", p, err)
}

// exec runs a command once on the minions that a target matches.
func (u *UI) exec(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		u.show(w, r, "error", page{Nav: "exec"}, &job.InvalidError{Problems: []job.Problem{{Path: "form", Message: "cannot be read: " + err.Error()}}})
		return
	}
	d, err := u.readExec(r)
	p := page{Title: "Exec", Nav: "exec", Data: d}
	if err != nil {
		u.show(w, r, "exec", p, err)
		return
	}
	var run job.RunID
	if d.Problems == nil {
		run, err = u.runOnce(r.Context(), d, r.PostFormValue("reason"))
	}
	var invalid *job.InvalidError
	switch {
	case errors.As(err, &invalid):
		d.Problems = invalid.Problems
	case errors.Is(err, job.ErrNoMinions):
		d.Problems = []job.Problem{{Path: "target", Message: err.Error()}}
	case err != nil:
		u.show(w, r, "exec", p, err)
		return
	}
	if d.Problems != nil {
		u.render(w, r, http.StatusUnprocessableEntity, "exec", p)
		return
	}
	http.Redirect(w, r, "/runs/"+string(run), http.StatusSeeOther)
}

func (u *UI) runOnce(ctx context.Context, d *execData, reason string) (job.RunID, error) {
	spec := job.Spec{Target: job.Target{Match: d.Target, Run: job.SpreadAll}}
	var problems []job.Problem
	bad := func(path, format string, args ...any) {
		problems = append(problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if d.Target == "" {
		bad("target", "is missing: say on which minions, as in web*; * stands for all")
	}
	switch n, err := strconv.Atoi(d.On); {
	case d.On == "one":
		spec.Target.Run = job.SpreadOne
	case err == nil && n > 0:
		spec.Target.Run, spec.Target.Count = job.SpreadAny, n
	case d.On != "" && d.On != "all":
		bad("on", "%q: want all, one, or a number above zero", d.On)
	}
	namespace := d.Namespace
	params := map[string]string{}
	switch {
	case d.Script != "" && strings.TrimSpace(d.Shell) != "":
		bad("shell", "is given beside a script; give one of the two")
	case d.Script != "":
		key := keyOf(d.Script)
		namespace = key.Namespace
		spec.Steps = []job.Step{{Script: key.Name}}
		for _, p := range d.Params {
			if p.Given != "" {
				params[p.Name] = p.Given
			}
		}
	case strings.TrimSpace(d.Shell) == "":
		bad("shell", "a command is missing")
	default:
		spec.Command = []string{"/bin/sh", "-c", d.Shell}
	}
	if d.Timeout != "" {
		t, err := time.ParseDuration(d.Timeout)
		if err != nil {
			bad("timeout", "%q: want a number with a unit, such as 90s or 1h30m", d.Timeout)
		}
		spec.Timeout = job.Duration(t)
	}
	if problems != nil {
		return "", &job.InvalidError{Problems: problems}
	}
	text, err := manifest.Encode(manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Namespace: namespace, Name: "exec"}, Spec: spec})
	if err != nil {
		return "", err
	}
	v, err := u.control.Exec(withOrder(ctx, reason, 0), "", text, api.StartRequest{Params: params})
	return v.RunID, err
}
