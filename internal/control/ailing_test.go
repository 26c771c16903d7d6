package control

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/control/doctor"
	"github.com/carillon-cron/carillon/internal/control/enroll"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// enrolled is an Enrollment that knows who has a certificate.
type enrolled struct {
	enroll.Enrollment

	of func() []etcdkv.Enrollment
}

func (e enrolled) Enrolled(context.Context) ([]etcdkv.Enrollment, error)  { return e.of(), nil }
func (e enrolled) Requests(context.Context) ([]etcdkv.JoinRequest, error) { return nil, nil }

// authority returns the certificate of an authority that was made so long before the
// test's time.
func authority(t *testing.T, age time.Duration) string {
	t.Helper()
	a, err := auth.NewAuthority("c1", time.Date(2026, 5, 4, 10, 30, 15, 0, time.UTC).Add(-age))
	if err != nil {
		t.Fatal(err)
	}
	return string(a.CertificatePEM())
}

// TestDoctorTellsOfStuckRuns: of those that go on beyond their time-outs, wait for a
// minion for long, or whose minions are gone, each with what mends it; what is within
// its bound is not told of.
func TestDoctorTellsOfStuckRuns(t *testing.T) {
	t.Parallel()
	running := func(d time.Duration) func(e *env, r *job.Run) { // for so long
		return func(e *env, r *job.Run) {
			r.Tasks = []job.Task{
				{Minion: "m1", State: job.StateSucceeded, StartedAt: e.now().Add(-24 * time.Hour)},
				{Minion: "m2", State: job.StateRunning, StartedAt: e.now().Add(-d)},
			}
		}
	}
	gone := func(d time.Duration) func(e *env, r *job.Run) {
		return func(e *env, r *job.Run) { r.GoneSince = e.now().Add(-d) }
	}
	waits := func(d time.Duration) func(e *env, r *job.Run) {
		return func(e *env, r *job.Run) {
			r.State, r.Reason, r.ScheduledAt = job.StatePending, "waiting for a minion that matches the target: none does", e.now().Add(-d)
		}
	}
	for name, c := range map[string]struct {
		limit  time.Duration            // 0: the default
		open   func(e *env, r *job.Run) // a run that is running
		detail string                   // empty: it is well
		hint   string
	}{
		"a run beyond its time-out": {
			time.Minute, running(10 * time.Minute),
			"run RUN of job ops/x goes on 9m0s beyond its time-out of 1m0s on m2", "see `carillon describe run RUN`, or end it: `carillon cancel RUN`",
		},
		"a run beyond the default time-out": {
			0, running(job.DefaultTimeout + time.Hour),
			"run RUN of job ops/x goes on 1h0m0s beyond its time-out of 1h0m0s on m2", "`carillon cancel RUN`",
		},
		"a run that is being ended":  {time.Minute, running(time.Minute + doctor.StuckAfter), "", ""},
		"a run within its time-out":  {0, running(job.DefaultTimeout - time.Minute), "", ""},
		"a run whose minion is gone": {0, gone(doctor.OnItsWay), "run RUN of job ops/x: its minion is gone since 2026-05-04T10:29:15.000Z", "`carillon cancel RUN`"},
		"a minion that is restarted": {0, gone(doctor.OnItsWay - time.Second), "", ""},
		"a run that waits for long": {
			0, waits(doctor.WaitingLong + time.Minute),
			"run RUN of job ops/x has not started for 16m0s: waiting for a minion that matches the target: none does", "`carillon cancel RUN`",
		},
		"a run that waits": {0, waits(doctor.WaitingLong), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.populate(t)
			x := object("x")
			x.Spec.Timeout = job.Duration(c.limit)
			e.apply(t, x)
			run := someRun(e.storedJob(t, "x").UID, "x", e.now().Add(-10*time.Minute), job.StateRunning)
			c.open(e, &run)
			e.runs.begin(run)
			e.ails(t, "stuck runs", strings.ReplaceAll(c.detail, "RUN", string(run.RunID)), strings.ReplaceAll(c.hint, "RUN", string(run.RunID)))
		})
	}
}

// ails checks what the doctor tells under a name; an empty detail: that all is well.
func (e *env) ails(t *testing.T, check, detail, hint string) {
	t.Helper()
	got := e.findings(t)[check]
	switch {
	case detail == "" && got.Status != api.CheckOK:
		t.Errorf("%s: %+v, want it well", check, got)
	case detail != "" && (got.Status != api.CheckFail || !strings.HasPrefix(got.Detail, detail) || !strings.Contains(got.Hint, hint)):
		t.Errorf("%s:\n got %+v\nwant %s\nhint %s", check, got, detail, hint)
	}
}

// TestDoctorTellsOfLateCertificates: of minions that are connected and ought to have
// renewed theirs long before, and of the authority.
func TestDoctorTellsOfLateCertificates(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		left         time.Duration // of the certificate of m1
		revoked      bool
		away         bool
		age          time.Duration // of the authority
		detail, hint string
	}{
		"in time":             {left: doctor.EndsSoon, age: year},
		"not renewed":         {left: doctor.EndsSoon - time.Second, age: year, detail: "that of minion m1 ends at 2026-05-04T16:30:14.000Z, and ought to have been renewed", hint: "`carillon minions token`"},
		"expired":             {left: -time.Hour, age: year, detail: "that of minion m1 ended at 2026-05-04T09:30:15.000Z", hint: "`carillon minions token`"},
		"of one that is away": {left: time.Hour, away: true, age: year},
		"revoked":             {left: time.Hour, revoked: true, age: year},
		"an old authority":    {left: doctor.EndsSoon, age: 10*year - 24*time.Hour, detail: "the certificate of the cluster's authority ends at ", hint: "`scheduler --renew-authority`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, func(cfg *Config, d *Deps) {
				m := job.Minion{ID: "m1", Node: "n1"}
				if c.away {
					m.Node = ""
				}
				d.Minions, cfg.Authority = fakeMinions{m}, authority(t, c.age)
				now := d.Now()
				d.Enrollment = enrolled{of: func() []etcdkv.Enrollment {
					en := etcdkv.Enrollment{ID: "m1", ExpiresAt: now.Add(c.left)}
					if c.revoked {
						en.RevokedAt = now
					}
					return []etcdkv.Enrollment{en, {ID: "m2", ExpiresAt: now.Add(-year)}} // it was here once
				}}
			})
			e.populate(t)
			e.ails(t, "certificates", c.detail, c.hint)
		})
	}
}

// TestDoctorTellsOfJobsThatFail: of those that fail each time, and of no others.
func TestDoctorTellsOfJobsThatFail(t *testing.T) {
	t.Parallel()
	run := func(e *env, n int, state job.State) {
		r := someRun(e.storedJob(t, "x").UID, "x", e.now().Add(-time.Duration(n)*time.Minute), state)
		r.Reason = fmt.Sprint("reason ", n)
		e.runs.end(r)
	}
	for name, c := range map[string]struct {
		ends         []job.State // the newest first
		pause        etcdkv.Pause
		detail, hint string
	}{
		"it fails each time": {
			[]job.State{job.StateFailed, job.StateSkipped, job.StateTimedOut, job.StateFailed}, etcdkv.Pause{},
			"the last 3 runs of job ops/x did not succeed (last: failed, reason 1)", "`carillon logs ops/x`, or pause it: `carillon pause ops/x`",
		},
		"it failed twice": {[]job.State{job.StateFailed, job.StateFailed, job.StateSucceeded, job.StateFailed}, etcdkv.Pause{}, "", ""},
		"it was mended":   {[]job.State{job.StateSucceeded, job.StateFailed, job.StateFailed, job.StateFailed}, etcdkv.Pause{}, "", ""},
		"it is never run": {[]job.State{job.StateSkipped, job.StateSkipped, job.StateSkipped}, etcdkv.Pause{}, "", ""},
		"it is paused for that": {
			nil, etcdkv.Pause{By: etcdkv.PausedByFailures, Reason: "paused after 3 consecutive failures (last: r, failed)"},
			"job ops/x is paused since 2026-05-04T09:30:15.000Z: paused after 3 consecutive failures", "mend the job, then `carillon resume ops/x`",
		},
		"somebody of that name has paused it": {
			[]job.State{job.StateFailed, job.StateFailed, job.StateFailed}, etcdkv.Pause{By: "carillon", Reason: "new disk"}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.populate(t)
			e.apply(t, object("x"))
			if c.pause.By != "" {
				c.pause.Scope, c.pause.Namespace, c.pause.Name, c.pause.Since = etcdkv.ScopeJob, "ops", "x", e.now().Add(-time.Hour)
				e.put(t, e.keys.Pause(etcdkv.ScopeJob, "ops", "x"), c.pause)
			}
			for i, s := range c.ends {
				run(e, i+1, s)
			}
			e.ails(t, "failing jobs", c.detail, c.hint)
		})
	}
}
