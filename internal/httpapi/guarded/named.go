package guarded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// named is what a job names of others.
type named struct {
	kind rights.Kind
	what string
	key  job.Key
	// version is that of a script. Zero: the newest.
	version int
	// verb is what the job does with it.
	verb rights.Verb
}

// namesOf returns what a job in a namespace names.
func namesOf(spec *job.Spec, namespace string) []named {
	var out []named
	for _, ref := range spec.ScriptRefs(namespace) {
		out = append(out, named{rights.Scripts, "the script", ref.Key, ref.Version, rights.Read})
	}
	for _, key := range spec.CalendarKeys(namespace) {
		out = append(out, named{rights.Calendars, "the calendar", key, 0, rights.Read})
	}
	for _, key := range spec.After.Keys(namespace) {
		out = append(out, named{rights.Jobs, "the job", key, 0, rights.Read})
	}
	if spec.Dispatch != nil {
		out = append(out, named{rights.Queues, "the queue", job.Key{Namespace: namespace, Name: spec.Dispatch.Queue}, 0, rights.Run})
	}
	return out
}

// namesIn returns what an object names.
func namesIn(o *manifest.Object) []named {
	switch o.Kind {
	case job.KindJob:
		return namesOf(&o.Spec, o.Metadata.Namespace)
	case job.KindNotifier:
		return namesOfNotifier(&o.Notifier, o.Metadata.Namespace)
	}
	return nil
}

// namesOfNotifier returns what a notifier in a namespace names.
func namesOfNotifier(spec *job.NotifierSpec, namespace string) []named {
	var out []named
	for _, key := range spec.QuietKeys(namespace) {
		out = append(out, named{rights.Calendars, "the calendar", key, 0, rights.Read})
	}
	return out
}

// namedBefore returns what an object has named until now.
func (c *Control) namedBefore(ctx context.Context, o *manifest.Object) ([]named, error) {
	if o.Kind == job.KindNotifier {
		v, err := c.behind.Notifier(ctx, o.Metadata.Key())
		return namesOfNotifier(&v.Spec, o.Metadata.Namespace), gone(err)
	}
	stored, _, err := c.behind.Stored(ctx, o.Metadata.Key())
	return namesOf(&stored.Spec, o.Metadata.Namespace), gone(err)
}

// needNamed wants the right to read what an object names: who names a script can have it
// tell its text, who names a calendar its days, and who waits for a job when it ends and
// how; and the right to put items into the queue to which it is dispatched, be that in the
// same file. What the job has named before stays, as others may have written it, but a queue only
// where nothing of the job changes; and so does what is in the same file, which its author
// knows.
func (c *Control) needNamed(ctx context.Context, s policy.Sight, objects []manifest.Object, o *manifest.Object) error {
	if err := c.needSecrets(ctx, s, o); err != nil {
		return err
	}
	if err := c.needTold(s, o); err != nil {
		return err
	}
	if o.Kind == job.KindJob {
		if err := c.needWatch(ctx, s, o); err != nil {
			return err
		}
	}
	var before []named
	asked := false
	for _, n := range namesIn(o) {
		r := rights.Request{Verb: n.verb, Kind: n.kind, Namespace: n.key.Namespace}
		if s.May(r) || n.verb == rights.Run && s.MayStart(r) || n.version == 0 && n.verb == rights.Read && slices.ContainsFunc(objects, func(other manifest.Object) bool {
			return kindOf(other.Kind) == n.kind && other.Metadata.Key() == n.key
		}) {
			continue
		}
		if !asked {
			var err error
			if before, err = c.namedBefore(ctx, o); err != nil {
				return err
			}
			asked = true
		}
		if slices.Contains(before, n) {
			stays := n.verb != rights.Run
			if !stays { // who changes anything of such a job says what it puts, and when
				var err error
				if stays, err = c.staysAsItIs(ctx, o); err != nil {
					return err
				}
			}
			if stays {
				continue
			}
		}
		// The answer is the same whether there is such a thing or not.
		// It is looked for where its labels may count: how long that takes tells.
		if s.Sees(n.verb, n.kind, r.Namespace) {
			var err error
			if r.Labels, err = c.labelsOf(n.kind, n.key)(ctx); gone(err) != nil {
				return err
			}
		}
		if n.verb == rights.Run {
			_, err := s.Starts(r, nil) // within what bounds, the items will keep to
			if err != nil {
				return fmt.Errorf("job %s is dispatched to %s %s: %w", o.Metadata.Key(), n.what, n.key, err)
			}
			continue
		}
		if err := s.Need(r, nil); err != nil {
			return fmt.Errorf("%s %s names %s %s: %w", strings.ToLower(o.Kind), o.Metadata.Key(), n.what, n.key, err)
		}
	}
	return nil
}

// needTold wants the right to read the runs that a notifier tells of: whoever says to whom
// it tells them gets to know them, be it one that others have made.
func (c *Control) needTold(s policy.Sight, o *manifest.Object) error {
	if o.Kind == job.KindJob && o.Spec.Ping != nil {
		if err := s.Need(rights.Request{Verb: rights.Read, Kind: rights.Runs, Namespace: o.Metadata.Namespace, Labels: o.Metadata.Labels}, nil); err != nil {
			return fmt.Errorf("job %s pings a check about its runs: %w", o.Metadata.Key(), err)
		}
	}
	if o.Kind != job.KindNotifier {
		return nil
	}
	r := rights.Request{Verb: rights.Read, Kind: rights.Runs, Namespace: o.Metadata.Namespace, Labels: o.Notifier.Labels}
	if o.Notifier.Everywhere {
		r.Namespace = ""
	}
	if err := s.Need(r, nil); err != nil {
		return fmt.Errorf("notifier %s tells its receiver of runs: %w", o.Metadata.Key(), err)
	}
	for _, e := range o.Notifier.Events() {
		kind, ok := map[job.AlertEvent]rights.Kind{job.AlertNodeLost: rights.Nodes, job.AlertSiteLost: rights.Nodes, job.AlertMinionLost: rights.Minions, job.AlertQuota: rights.Cluster}[e]
		if !ok {
			continue
		}
		if err := s.Need(rights.Request{Verb: rights.Read, Kind: kind}, nil); err != nil {
			return fmt.Errorf("notifier %s tells its receiver of %s: %w", o.Metadata.Key(), kind, err)
		}
	}
	return nil
}

// needWatch wants the right to edit jobs in all namespaces of who has a job watch keys of
// etcd: these are in none, may be of other programs, and their names are told to each run.
// What the job has watched before stays.
func (c *Control) needWatch(ctx context.Context, s policy.Sight, o *manifest.Object) error {
	r := rights.Request{Verb: rights.Edit, Kind: rights.Jobs}
	if o.Spec.Watch == nil || s.MayStart(r) {
		return nil
	}
	stored, _, err := c.behind.Stored(ctx, o.Metadata.Key())
	if gone(err) != nil {
		return err
	}
	if w := stored.Spec.Watch; w != nil && *w == *o.Spec.Watch {
		return nil
	}
	if err := s.Need(r, nil); err != nil {
		return fmt.Errorf("job %s watches keys of etcd, which are in no namespace: %w", o.Metadata.Key(), err)
	}
	return nil
}

// used leaves jobs, queues and notifiers that the caller may not read out of what keeps a
// thing.
func (c *Control) used(ctx context.Context, err error) error {
	var used *definitions.UsedError
	if !errors.As(err, &used) {
		return err
	}
	l := c.labelsOfJobs(ctx)
	by, failed := shown(ctx, c, rights.Jobs, used.By, func(k *job.Key) (string, map[string]string) { return k.Namespace, l(*k) })
	if failed != nil {
		return failed
	}
	queues, failed := c.shownKeys(ctx, rights.Queues, used.Queues)
	if failed != nil {
		return failed
	}
	notifiers, failed := c.shownKeys(ctx, rights.Notifiers, used.Notifiers)
	if failed != nil {
		return failed
	}
	told := *used
	told.By, told.Queues, told.Notifiers = by, queues, notifiers
	told.Hidden = told.Users() < used.Users()
	return &told
}
