package guarded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Behind is the control that answers.
type Behind interface {
	httpapi.Control
	// Still returns nil while the caller of a context is who it was when its request
	// came, and a caller.RefusedError once what it showed has ended.
	Still(ctx context.Context) error
	// Stored reads one job, and where it lies.
	Stored(ctx context.Context, key job.Key) (etcdkv.StoredJob, jobstore.Place, error)
	// Objects reads and checks a manifest.
	Objects(file string, data []byte) ([]manifest.Object, error)
	// FormerObject is a job as it was at a generation.
	FormerObject(ctx context.Context, key job.Key, generation int64) (manifest.Object, error)
	// ApplyWhile applies a manifest as long as may is nil for those of its objects that
	// come next.
	ApplyWhile(ctx context.Context, file string, data []byte, dryRun bool, may func(from, to int) error) ([]api.ApplyResult, error)
}

// Control answers as the control behind it does, to who may. Use New. It may be used by
// many goroutines at once.
type Control struct {
	behind Behind
	decide *policy.Decider
	// every is askAgain, and answers answersEvery, but in tests.
	every, answers time.Duration
}

var _ httpapi.Control = (*Control)(nil)

// New returns a Control before another.
func New(behind Behind, decide *policy.Decider) *Control {
	return &Control{behind: behind, decide: decide, every: askAgain, answers: answersEvery}
}

// labels finds the labels of a thing; job.ErrNotFound: there is no such thing.
type labels func(ctx context.Context) (map[string]string, error)

// none are the labels of things that have none.
func none(context.Context) (map[string]string, error) { return nil, nil }

// hidden is the answer where a thing may not be read, whether it is there or not.
func hidden(what string, name fmt.Stringer) error {
	return fmt.Errorf("%s %s: %w", what, name, job.ErrNotFound)
}

// text is a name that is written as it is.
type text string

func (t text) String() string { return string(t) }

// need decides about one thing that is asked for by its name. Absent is the answer where
// it may not be read.
func (c *Control) need(ctx context.Context, v rights.Verb, k rights.Kind, ns string, find labels, absent error) error {
	return c.decideOn(ctx, rights.Request{Verb: v, Kind: k, Namespace: ns}, find, absent, policy.Sight.Need)
}

// needStart is need for what starts something, or has it started: where only some of that
// is allowed, control decides, which knows what it comes to.
func (c *Control) needStart(ctx context.Context, v rights.Verb, k rights.Kind, ns string, find labels, absent error) error {
	return c.decideOn(ctx, rights.Request{Verb: v, Kind: k, Namespace: ns}, find, absent, mayStart)
}

// mayStart is Sight.Need for what starts something.
func mayStart(s policy.Sight, r rights.Request, absent error) error {
	_, err := s.Starts(r, absent)
	return err
}

func (c *Control) decideOn(ctx context.Context, r rights.Request, find labels, absent error, need func(policy.Sight, rights.Request, error) error) error {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return err
	}
	if s.May(r) {
		return nil // whatever its labels are
	}
	if !s.Sees(r.Verb, r.Kind, r.Namespace) && !s.Sees(rights.Read, r.Kind, r.Namespace) {
		// No label could help. It is not looked for, as how long that takes tells
		// whether there is one.
		return s.Need(r, absent)
	}
	if r.Labels, err = find(ctx); err != nil && !errors.Is(err, job.ErrNotFound) {
		return err
	}
	return need(s, r, absent)
}

// whole decides about the cluster, or about all things of a kind.
func (c *Control) whole(ctx context.Context, v rights.Verb, k rights.Kind) error {
	return c.decide.Need(ctx, rights.Request{Verb: v, Kind: k})
}

// shown returns the things of a list that the caller may read. Of a kind that has no
// namespaces, who may read none is told so, however many there are.
func shown[T any](ctx context.Context, c *Control, k rights.Kind, items []T, at func(*T) (string, map[string]string)) ([]T, error) {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return items, err
	}
	if r := (rights.Request{Verb: rights.Read, Kind: k}); !k.Namespaced() && !s.Sees(r.Verb, k, "") {
		if err := s.Need(r, nil); err != nil {
			return nil, err
		}
		return items, nil
	}
	f := newFilter(s, rights.Read, k)
	out := make([]T, 0, len(items))
	for i := range items {
		if ns, l := at(&items[i]); f.lets(ns, l) {
			out = append(out, items[i])
		}
	}
	if len(out) < len(items) && !s.Hide(rights.Request{Verb: rights.Read, Kind: k}) {
		return items, nil
	}
	return out, nil
}

// filter remembers what was decided about namespaces, so that a long list costs a look
// into a map for each of its things.
type filter struct {
	s     policy.Sight
	verb  rights.Verb
	kind  rights.Kind
	known map[string]whose
}

// whose things of a namespace are let through.
type whose int

const (
	nobodys whose = iota
	labeled
	everybodys
)

func newFilter(s policy.Sight, v rights.Verb, k rights.Kind) *filter {
	return &filter{s: s, verb: v, kind: k, known: map[string]whose{}}
}

func (f *filter) in(ns string) whose {
	w, ok := f.known[ns]
	if ok {
		return w
	}
	switch {
	case f.s.May(rights.Request{Verb: f.verb, Kind: f.kind, Namespace: ns}):
		w = everybodys
	case f.s.Sees(f.verb, f.kind, ns):
		w = labeled
	}
	f.known[ns] = w
	return w
}

// lets reports whether a thing is let through.
func (f *filter) lets(ns string, l map[string]string) bool {
	switch f.in(ns) {
	case everybodys:
		return true
	case labeled:
		return f.s.May(rights.Request{Verb: f.verb, Kind: f.kind, Namespace: ns, Labels: l})
	default:
		return false
	}
}

// namespace returns the one namespace in which the caller may read things of a kind, so
// that others are not even looked at; empty: there are several, or none.
func namespace(s policy.Sight, k rights.Kind, asked string) string {
	if asked != "" || s.Everything() {
		return asked
	}
	return s.Only(rights.Read, k)
}

// jobLabels finds the labels of a job.
func (c *Control) jobLabels(key job.Key) labels {
	return func(ctx context.Context) (map[string]string, error) {
		stored, _, err := c.behind.Stored(ctx, key)
		return stored.Labels, err
	}
}

// runLabels finds the labels of a run: those of its job. A job that has its name by now,
// and is another one, gives it none: whoever may make such a job would see the runs.
func (c *Control) runLabels(r *job.Run) labels {
	return func(ctx context.Context) (map[string]string, error) {
		stored, _, err := c.behind.Stored(ctx, r.Key())
		if err != nil || stored.UID != r.FireID.Job {
			return nil, err
		}
		return stored.Labels, nil
	}
}

// needStartOf decides about having a job start something.
func (c *Control) needStartOf(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.needStart(ctx, v, rights.Jobs, key.Namespace, c.jobLabels(key), hidden("job", key))
}

// needExec decides about commands of one's own on minions.
func (c *Control) needExec(ctx context.Context) error {
	return c.needStart(ctx, rights.Exec, rights.Minions, "", none, nil)
}

// needJob decides about a job.
func (c *Control) needJob(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Jobs, key.Namespace, c.jobLabels(key), hidden("job", key))
}

// listed finds the labels of a thing in a list of them.
func listed[T any](list func(context.Context) ([]T, error), is func(*T) bool, of func(*T) map[string]string) labels {
	return func(ctx context.Context) (map[string]string, error) {
		all, err := list(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if is(&all[i]) {
				return of(&all[i]), nil
			}
		}
		return nil, job.ErrNotFound
	}
}

// Version tells what runs here. It wants no right: who may ask at all may know it.
func (c *Control) Version() api.Version { return c.behind.Version() }

// Doctor tells what is wrong.
func (c *Control) Doctor(ctx context.Context) ([]api.Check, error) {
	if err := c.whole(ctx, rights.Read, rights.Cluster); err != nil {
		return nil, err
	}
	return c.behind.Doctor(ctx)
}
