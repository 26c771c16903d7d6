package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// ways returns in which queues a run waits for others, and how many of each may be
// under way at a time.
func (e *evidence) ways(r *job.Run) map[string]int {
	out := map[string]int{}
	p := e.plans[r.FireID.Job]
	if p == nil {
		return out
	}
	g := e.groups[p.group]
	if g.Ordered {
		out["ordered group "+p.group] = 1
	}
	if g.MaxConcurrent > 0 {
		out["bounded group "+p.group] = g.MaxConcurrent
	}
	if g.Mutex != "" {
		out["lock "+g.Mutex] = 1
	}
	if r.FireID.Trigger == job.TriggerBackfill {
		for i := range e.ledger.backfills {
			if b := &e.ledger.backfills[i]; !b.overlap && b.fire(r.ScheduledAt) == r.FireID {
				out["backfill "+b.id] = 1
			}
		}
	} else if p.alone { // each share has a queue for itself
		out[fmt.Sprintf("job %v, share %d", p.key, r.FireID.Share)] = 1
	}
	return out
}

// judgeGroups looks at how many runs were under way at a time of those that wait for
// one another, by the minions' clock, which is one and the same here.
func (v *verdict) judgeGroups(e *evidence) {
	type edge struct {
		at   time.Time
		step int
		fire job.FireID
	}
	edges := map[string][]edge{}
	limit := map[string]int{}
	for i := range e.runs {
		r := &e.runs[i]
		if r.StartedAt.IsZero() || r.EndedAt.IsZero() {
			continue
		}
		for name, n := range e.ways(r) {
			limit[name] = n
			edges[name] = append(edges[name], edge{r.StartedAt, 1, r.FireID}, edge{r.EndedAt, -1, r.FireID})
		}
	}
	for name, list := range edges {
		slices.SortFunc(list, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
		n := 0
		for _, x := range list {
			if n += x.step; n > limit[name] {
				v.crowded = append(v.crowded, finding{x.fire, fmt.Sprintf("is number %d under way in %s, which allows %d", n, name, limit[name])})
			}
		}
	}
}

// judgeOrder looks for runs of ordered groups that started after one of a later
// instant. A start by hand stands in line only once it is committed, which may be
// after what is due later was sent; so it is looked at only in front of what was
// committed after it.
func (v *verdict) judgeOrder(e *evidence) {
	started := map[string][]*job.Run{}
	for i := range e.runs {
		r := &e.runs[i]
		p := e.plans[r.FireID.Job]
		if p != nil && e.groups[p.group].Ordered && !r.StartedAt.IsZero() {
			started[p.group] = append(started[p.group], r)
		}
	}
	for group, runs := range started {
		slices.SortFunc(runs, func(a, b *job.Run) int {
			return cmp.Or(a.StartedAt.Compare(b.StartedAt), a.ScheduledAt.Compare(b.ScheduledAt))
		})
		latest := runs[0]
		for _, r := range runs {
			switch {
			case !r.ScheduledAt.Before(latest.ScheduledAt):
				latest = r
			case r.FireID.Trigger != job.TriggerSchedule && !r.CommittedAt.Before(latest.CommittedAt.Add(-e.early)):
			default:
				v.disordered = append(v.disordered, finding{r.FireID, fmt.Sprintf("started after the run of %s, %v later, in ordered group %s",
					e.plans[latest.FireID.Job].key, latest.ScheduledAt.Sub(r.ScheduledAt), group)})
			}
		}
	}
}
