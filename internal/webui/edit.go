package webui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// editPath is where manifests are written.
const editPath = "/edit"

// firesShown is how many instants of a schedule are compared with those of another one.
const firesShown = 10

// newJob is what the editor begins with.
const newJob = `apiVersion: carillon/v1
kind: Job
metadata:
  name: NAME
  namespace: default
spec:
  schedules: ["0 3 * * *"]
  timeZone: UTC
  command: [echo, hello]
`

// editData is a manifest that is written, and what would come of it.
type editData struct {
	Text string
	// Job and Generation are what is edited, and what it was then; empty: it is new.
	Job        string
	Generation int64
	// Checked: the text was looked at. Problems say what is wrong with it; Results what
	// applying it would do.
	Checked  bool
	Problems []job.Problem
	Results  []api.ApplyResult
	// Lines is what it changes of the job, Fires when that is due then, and was before.
	Lines []diffLine
	Fires []fireChange
	// Aside says what Fires do not tell.
	Aside string
}

// fireChange is an instant before and after an edit: Mark is + where it is new, - where it
// is not due any more.
type fireChange struct {
	At   time.Time
	Mark string
}

// Changed reports whether an instant differs.
func (d *editData) Changed() bool {
	return slices.ContainsFunc(d.Fires, func(f fireChange) bool { return f.Mark != "" })
}

func (u *UI) edit(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "New", Nav: "jobs"}
	if r.FormValue("job") == "" {
		p.Data = &editData{Text: newJob}
		u.show(w, r, "edit", p, nil)
		return
	}
	key := keyOf(r.FormValue("job"))
	v, err := u.control.Job(r.Context(), key)
	if err != nil {
		u.show(w, r, "edit", p, err)
		return
	}
	text, err := manifestOf(&v)
	p.Title, p.Data = "Edit "+key.String(), &editData{Text: string(text), Job: key.String(), Generation: v.Generation}
	u.show(w, r, "edit", p, err)
}

// keyOf reads NAMESPACE/NAME.
func keyOf(text string) job.Key {
	ns, name, ok := strings.Cut(text, "/")
	if !ok {
		return job.Key{Namespace: job.DefaultNamespace, Name: text}
	}
	return job.Key{Namespace: ns, Name: name}
}

// manifestOf writes a job as it is applied.
func manifestOf(v *api.Job) ([]byte, error) {
	return manifest.Encode(manifest.Object{
		Kind: job.KindJob, Spec: v.Spec,
		Metadata: job.Metadata{Namespace: v.Namespace, Name: v.Name, Labels: v.Labels, Annotations: v.Annotations},
	})
}

// save checks a manifest, and applies it where it is asked to. A job that others have
// changed since it was shown is not overwritten.
func (u *UI) save(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxManifest)
	if err := r.ParseForm(); err != nil {
		u.show(w, r, "error", page{Nav: "jobs"}, &job.InvalidError{Problems: []job.Problem{{Path: "form", Message: "cannot be read: " + err.Error()}}})
		return
	}
	generation, _ := strconv.ParseInt(r.PostFormValue("generation"), 10, 64) // none: whatever is there
	d := &editData{Text: strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n"), Job: r.PostFormValue("job"), Generation: generation, Checked: true}
	p := page{Title: "New", Nav: "jobs", Data: d}
	if d.Job != "" {
		p.Title = "Edit " + d.Job
	}
	ctx := withOrder(r.Context(), r.PostFormValue("reason"), generation)
	apply := r.PostFormValue("do") == "save"
	before := u.former(ctx, d) // as it is before that
	results, err := u.control.Apply(ctx, "", []byte(d.Text), !apply)
	var invalid *job.InvalidError
	switch {
	case errors.As(err, &invalid):
		d.Problems = invalid.Problems
		u.render(w, r, http.StatusUnprocessableEntity, "edit", p)
		return
	case err != nil:
		u.show(w, r, "edit", p, err)
		return
	case apply:
		http.Redirect(w, r, applied(results), http.StatusSeeOther)
		return
	}
	d.Results = results
	if err := d.compare(before); err != nil {
		u.show(w, r, "edit", p, err)
		return
	}
	u.show(w, r, "edit", p, nil)
}

// maxManifest bounds a manifest that is written on the page, with what a form adds.
const maxManifest = 4 << 20

// withOrder has control know why something is done, and of which generation it is.
func withOrder(ctx context.Context, reason string, generation int64) context.Context {
	req := caller.RequestOf(ctx)
	req.Reason, req.IfMatch = strings.TrimSpace(reason), generation
	return caller.WithRequest(ctx, req)
}

// applied is where to see what was applied.
func applied(results []api.ApplyResult) string {
	if len(results) == 1 && results[0].Kind == job.KindJob {
		return jobsPath + "/" + url.PathEscape(results[0].Namespace) + "/" + url.PathEscape(results[0].Name)
	}
	for _, r := range results {
		if r.Kind == job.KindJob {
			return jobsPath
		}
	}
	return "/"
}

// former is the job that a manifest of one job would change; nil: there is none that the
// reader may see.
func (u *UI) former(ctx context.Context, d *editData) *api.Job {
	objects, err := manifest.DecodeNames("", []byte(d.Text))
	if err != nil || len(objects) != 1 || objects[0].Kind != job.KindJob {
		return nil
	}
	v, err := u.control.Job(ctx, job.Key{Namespace: objects[0].Metadata.Namespace, Name: objects[0].Metadata.Name})
	if err != nil {
		return nil
	}
	return &v
}

// compare tells what a manifest of one job changes of it. Control has found nothing wrong
// with it.
func (d *editData) compare(before *api.Job) error {
	objects, err := manifest.Decode("", []byte(d.Text))
	if err != nil || len(objects) != 1 || objects[0].Kind != job.KindJob {
		return err
	}
	o := &objects[0]
	var was []byte
	var old []time.Time
	now := time.Now()
	if before != nil {
		if was, err = manifestOf(before); err != nil {
			return err
		}
		if old, err = firesOf(before.Key(), &before.Spec, now); err != nil {
			old = nil // what is stored may be older than a rule; the page of the job says so
		}
	}
	is, err := manifest.Encode(*o)
	if err != nil {
		return err
	}
	d.Lines = diffLines(was, is)
	fresh, err := firesOf(job.Key{Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}, &o.Spec, now)
	if err != nil {
		return err
	}
	d.Fires = changed(old, fresh)
	if len(o.Spec.Calendars) > 0 || o.Spec.Jitter != 0 {
		d.Aside = "Calendars and jitter are left out here."
	}
	return nil
}

// firesOf are the next instants of schedules, by themselves.
func firesOf(key job.Key, spec *job.Spec, after time.Time) ([]time.Time, error) {
	if !spec.IsEnabled() {
		return nil, nil
	}
	set, err := schedule.ParseSet(spec.Schedules, schedule.OptionsOf(key, spec))
	if err != nil {
		return nil, err
	}
	var out []time.Time
	for at := after; len(out) < firesShown; {
		next, ok := set.Next(at)
		if !ok || spec.EndAt != nil && next.After(*spec.EndAt) {
			break
		}
		if at = next; spec.StartAt == nil || !next.Before(*spec.StartAt) {
			out = append(out, next)
		}
	}
	return out, nil
}

// changed holds two lists of instants against each other, as far as both are known.
func changed(old, fresh []time.Time) []fireChange {
	var end time.Time // of what is known of both
	for _, list := range [][]time.Time{old, fresh} {
		if len(list) == firesShown && (end.IsZero() || list[firesShown-1].Before(end)) {
			end = list[firesShown-1]
		}
	}
	marks := map[int64]string{}
	for _, t := range old {
		marks[t.UnixNano()] = "-"
	}
	for _, t := range fresh {
		if _, both := marks[t.UnixNano()]; both {
			marks[t.UnixNano()] = ""
		} else {
			marks[t.UnixNano()] = "+"
		}
	}
	var out []fireChange
	for at, mark := range marks {
		if t := time.Unix(0, at).UTC(); end.IsZero() || !t.After(end) {
			out = append(out, fireChange{t, mark})
		}
	}
	slices.SortFunc(out, func(a, b fireChange) int { return a.At.Compare(b.At) })
	return out
}

// label sets a label of a job, or takes it away where it is given no value. What others do
// to the job meanwhile is not overwritten.
func (u *UI) label(pair string) act {
	return func(ctx context.Context, key job.Key, o api.Order) (string, string, error) {
		k, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || k == "" {
			return "", "", &job.InvalidError{Problems: []job.Problem{{Path: "label", Message: strconv.Quote(pair) + " is no label; want KEY=VALUE, or KEY= to take it away"}}}
		}
		v, err := u.control.Job(ctx, key)
		if err != nil {
			return "", "", err
		}
		labels := map[string]string{}
		for name, text := range v.Labels {
			labels[name] = text
		}
		if labels[k] = value; value == "" {
			delete(labels, k)
		}
		v.Labels = labels
		text, err := manifestOf(&v)
		if err != nil {
			return "", "", err
		}
		results, err := u.control.Apply(withOrder(ctx, o.Reason, v.Generation), "", text, false)
		if err != nil {
			return "", "", err
		}
		return string(results[0].Action), jobsPath + "/" + key.String(), nil
	}
}
