package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// warn adds to what applying does to jobs what was taken and is probably not meant,
// and which defaults hold.
func (p *planner) warn(ctx context.Context, objects []manifest.Object, changes []change) error {
	for i := range objects {
		if o := &objects[i]; o.Kind == job.KindJob && changes[i].result.Action != api.ActionUnchanged {
			changes[i].result.Defaults = defaultsOf(&o.Spec)
			for _, words := range p.filled[i] {
				changes[i].result.Defaults = append(changes[i].result.Defaults, words+", by the defaults of namespace "+o.Metadata.Namespace)
			}
			changes[i].result.Warnings = append(changes[i].result.Warnings, slices.Concat(nameWarnings(o), scheduleWarnings(o), p.c.sizeWarnings(ctx, &o.Spec))...)
		}
	}
	if err := p.warnOfHandlers(ctx, objects, changes); err != nil {
		return err
	}
	return p.warnOfAfter(ctx, objects, changes)
}

// nameWarnings tells how to pause a job whose name is a word of `carillon pause`.
func nameWarnings(o *manifest.Object) []string {
	name := o.Metadata.Name
	if !slices.Contains([]string{"all", "job", "group", "namespace"}, name) {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: `carillon pause %s` and resume mean another thing; write `carillon pause job %[1]s` for this job", name)}
}

// scheduleWarnings tells what of a job's schedules does less than it says, though its
// dialect takes it.
func scheduleWarnings(o *manifest.Object) []string {
	var out []string
	for n, expr := range o.Spec.Schedules {
		for _, text := range schedule.Warnings(expr, schedule.OptionsOf(o.Metadata.Key(), &o.Spec)) {
			out = append(out, fmt.Sprintf("spec.schedules[%d]: %s", n, text))
		}
	}
	return append(out, zoneWarnings(o)...)
}

// zoneWarnings tells of a time zone that moves no instant of a job's schedules. It is
// not refused: what is to come is shown by its clock, which instants it moves depends
// on the rules of the zone, which change, and teams give all their jobs one zone.
func zoneWarnings(o *manifest.Object) []string {
	s := &o.Spec
	if s.TimeZone == "" || s.TimeZone == time.UTC.String() || s.OnExcluded == job.ExcludedNext {
		return nil
	}
	for _, expr := range s.Schedules {
		parsed, err := schedule.Parse(expr, schedule.OptionsOf(o.Metadata.Key(), s))
		if err != nil || parsed.OnClock() && !parsed.OwnZone() && !parsed.ZoneIsIdle() {
			return nil
		}
	}
	return []string{fmt.Sprintf("spec.timeZone: moves nothing as long as the schedule is %s, which is due at the same instants in %s and in UTC; only the times that `carillon next` shows are by its clock", strings.Join(s.Schedules, ", "), s.TimeZone)}
}

// defaultsOf returns the defaults that people ask about when they have met them.
func defaultsOf(s *job.Spec) []string {
	var out []string
	if s.Timeout == 0 && s.Dispatch == nil {
		out = append(out, "timeout "+s.EffectiveTimeout().String())
	}
	if s.TimeZone == "" {
		for _, expr := range s.Schedules {
			if !strings.HasPrefix(expr, "@every") && !strings.HasPrefix(expr, "@at") && !strings.Contains(expr, "TZ=") {
				return append(out, "timeZone "+time.UTC.String())
			}
		}
	}
	return out
}

// warnOfAfter warns of jobs that wait for jobs that there are not: they may come
// later, or their names are mistyped.
func (p *planner) warnOfAfter(ctx context.Context, objects []manifest.Object, changes []change) error {
	wanted := map[job.Key]bool{}
	inFile := map[job.Key]bool{}
	for i := range objects {
		if objects[i].Kind != job.KindJob {
			continue
		}
		key := objects[i].Metadata.Key()
		inFile[key] = true
		for _, from := range objects[i].Spec.After.Keys(key.Namespace) {
			wanted[from] = true
		}
	}
	missing := map[job.Key]bool{}
	for k := range wanted {
		if inFile[k] {
			continue
		}
		at, err := p.c.jobs.Locate(ctx, k)
		if err != nil {
			return err
		}
		missing[k] = at.KV == nil
	}
	var known map[string][]string // the names of jobs, by namespace
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob {
			continue
		}
		for n, from := range o.Spec.After.Keys(o.Metadata.Namespace) {
			if !missing[from] {
				continue
			}
			if known == nil {
				var err error
				if known, err = p.jobNames(ctx); err != nil {
					return err
				}
				for k := range inFile {
					known[k.Namespace] = append(known[k.Namespace], k.Name)
				}
			}
			text := fmt.Sprintf("spec.after.jobs[%d]: there is no job %s", n, from)
			near, ok := job.Nearest(from.Name, known[from.Namespace])
			if ok && !inFile[job.Key{Namespace: from.Namespace, Name: near}] {
				s, err := p.c.rights.Of(ctx)
				if err != nil {
					return err
				}
				if ok, err = p.reads(ctx, s, job.Key{Namespace: from.Namespace, Name: near}); err != nil {
					return err
				}
			}
			if ok {
				text += fmt.Sprintf("; did you mean %q?", near)
			} else {
				text += "; it starts nothing until there is one"
			}
			changes[i].result.Warnings = append(changes[i].result.Warnings, text)
		}
	}
	return nil
}

// jobNames returns the names of all jobs, by their namespaces.
func (p *planner) jobNames(ctx context.Context) (map[string][]string, error) {
	names := map[string][]string{}
	err := p.c.db.List(ctx, "list jobs", p.c.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		if _, key, err := p.c.db.Keys.ParseJob(string(kv.Key)); err == nil {
			names[key.Namespace] = append(names[key.Namespace], key.Name)
		}
		return nil
	})
	return names, err
}

// sizeWarnings tells which of the minions that the target of a job matches cannot start
// its program, as arguments and environment are more than their kernels take.
func (ap *Applier) sizeWarnings(ctx context.Context, s *job.Spec) []string {
	size := s.ExecBytes()
	if size <= job.MinExecBytes {
		return nil // each takes so much
	}
	found, err := ap.minions.MatchTarget(ctx, s.Target)
	if err != nil {
		return nil // told when it is checked
	}
	all, err := ap.minions.Known()
	if err != nil {
		return nil // not all are known now
	}
	matched := map[job.MinionID]bool{}
	for _, id := range found.Minions {
		matched[id] = true
	}
	least, who, more := 0, job.MinionID(""), 0
	for i := range all {
		takes, err := strconv.Atoi(all[i].Facts[job.FactArgBytes])
		if err != nil || !matched[all[i].ID] || takes >= size {
			continue
		}
		more++
		if who == "" || takes < least {
			least, who = takes, all[i].ID
		}
	}
	if who == "" {
		return nil
	}
	of := string(who)
	if more > 1 {
		of = fmt.Sprintf("%s and %d more of %d minions", who, more-1, len(found.Minions))
	}
	return []string{fmt.Sprintf("spec.env: with the arguments it comes to %d bytes, more than %s can start a program with (%d, by the fact %s); pass a file instead, or raise the limit of the worker's stack (LimitSTACK= in its unit), of which that is a quarter",
		size, of, least, job.FactArgBytes)}
}
