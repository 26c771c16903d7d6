package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// Limits of Apply.
const (
	// MaxAtomicOps and MaxAtomicBytes bound what is applied in one transaction:
	// etcd takes 128 operations and 1.5 MiB.
	MaxAtomicOps   = store.MaxOps
	MaxAtomicBytes = 1 << 20

	// chunkOps is how much of a larger file goes together.
	chunkOps = 100
)

// change is what applying does to one object.
type change struct {
	store.Txn
	// size is the bytes that the object is stored as; 0: it is left alone. before and
	// after are its values, for the audit.
	size          int
	before, after []byte
	result        api.ApplyResult
	// rescheduled: it changes when the job uid is due, from at on, which lies in
	// shard, or when jobs everywhere are.
	rescheduled bool
	everywhere  bool
	at          time.Time
	shard       job.ShardID
	uid         job.UID
}

// Apply makes the cluster hold the groups and jobs of a manifest, groups first.
// File names it in problems. With dryRun it only tells what it would do. See I1
// and I2 for what holds when it fails; results that come with an error were
// applied.
func (ap *Applier) Apply(ctx context.Context, file string, data []byte, dryRun bool) ([]api.ApplyResult, error) {
	return ap.ApplyWhile(ctx, file, data, dryRun, func(int, int) error { return nil })
}

// ApplyWhile is Apply as long as may is nil. It is asked before each transaction but the
// first, and told which of the manifest's objects, as Objects returns them, come next: from
// one up to before another.
func (ap *Applier) ApplyWhile(ctx context.Context, file string, data []byte, dryRun bool, may func(from, to int) error) ([]api.ApplyResult, error) {
	objects, err := ap.Objects(file, data)
	if err != nil {
		return nil, err
	}
	changes, err := ap.plan(ctx, objects)
	if err != nil {
		return nil, err
	}
	if err := checkSizes(objects, changes); err != nil {
		return nil, err
	}
	if dryRun {
		return resultsOf(changes), nil
	}

	results := make([]api.ApplyResult, 0, len(objects))
	for {
		done, err := ap.applyChunk(ctx, objects, changes)
		if err != nil {
			return results, partly(results, len(results)+len(objects), err)
		}
		results = append(results, done...)
		if objects = objects[len(done):]; len(objects) == 0 {
			return results, nil
		}
		// What was applied already may bear on what comes next.
		next := min(len(objects), MaxAtomicOps)
		if err := may(len(results), len(results)+next); err != nil {
			return results, partly(results, len(results)+len(objects), err)
		}
		if changes, err = ap.plan(ctx, objects[:next]); err != nil {
			return results, partly(results, len(results)+len(objects), err)
		}
	}
}

// partly adds to err how far Apply has come.
func partly(done []api.ApplyResult, all int, err error) error {
	if len(done) == 0 {
		return err
	}
	last := done[len(done)-1]
	return fmt.Errorf("applied the first %d of %d objects, up to %s/%s; the others are as they were: %w",
		len(done), all, last.Namespace, last.Name, err)
}

// Objects reads and checks the manifest.
func (ap *Applier) Objects(file string, data []byte) ([]manifest.Object, error) {
	objects, err := ap.decode(file, data)
	if err != nil {
		return nil, err
	}
	var problems []job.Problem
	first := map[named]manifest.Object{}
	for i := range objects {
		o := &objects[i]
		if o.Metadata.Namespace == "" {
			o.Metadata.Namespace = job.DefaultNamespace
		}
		if !slices.Contains(manifest.Kinds(), o.Kind) {
			problems = append(problems, job.Problem{
				Path: "kind", Message: fmt.Sprintf("%q cannot be applied; want %s", o.Kind, strings.Join(manifest.Kinds(), " or ")), File: o.File, Line: o.Line,
			})
			continue
		}
		id := named{o.Kind, o.Metadata.Key()}
		if before, twice := first[id]; twice {
			problems = append(problems, job.Problem{
				Path: "metadata.name", Message: fmt.Sprintf("%s is given twice, first in line %d; give each %s once", id.key, before.Line, strings.ToLower(o.Kind)), File: o.File, Line: o.Line,
			})
			continue
		}
		first[id] = *o
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	if len(objects) == 0 {
		return nil, &job.InvalidError{Problems: []job.Problem{{Message: "holds no object; give at least one document with kind: " + job.KindJob, File: file}}}
	}
	slices.SortStableFunc(objects, func(a, b manifest.Object) int { return place(&a) - place(&b) })
	return objects, nil
}

// named tells objects apart.
type named struct {
	kind string
	key  job.Key
}

// place is where an object goes among others: a file that is too large for one transaction
// is applied in this order. Secrets come before what names them, and roles before what gives them, or a binding would give a
// role as it was before, and its author may not hold that one.
func place(o *manifest.Object) int {
	switch o.Kind {
	case job.KindRole, job.KindSecret:
		return 0
	case job.KindJob:
		return 2
	default:
		return 1
	}
}

// checkSizes tells which objects etcd would not take.
func checkSizes(objects []manifest.Object, changes []change) error {
	var problems []job.Problem
	for i := range changes {
		if n := changes[i].size; n > MaxAtomicBytes {
			o := &objects[i]
			problems = append(problems, job.Problem{
				Message: fmt.Sprintf("%s %s has %d bytes; at most %d are allowed", strings.ToLower(o.Kind), o.Metadata.Key(), n, MaxAtomicBytes), File: o.File, Line: o.Line,
			})
		}
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// chunk returns how many of the changes are applied together: all when they
// fit into one transaction, else the first few.
func chunk(changes []change) int {
	if fitting(changes, MaxAtomicOps) == len(changes) {
		return len(changes)
	}
	return max(fitting(changes, chunkOps), 1)
}

// fitting returns how many of the changes fit into a transaction of so many
// operations.
func fitting(changes []change, ops int) int {
	var all store.Txn
	for i := range changes {
		all.Add(&changes[i].Txn)
		if all.Size() > ops || all.Bytes > MaxAtomicBytes {
			return i
		}
	}
	return len(changes)
}

// applyChunk applies the first of the changes, as many as go together, in one
// transaction. It works them out anew when something has changed.
func (ap *Applier) applyChunk(ctx context.Context, objects []manifest.Object, changes []change) ([]api.ApplyResult, error) {
	for range store.Tries {
		n := chunk(changes)
		ok, err := ap.write(ctx, changes[:n], "", api.Order{})
		if err != nil {
			return nil, err
		}
		if ok {
			ap.tellHeld(ctx, changes[:n])
			return resultsOf(changes[:n]), nil
		}
		if changes, err = ap.plan(ctx, objects[:n]); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("apply: the jobs keep changing meanwhile: %w", job.ErrConflict)
}

// write does the changes if nothing has changed since they were worked out, with a
// record of them. action is what the record calls it; empty: what is done to each.
func (ap *Applier) write(ctx context.Context, changes []change, action string, o api.Order) (bool, error) {
	var all store.Txn
	for i := range changes {
		all.Add(&changes[i].Txn)
	}
	if len(all.Ops) == 0 {
		return true, nil // as the cluster was when it was read
	}
	if err := ap.audit.AddAll(ctx, &all, recorded(changes, action), o); err != nil {
		return false, err
	}
	ok, err := ap.db.Commit(ctx, "apply", &all)
	if errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return false, &job.InvalidError{Problems: []job.Problem{{Message: "is too large for etcd; split the file, or make its scripts smaller"}}}
	}
	if err != nil || !ok {
		return false, err
	}
	for i := range changes {
		if r := &changes[i].result; r.Action != api.ActionUnchanged {
			ap.log.Info("applied", zap.String("kind", r.Kind), zap.String("name", r.Namespace+"/"+r.Name), zap.String("action", string(r.Action)))
		}
	}
	return true, nil
}

// recorded are the changes as the audit tells of them.
func recorded(changes []change, action string) []audit.Change {
	var out []audit.Change
	for i := range changes {
		ch := &changes[i]
		r := &ch.result
		verb := "change"
		switch r.Action {
		case api.ActionUnchanged:
			continue
		case api.ActionCreated:
			verb = "create"
		case api.ActionUpdated:
		}
		kind, name := strings.ToLower(r.Kind), r.Name
		switch r.Kind {
		case job.KindHostGroup, job.KindRole, job.KindRoleBinding: // they are in no namespace
		default:
			name = job.Key{Namespace: r.Namespace, Name: r.Name}.String()
		}
		out = append(out, audit.Change{
			Action: cmp.Or(action, kind+"."+verb), Object: kind + " " + name,
			Before: ch.before, After: ch.after,
		})
	}
	return out
}

func resultsOf(changes []change) []api.ApplyResult {
	results := make([]api.ApplyResult, len(changes))
	for i := range changes {
		results[i] = changes[i].result
	}
	return results
}

// tellHeld notes in results from where on they hold.
func (ap *Applier) tellHeld(ctx context.Context, changes []change) {
	known := ap.jobs.Committed()
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = ap.pauses.PauseHeldFrom(ctx, api.Paused{Scope: api.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = known.HeldFrom(ctx, ch.at, ch.uid, ch.shard)
		}
	}
}
