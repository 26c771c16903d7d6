package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// putDependencies puts down for which jobs a job waits, and takes back for which it does
// not any more.
func (p *planner) putDependencies(d *store.Txn, key job.Key, old *job.After, spec *job.Spec) error {
	next := spec.After.Keys(key.Namespace)
	for _, from := range old.Keys(key.Namespace) {
		if !slices.Contains(next, from) {
			d.Remove(p.c.db.Keys.Dependency(from, key))
		}
	}
	for _, from := range next {
		text, err := etcdkv.Encode(etcdkv.Dependency{
			Schema: etcdkv.Schema, From: from, To: key, On: spec.After.EffectiveOn(), Joined: spec.After.Match != job.MatchAny && len(next) > 1,
		})
		if err != nil {
			return err
		}
		d.Put(p.c.db.Keys.Dependency(from, key), text)
	}
	return nil
}

// checkConditions checks what cannot be told from one job alone: that no job
// waits for itself, over whatever others, and that none watches Carillon's own
// keys, which change all the time.
func (p *planner) checkConditions(ctx context.Context, objects []manifest.Object) ([]job.Problem, error) {
	problems := p.ending
	chained := false
	for i := range objects {
		o := &objects[i]
		chained = chained || o.Spec.After != nil
		if w := o.Spec.Watch; w != nil && p.ownKey(w) {
			problems = append(problems, o.Problem("spec.watch.key",
				fmt.Sprintf("%q holds keys of Carillon itself, under %s; watch keys of your own", w.Key, p.c.db.Keys.Root())))
		}
	}
	if !chained {
		return problems, nil
	}
	dependencies, err := store.ListAll[etcdkv.Dependency](ctx, p.c.db, "list what jobs wait for", p.c.db.Keys.Dependencies())
	if err != nil {
		return nil, err
	}
	waits := map[job.Key][]job.Key{}
	for i := range dependencies {
		waits[dependencies[i].To] = append(waits[dependencies[i].To], dependencies[i].From)
	}
	for i := range objects {
		if objects[i].Kind == job.KindJob {
			key := objects[i].Metadata.Key()
			waits[key] = objects[i].Spec.After.Keys(key.Namespace)
		}
	}
	followers := map[job.Key]int{}
	for _, froms := range waits {
		for _, from := range froms {
			followers[from]++
		}
	}
	for i := range objects {
		o := &objects[i]
		if o.Spec.After == nil {
			continue
		}
		if ring := ringFrom(waits, o.Metadata.Key()); ring != nil {
			words, err := p.told(ctx, objects, ring)
			if err != nil {
				return nil, err
			}
			problems = append(problems, o.Problem("spec.after.jobs", "the job waits for itself: "+strings.Join(words, " waits for ")+"; take one of these out"))
			continue
		}
		for n, from := range o.Spec.After.Keys(o.Metadata.Namespace) {
			if followers[from] > job.MaxAfterJobs {
				s, err := p.c.rights.Of(ctx)
				if err != nil {
					return nil, err
				}
				text := fmt.Sprintf("%d jobs wait for %s; at most %d are allowed", followers[from], from, job.MaxAfterJobs)
				if !s.May(rights.Request{Verb: rights.Read, Kind: rights.Jobs}) {
					text = fmt.Sprintf("too many jobs wait for %s; at most %d are allowed", from, job.MaxAfterJobs) // how many others have is theirs
				}
				problems = append(problems, o.Problem(fmt.Sprintf("spec.after.jobs[%d]", n), text))
			}
		}
	}
	return problems, nil
}

// told returns the names of jobs as the caller may know them: those of the file, those
// that it names, and those that may be read. What is between them is told as one.
func (p *planner) told(ctx context.Context, objects []manifest.Object, keys []job.Key) ([]string, error) {
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	written := map[job.Key]bool{}
	for i := range objects {
		if key := objects[i].Metadata.Key(); objects[i].Kind == job.KindJob {
			written[key] = true
			for _, from := range objects[i].Spec.After.Keys(key.Namespace) {
				written[from] = true
			}
		}
	}
	const foreign = "jobs that you may not read"
	var words []string
	for _, k := range keys {
		word := k.String()
		if !written[k] {
			may, err := p.reads(ctx, s, k)
			if err != nil {
				return nil, err
			}
			if !may {
				word = foreign
			}
		}
		if word != foreign || words[len(words)-1] != foreign { // the first is of the file
			words = append(words, word)
		}
	}
	return words, nil
}

// reads reports whether the caller may read a job.
func (p *planner) reads(ctx context.Context, s policy.Sight, key job.Key) (bool, error) {
	r := rights.Request{Verb: rights.Read, Kind: rights.Jobs, Namespace: key.Namespace}
	if s.May(r) {
		return true, nil
	}
	stored, _, err := p.c.jobs.Stored(ctx, key)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return false, err
	}
	r.Labels = stored.Labels
	return s.May(r) || !s.Hide(r), nil
}

// ownKey reports whether a watch would see Carillon's own keys.
func (p *planner) ownKey(w *job.Watch) bool {
	root := p.c.db.Keys.Root()
	return strings.HasPrefix(w.Key, root) || w.Prefix && strings.HasPrefix(root, w.Key)
}

// ringFrom returns a way from a job over those that it waits for back to itself;
// nil: there is none.
func ringFrom(waits map[job.Key][]job.Key, start job.Key) []job.Key {
	seen := map[job.Key]bool{}
	var walk func(k job.Key, path []job.Key) []job.Key
	walk = func(k job.Key, path []job.Key) []job.Key {
		path = append(path, k)
		for _, from := range waits[k] {
			if from == start {
				return append(path, start)
			}
			if !seen[from] {
				seen[from] = true
				if ring := walk(from, path); ring != nil {
					return ring
				}
			}
		}
		return nil
	}
	return walk(start, nil)
}
