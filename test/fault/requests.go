package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// requests are the fires that were asked for.
type requests struct {
	fires map[job.FireID]bool
	// unsure counts those that may have been asked for, by job: nobody answered.
	unsure map[job.UID]int
}

func newRequests(e *evidence) *requests {
	q := &requests{fires: map[job.FireID]bool{}, unsure: maps.Clone(e.ledger.unsure)}
	for _, fire := range e.ledger.starts {
		q.fires[fire] = true
	}
	for i := range e.ledger.backfills {
		b := &e.ledger.backfills[i]
		for _, t := range b.instants {
			q.fires[b.fire(t)] = true
		}
	}
	return q
}

// has reports whether a fire was asked for, or may have been.
func (q *requests) has(fire job.FireID) bool {
	if q.fires[whole(fire)] {
		return true
	}
	if q.unsure[fire.Job] == 0 {
		return false
	}
	q.unsure[fire.Job]--
	return true
}

// mayRun reports whether a fire that ran is one; if not, that is told. What was
// forbidden is told, too.
func (v *verdict) mayRun(e *evidence, asked *requests, fire job.FireID) bool {
	p := e.plans[fire.Job]
	if fire.Trigger != job.TriggerSchedule {
		if p == nil || !asked.has(fire) {
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and nobody has asked for it"})
			return false
		}
		return true
	}
	if p == nil {
		v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is no occurrence of its job"})
		return false
	}
	by, gone := p.possible(fire.Time())
	switch {
	case by == nil && gone == "":
		v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is no occurrence of its job"})
		return false
	case by == nil:
		v.forbidden = append(v.forbidden, finding{fire, "ran, though " + gone})
		return true
	}
	if why := v.shut(e, p, by, fire.Time()); why != "" {
		v.forbidden = append(v.forbidden, finding{fire, "ran, in spite of " + why})
	}
	return true
}

// shut returns what does not let a job run at an instant: a calendar, or a pause.
func (*verdict) shut(e *evidence, p *plan, by *span, t time.Time) string {
	if by != nil && by.closed != nil && !by.closed.moves {
		if w, is := by.closed.at(t); is {
			return fmt.Sprintf("calendar %s, which is closed from %s to %s", by.closed.name, w.from.Format(time.RFC3339), w.to.Format(time.RFC3339))
		}
	}
	if r := e.ledger.pausedFor(p, t); r != nil {
		return r.String()
	}
	return ""
}

// mayBeRecorded looks at a record of what did not run: that too must have been due,
// or asked for.
func (v *verdict) mayBeRecorded(e *evidence, asked *requests, r *job.Run) {
	p := e.plans[r.FireID.Job]
	fire := whole(r.FireID)
	switch {
	case len(r.Tasks) > 0 && r.Tasks[0].Share != "": // judgeTrace has told
	case p == nil:
		v.unaccounted = append(v.unaccounted, finding{fire, "is recorded, and is of no job that there was"})
	case fire.Trigger != job.TriggerSchedule:
		if !asked.has(fire) {
			v.unaccounted = append(v.unaccounted, finding{fire, "is recorded, and nobody has asked for it"})
		}
	case e.early > 0: // a wrong clock may have looked into the future
	default:
		if by, gone := p.possible(fire.Time()); by == nil && gone == "" {
			v.unaccounted = append(v.unaccounted, finding{fire, "is recorded, and is no occurrence of its job"})
		} else if by == nil && r.State != job.StateSkipped && r.State != job.StateCancelled {
			v.forbidden = append(v.forbidden, finding{fire, fmt.Sprintf("is recorded as %s, though %s", r.State, gone)})
		}
	}
}

// What the scheduler gives as reasons for not running an occurrence.
const (
	saysCalendar = "calendar "
	saysPaused   = "paused since"
	saysDisabled = "the job was disabled"
	saysDeleted  = "the job was deleted"
	saysEarlier  = "previous run still in progress"
)

// judgeReason looks at why an occurrence was not run, by its record: whether that is
// so, and whether it is the reason that ought to be there.
func (v *verdict) judgeReason(e *evidence, r *job.Run) {
	p := e.plans[r.FireID.Job]
	if p == nil || r.FireID.Trigger != job.TriggerSchedule || e.trace[r.FireID] > 0 {
		return
	}
	t := r.FireID.Time()
	wrong := func(what string) {
		v.unaccounted = append(v.unaccounted, finding{r.FireID, fmt.Sprintf("is recorded as %s, %s: %s", r.State, what, r.Reason)})
	}
	if r.State == job.StateMissed && r.Count <= 1 {
		by, _ := p.possible(t)
		if why := v.shut(e, p, by, t); why != "" {
			wrong("and not as skipped for " + why)
		}
	}
	if r.State != job.StateSkipped {
		return
	}
	var closedBy []string
	for i := range p.spans {
		s := &p.spans[i]
		if _, is := s.closed.at(t); is {
			closedBy = append(closedBy, s.closed.name)
		}
	}
	switch {
	case strings.HasPrefix(r.Reason, saysCalendar):
		name, _, _ := strings.Cut(strings.TrimPrefix(r.Reason, saysCalendar+probeSpace+"/"), ":")
		if !slices.Contains(closedBy, name) {
			wrong("though that calendar is open then")
		}
	case strings.Contains(r.Reason, saysPaused):
		if !e.ledger.mayRest(p, t, e.slack()) {
			wrong("though nothing is paused then")
		}
	case strings.HasPrefix(r.Reason, saysDisabled), strings.HasPrefix(r.Reason, saysDeleted):
		if !p.stopped(t.Add(-e.slack())) {
			wrong("though that was before")
		}
	case strings.Contains(r.Reason, saysEarlier):
		if !p.alone {
			wrong("though its runs do not wait for one another")
		}
	}
}

// clockSlack is by how much the clocks of processes on one host may differ; skew, where
// they are made wrong, by how much a node goes on by its own.
const (
	clockSlack = 50 * time.Millisecond
	skew       = clockLittle + time.Second
)

// slack is by how much the clocks differ that instants were judged by.
func (e *evidence) slack() time.Duration {
	if e.early > 0 {
		return skew
	}
	return clockSlack
}
