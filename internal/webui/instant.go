package webui

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// instantPath tells of any instant of a job whether it fired, and why.
const instantPath = "/instant"

type instantData struct {
	Job, At  string
	Fire     *api.Fire
	Gap      string
	Problems []job.Problem
}

func (u *UI) instant(w http.ResponseWriter, r *http.Request) {
	d := &instantData{Job: strings.TrimSpace(r.FormValue("job")), At: strings.TrimSpace(r.FormValue("at"))}
	p := page{Title: "Why did it run, or not?", Nav: "instant", Data: d}
	if d.Job == "" && d.At == "" {
		d.At = time.Now().UTC().Truncate(time.Minute).Format("2006-01-02 15:04:05")
		u.show(w, r, "instant", p, nil)
		return
	}
	at, err := readInstant(d.At)
	if err != nil {
		d.Problems = append(d.Problems, job.Problem{Path: "at", Message: err.Error()})
	}
	if d.Job == "" {
		d.Problems = append(d.Problems, job.Problem{Path: "job", Message: "is missing; want NAMESPACE/NAME"})
	}
	if d.Problems != nil {
		u.render(w, r, http.StatusUnprocessableEntity, "instant", p)
		return
	}
	v, err := u.control.Fire(r.Context(), keyOf(d.Job), at)
	var invalid *job.InvalidError
	if errors.As(err, &invalid) {
		d.Problems = invalid.Problems
		u.render(w, r, http.StatusUnprocessableEntity, "instant", p)
		return
	}
	d.Fire, d.Gap = &v, v.Gap()
	u.show(w, r, "instant", p, err)
}

// readInstant reads an instant as people write it, in UTC where it names no zone.
func readInstant(text string) (time.Time, error) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no instant; want one as 2006-01-02 15:04:05, in UTC, or as 2006-01-02T15:04:05+01:00", text)
}
