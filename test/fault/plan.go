package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// plan is what the oracle knows of a job: when it is due, by all the schedules that
// it had, and what of its runs is told beforehand.
type plan struct {
	key   job.Key
	group string
	shard job.ShardID
	// spans are the schedules, one after the other.
	spans []span
	// jitter spreads its starts.
	jitter time.Duration
	// alone: whatever its overlap policy was, it lets no two runs be under way at a
	// time. cancels: it ends runs.
	alone, cancels bool
	// versions is how many commands the job had; 0: one, which is not numbered.
	versions int
}

// span is a schedule that a job had for a while.
type span struct {
	// set is when the job is due; nil: never.
	set schedule.Set
	// closed is when a calendar does not let it run; nil: it always does.
	closed *closing
	// from and to bound the instants, both included. Zero: there is no bound.
	from, to time.Time
	// after is from where on it holds. Of the instants up to holds those of the
	// schedule before may have been committed already; so those of this one may not be.
	after, holds time.Time
	// what was done, in words: "it was disabled".
	what string
}

// closing is a calendar as the oracle knows it: by itself, not by the product's
// reading of it.
type closing struct {
	name    string
	windows []window // in order, apart
	// moves: what is due while it is closed is due at the end of the window instead.
	moves bool
}

// window is from an instant on, up to another one, which is open.
type window struct{ from, to time.Time }

// at returns the window that an instant lies in.
func (c *closing) at(t time.Time) (window, bool) {
	if c == nil {
		return window{}, false
	}
	i, found := slices.BinarySearchFunc(c.windows, t, func(w window, t time.Time) int { return w.from.Compare(t) })
	if !found {
		i--
	}
	if i < 0 || !t.Before(c.windows[i].to) {
		return window{}, false
	}
	return c.windows[i], true
}

// has reports whether an instant is one of the schedule, whenever that held.
func (s *span) has(t time.Time) bool {
	if s.closed != nil && s.closed.moves {
		for _, w := range s.closed.windows {
			if w.to.Equal(t) && s.inside(t) && len(s.set.Between(w.from.Add(-1), w.to.Add(-1), 1)) > 0 {
				return true
			}
		}
		if _, shut := s.closed.at(t); shut {
			return false
		}
	}
	next, ok := s.set.Next(t.Add(-1))
	return ok && next.Equal(t) && s.inside(t)
}

func (s *span) inside(t time.Time) bool {
	return (s.from.IsZero() || !t.Before(s.from)) && (s.to.IsZero() || !t.After(s.to))
}

// between returns the schedule's instants after one, up to and with another.
func (s *span) between(from, to time.Time) []time.Time {
	if !s.from.IsZero() && from.Before(s.from) {
		from = s.from.Add(-1)
	}
	if !s.to.IsZero() && to.After(s.to) {
		to = s.to
	}
	all := s.set.Between(from, to, maxOccurrences)
	if s.closed == nil || !s.closed.moves {
		return all
	}
	kept := slices.DeleteFunc(all, func(t time.Time) bool {
		_, shut := s.closed.at(t)
		return shut
	})
	for _, w := range s.closed.windows {
		if w.to.After(from) && !w.to.After(to) && s.has(w.to) {
			kept = append(kept, w.to)
		}
	}
	slices.SortFunc(kept, time.Time.Compare)
	return slices.CompactFunc(kept, time.Time.Equal)
}

// owed returns the instants up to one that must have come to an end.
func (p *plan) owed(until time.Time) []time.Time {
	var out []time.Time
	for i := range p.spans {
		s := &p.spans[i]
		from, to := s.after, until
		if s.holds.After(from) {
			from = s.holds
		}
		if i+1 < len(p.spans) && p.spans[i+1].after.Before(to) {
			to = p.spans[i+1].after
		}
		if to.After(from) {
			out = append(out, s.between(from, to)...)
		}
	}
	return out
}

// possible returns the schedule by which an instant may have been committed. Else
// what was done that keeps it from being one; empty: it is none of any schedule.
func (p *plan) possible(t time.Time) (by *span, gone string) {
	for i := range p.spans {
		s := &p.spans[i]
		if !t.After(s.after) || !s.has(t) {
			continue
		}
		if i+1 == len(p.spans) || !t.After(p.spans[i+1].after) || !t.After(p.spans[i+1].holds) {
			return s, ""
		}
		next := &p.spans[i+1]
		gone = fmt.Sprintf("%s, which holds from %s on", next.what, next.holds.Format(time.RFC3339Nano))
	}
	return nil, gone
}

// among returns the instants in a window, both ends included, that may be committed.
func (p *plan) among(from, to time.Time) []time.Time {
	var out []time.Time
	for i := range p.spans {
		for _, t := range p.spans[i].between(from.Add(-1), to) {
			if by, _ := p.possible(t); by == &p.spans[i] {
				out = append(out, t)
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// starts returns when a fire is to start at the earliest.
func (p *plan) starts(fire job.FireID) time.Time {
	spec := job.Spec{Jitter: job.Duration(p.jitter)}
	return fire.Time().Add(spec.Delay(fire))
}

// stopped reports whether an edit has the job not be due, which may be the reason
// why one of its instants was not run.
func (p *plan) stopped(t time.Time) bool {
	for i := range p.spans {
		if s := &p.spans[i]; s.set == nil && !t.After(later(s.after, s.holds)) {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// plans returns what is known of jobs that nobody edits.
func plans(jobs []api.Job) (map[job.UID]*plan, error) {
	out := make(map[job.UID]*plan, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		set, err := setOf(j)
		if err != nil {
			return nil, err
		}
		out[j.UID] = &plan{
			key: j.Key(), group: j.Spec.Group, shard: j.Shard, jitter: time.Duration(j.Spec.Jitter), spans: []span{{set: set, after: j.After}},
			alone: isAlone(j.Spec.EffectiveOverlap()), cancels: endsOthers(j.Spec.EffectiveOverlap()),
		}
	}
	return out, nil
}

func setOf(j *api.Job) (schedule.Set, error) {
	if !j.Spec.IsEnabled() {
		return nil, nil
	}
	set, err := schedule.ParseSet(j.Spec.Schedules, schedule.OptionsOf(j.Key(), &j.Spec))
	if err != nil {
		return nil, fmt.Errorf("schedule of %v: %w", j.Key(), err)
	}
	return set, nil
}

// isAlone reports whether a policy lets no two runs of a job be under way at a time.
func isAlone(o job.Overlap) bool { return o != job.OverlapAllow }

// endsOthers reports whether a policy ends runs.
func endsOthers(o job.Overlap) bool {
	return o == job.OverlapReplace || o == job.OverlapReplaceAfterGrace
}

// mustEnd reports whether an instant must have come to an end.
func (p *plan) mustEnd(t time.Time) bool {
	for i := range p.spans {
		s := &p.spans[i]
		if t.After(s.after) && t.After(s.holds) && s.has(t) && (i+1 == len(p.spans) || !t.After(p.spans[i+1].after)) {
			return true
		}
	}
	return false
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
