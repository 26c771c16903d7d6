package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/catalog"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// What is taken for ailing jobs and runs.
const (
	// ailingRuns is how many of a job's last runs have failed, all of them, until it
	// is told of.
	ailingRuns = 3
	// StuckAfter is how long a run may go on beyond its time-out, and WaitingLong how
	// long a due one may wait for a minion.
	StuckAfter  = 2*time.Minute + 15*time.Second
	WaitingLong = 15 * time.Minute
	// OnItsWay is how long a minion may be gone that is started again.
	OnItsWay = time.Minute
	// mostTargets bounds how many targets are held against the minions.
	mostTargets = 1000
)

// checkJobs looks for jobs that fail each time, were paused for that, or match
// nobody, and for runs that go on beyond their bound.
func (c *Checker) checkJobs(ctx context.Context) ([]api.Check, error) {
	jobs, err := c.catalog.Jobs(ctx, api.JobQuery{Passing: true})
	if err != nil {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	checks := c.checkFailing(jobs, sees)
	matching, err := c.checkTargetsMatch(ctx, jobs, sees)
	if err != nil {
		return nil, err
	}
	stuck, err := c.checkStuck(ctx, jobs, sees)
	return append(append(checks, matching...), stuck...), err
}

func (c *Checker) checkFailing(jobs []api.Job, sees sight) []api.Check {
	failing := ailments{name: "failing jobs", hint: "see `carillon runs -A --state failed`"}
	for i := range jobs {
		v := &jobs[i]
		paused := slices.IndexFunc(v.Pauses, func(p api.Pause) bool { return p.ByFailures })
		switch {
		case !v.ExpiresAt.IsZero(): // was run once
		case !sees(rights.Jobs, v.Namespace, v.Labels):
			if n, _ := failures(v.Last); paused >= 0 || v.Spec.IsEnabled() && v.Paused == nil && n >= ailingRuns {
				failing.hidden++
			}
		case paused >= 0:
			failing.add(fmt.Sprintf("job %s is paused since %s: %s", v.Key(), catalog.StampOf(v.Pauses[paused].Since), v.Pauses[paused].Reason),
				fmt.Sprintf("see `carillon logs %[1]s`, mend the job, then `carillon resume %[1]s`", v.Key()))
		case v.Spec.IsEnabled() && v.Paused == nil:
			if n, last := failures(v.Last); n >= ailingRuns {
				failing.add(fmt.Sprintf("the last %d runs of job %s did not succeed (last: %s, %s)", n, v.Key(), last.State, last.Reason),
					fmt.Sprintf("see `carillon logs %s`, or pause it: `carillon pause %s`", v.Key(), v.Key()))
			}
		}
	}
	return failing.all("no job fails each time")
}

// failures counts the runs, from the newest on, that did not succeed; what a policy
// did not run is no run.
func failures(runs []job.Run) (n int, last *job.Run) {
	for i := range runs {
		switch {
		case job.OnFailure.Meets(runs[i].State):
			if n++; last == nil {
				last = &runs[i]
			}
		case runs[i].State == job.StateSucceeded:
			return n, last
		}
	}
	return n, last
}

// checkTargetsMatch looks for jobs whose targets match nobody, or nobody that takes
// orders.
func (c *Checker) checkTargetsMatch(ctx context.Context, jobs []api.Job, sees sight) ([]api.Check, error) {
	nobody := ailments{name: "targets", hint: "see `carillon minions match TARGET` for each"}
	seen := map[string]string{} // why a target has nobody, by its JSON
	for i := range jobs {
		v := &jobs[i]
		if !v.ExpiresAt.IsZero() || !v.Spec.IsEnabled() || v.Spec.Target.IsZero() {
			continue // that nobody is connected at all is told of the minions
		}
		text, err := json.Marshal(v.Spec.Target)
		if err != nil {
			return nil, fmt.Errorf("target of job %s: %w", v.Key(), err)
		}
		why, known := seen[string(text)]
		if !known {
			if len(seen) == mostTargets {
				continue
			}
			if why, err = c.whyNobody(ctx, v.Spec.Target, sees); err != nil {
				why = err.Error()
			}
			seen[string(text)] = why
		}
		switch {
		case why == "":
			continue
		case !sees(rights.Jobs, v.Namespace, v.Labels):
			nobody.hidden++
			continue
		}
		hint := fmt.Sprintf("see `carillon describe job %s` for its target, and `carillon minions`", v.Key())
		if v.Spec.Target.Match != "" {
			hint = fmt.Sprintf("see `carillon minions match '%s'`", v.Spec.Target.Match)
		}
		nobody.add(fmt.Sprintf("job %s has nobody to run it: %s", v.Key(), why), hint)
	}
	well := "each job has a minion that takes its orders"
	if len(seen) == mostTargets {
		well = fmt.Sprintf("the first %d targets have minions that take their orders; others were not looked at", mostTargets)
	}
	return nobody.all(well), ctx.Err()
}

func matching(n int) string {
	if n == 1 {
		return "1 minion matches"
	}
	return fmt.Sprintf("each of %d minions matches", n)
}

// whyNobody tells why a target has no minion that takes orders; empty: it has one.
func (c *Checker) whyNobody(ctx context.Context, t job.Target, sees sight) (string, error) {
	found, err := c.minions.MatchTarget(ctx, t)
	switch {
	case err != nil:
		return "", err
	case len(found.Minions) > 0:
		return "", nil
	case len(found.Uncontrollable) > 0 && !sees(rights.Minions, "", nil):
		return fmt.Sprintf("%s the target, and takes no orders", matching(len(found.Uncontrollable))), nil
	case len(found.Uncontrollable) > 0:
		return (&minions.AllAwayError{Minions: found.Uncontrollable}).Error(), nil
	case found.Missing != "":
		return "no minion is known by the name of " + found.Missing, nil
	}
	return "no minion matches its target", nil
}

// checkStuck looks for open runs that go on beyond their time-out, or wait for a
// minion for long.
func (c *Checker) checkStuck(ctx context.Context, jobs []api.Job, sees sight) ([]api.Check, error) {
	live, missing, err := c.runs.LiveRuns(ctx, "", "")
	if err != nil {
		return nil, err
	}
	limits, labels := make(map[job.UID]time.Duration, len(jobs)), make(map[job.UID]map[string]string, len(jobs))
	for i := range jobs {
		limits[jobs[i].UID], labels[jobs[i].UID] = jobs[i].Spec.EffectiveTimeout(), jobs[i].Labels
	}
	stuck := ailments{name: "stuck runs", hint: "see `carillon runs -A --state running`"}
	now := c.db.Now()
	for i := range live {
		r := &live[i]
		limit, known := limits[r.FireID.Job]
		if !known {
			limit = job.DefaultTimeout
		}
		hint := fmt.Sprintf("see `carillon describe run %[1]s`, or end it: `carillon cancel %[1]s`", r.RunID)
		tell := func(detail string) {
			if sees(rights.Runs, r.Namespace, labels[r.FireID.Job]) {
				stuck.add(detail, hint)
			} else {
				stuck.hidden++
			}
		}
		switch {
		case r.State.Final():
		case !r.GoneSince.IsZero() && now.Sub(r.GoneSince) < OnItsWay:
		case !r.GoneSince.IsZero():
			tell(fmt.Sprintf("run %s of job %s: its minion is gone since %s", r.RunID, r.Key(), catalog.StampOf(r.GoneSince)))
		case r.State == job.StateRunning:
			for _, t := range r.Tasks {
				if over := now.Sub(t.StartedAt) - limit; t.State == job.StateRunning && !t.StartedAt.IsZero() && over > StuckAfter {
					tell(fmt.Sprintf("run %s of job %s goes on %s beyond its time-out of %s on %s", r.RunID, r.Key(), over.Round(time.Second), limit, t.Minion))
					break
				}
			}
		case r.State == job.StatePending && len(r.Tasks) == 0 && now.Sub(r.ScheduledAt) > WaitingLong:
			tell(fmt.Sprintf("run %s of job %s has not started for %s: %s", r.RunID, r.Key(), now.Sub(r.ScheduledAt).Round(time.Second), r.Reason))
		}
	}
	well := "no run goes on beyond its bound"
	if len(missing) > 0 {
		well += ", of those that are known: " + (&api.PartialError{Missing: missing}).Error()
	}
	return stuck.all(well), nil
}
