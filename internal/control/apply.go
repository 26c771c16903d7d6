package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// Limits of Apply.
const (
	// MaxAtomicObjects and MaxAtomicBytes bound what is applied in one
	// transaction: etcd takes 128 operations and 1.5 MiB.
	MaxAtomicObjects = maxOps
	MaxAtomicBytes   = 1 << 20

	// chunkObjects is how many objects of a larger file go together.
	chunkObjects = 50
	// applyTries is how often a chunk is worked out anew when a job changes
	// meanwhile.
	applyTries = 20
)

// change is what applying does to one object.
type change struct {
	// cmps say what it was worked out from, ops what it does; none: nothing.
	cmps []clientv3.Cmp
	ops  []clientv3.Op
	// size is the bytes of the values in ops.
	size int
	// found is a revision at which the object's place was as it is taken for.
	found int64
	// counter, when set, is where new groups got their shards from.
	counter *groupsOf
	result  ApplyResult
}

// Apply makes the cluster hold the groups and jobs of a manifest, groups first. File names it in
// problems. With dryRun it only tells what it would do. See I1 and I2 for what
// holds when it fails; results that come with an error were applied.
func (c *Control) Apply(ctx context.Context, file string, data []byte, dryRun bool) ([]ApplyResult, error) {
	objects, err := c.objects(file, data)
	if err != nil {
		return nil, err
	}
	changes, err := c.plan(ctx, objects)
	if err != nil {
		return nil, err
	}
	if err := checkSizes(objects, changes); err != nil {
		return nil, err
	}
	if dryRun {
		return resultsOf(changes), nil
	}

	results := make([]ApplyResult, 0, len(objects))
	for len(objects) > 0 {
		n := chunk(changes)
		part := changes[:n]
		if len(results) > 0 { // what was applied already may bear on it
			if part, err = c.plan(ctx, objects[:n]); err != nil {
				return results, partly(results, len(results)+len(objects), err)
			}
		}
		done, err := c.applyChunk(ctx, objects[:n], part)
		if err != nil {
			return results, partly(results, len(results)+len(objects), err)
		}
		results = append(results, done...)
		objects, changes = objects[n:], changes[n:]
	}
	return results, nil
}

// partly adds to err how far Apply has come.
func partly(done []ApplyResult, all int, err error) error {
	if len(done) == 0 {
		return err
	}
	last := done[len(done)-1]
	return fmt.Errorf("applied the first %d of %d objects, up to %s/%s; the others are as they were: %w",
		len(done), all, last.Namespace, last.Name, err)
}

// objects reads and checks the manifest.
func (c *Control) objects(file string, data []byte) ([]manifest.Object, error) {
	objects, err := c.decode(file, data)
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
	slices.SortStableFunc(objects, func(a, b manifest.Object) int { return groupsFirst(&a) - groupsFirst(&b) })
	return objects, nil
}

// named tells objects apart.
type named struct {
	kind string
	key  job.Key
}

func groupsFirst(o *manifest.Object) int {
	if o.Kind == job.KindGroup {
		return 0
	}
	return 1
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
	limit := len(changes)
	if limit > MaxAtomicObjects {
		limit = chunkObjects
	}
	size, ops := 0, 0
	for i := range limit {
		size += changes[i].size
		ops += max(len(changes[i].ops), len(changes[i].cmps))
		if (size > MaxAtomicBytes || ops > MaxAtomicObjects) && i > 0 {
			return i
		}
	}
	return limit
}

// applyChunk applies the changes in one transaction. It works them out anew
// when one of the jobs has changed.
func (c *Control) applyChunk(ctx context.Context, objects []manifest.Object, changes []change) ([]ApplyResult, error) {
	for range applyTries {
		ok, err := c.write(ctx, changes)
		if err != nil {
			return nil, err
		}
		if ok {
			return resultsOf(changes), nil
		}
		if changes, err = c.plan(ctx, objects); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("apply: the jobs keep changing meanwhile: %w", job.ErrConflict)
}

// write puts the changes if no job has changed since they were worked out.
func (c *Control) write(ctx context.Context, changes []change) (bool, error) {
	var cmps []clientv3.Cmp
	var ops []clientv3.Op
	for i := range changes {
		ch := &changes[i]
		cmps = append(cmps, ch.cmps...)
		ops = append(ops, ch.ops...)
		if g := ch.counter; g != nil {
			counter := c.cfg.Keys.NextGroup()
			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(counter), "=", g.nextRev))
			ops = append(ops, clientv3.OpPut(counter, strconv.FormatUint(uint64(g.next), 10)))
		}
	}
	if found := changes[len(changes)-1].found; found != 0 { // jobs come last
		cmps = append(cmps, c.ungrouped(found))
	}
	if len(ops) == 0 {
		return true, nil // as the cluster was when it was read
	}
	resp, err := c.txn(ctx, "apply", cmps, ops)
	if errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return false, &job.InvalidError{Problems: []job.Problem{{Message: "is too large for etcd; split the file, or make its scripts smaller"}}}
	}
	if err != nil {
		return false, err
	}
	if resp.Succeeded {
		for i := range changes {
			r := &changes[i].result
			if r.Action != ActionUnchanged {
				c.log.Info("applied", zap.String("kind", r.Kind), zap.String("name", r.Namespace+"/"+r.Name), zap.String("action", string(r.Action)))
			}
		}
	}
	return resp.Succeeded, nil
}

// plan reads what is stored and works out what applying the objects changes.
func (c *Control) plan(ctx context.Context, objects []manifest.Object) ([]change, error) {
	groups, err := c.groupsOf(ctx, objects)
	if err != nil {
		return nil, err
	}
	var keys []job.Key
	for i := range objects {
		if objects[i].Kind == job.KindJob {
			keys = append(keys, objects[i].Metadata.Key())
		}
	}
	places, err := c.locateAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	now := c.now().UTC()
	changes := make([]change, len(objects))
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if o.Kind == job.KindGroup {
			if changes[i], err = c.planGroup(o, groups, now); err != nil {
				return nil, err
			}
			continue
		}
		at := places[0]
		places = places[1:]
		to, wrong, err := c.shardOf(ctx, o, groups)
		switch {
		case err != nil:
			return nil, err
		case wrong != nil:
			problems = append(problems, *wrong)
			continue
		}
		if changes[i], err = c.planJob(ctx, o, at, to, now); err != nil {
			return nil, err
		}
		if kv := groups.stored[job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Group}]; kv != nil && len(changes[i].ops) > 0 {
			// The group must not be deleted meanwhile.
			changes[i].cmps = append(changes[i].cmps, clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision))
		}
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return changes, nil
}

// planJob works out what applying a job does, which lies at a place, or lies
// nowhere, and is to lie in the shard to.
func (c *Control) planJob(ctx context.Context, o *manifest.Object, at place, to job.ShardID, now time.Time) (change, error) {
	key := o.Metadata.Key()
	ch := change{found: at.rev, result: ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name}}
	next := etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{Metadata: o.Metadata, Spec: o.Spec, UpdatedAt: now}}
	if at.kv == nil {
		uid, err := job.NewUID()
		if err != nil {
			return change{}, err
		}
		next.UID, next.Generation, next.After, next.CreatedAt = uid, 1, now, now
		ch.result.Action = ActionCreated
		value, err := etcdkv.Encode(next)
		if err != nil {
			return change{}, err
		}
		ch.size = len(value)
		ch.cmps = []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(c.cfg.Keys.Job(c.hashShard(key), key)), "=", 0)}
		ch.ops, err = c.putOps(key, to, value)
		return ch, err
	}

	name := string(at.kv.Key)
	ch.cmps = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", at.kv.ModRevision)}
	old, err := decode[etcdkv.StoredJob](at.kv)
	if err != nil {
		return change{}, fmt.Errorf("apply job %s: %w", key, err)
	}
	same, err := sameObject(&old.Job, &next.Job)
	if err != nil {
		return change{}, fmt.Errorf("apply job %s: %w", key, err)
	}
	if same && at.shard == to {
		ch.result.Action = ActionUnchanged
		return ch, nil
	}
	next.UID, next.Generation, next.CreatedAt = old.UID, old.Generation+1, old.CreatedAt
	next.After, next.MovedFrom = old.After, old.MovedFrom
	if !old.Spec.SameSchedule(&next.Spec) {
		next.After = now
	}
	next.Schema = max(old.Schema, next.Schema)
	ch.result.Action = ActionUpdated
	if at.shard != to {
		cmps, ops, value, err := c.move(ctx, at, to, &next, &old.Job)
		if err != nil {
			return change{}, err
		}
		ch.cmps, ch.ops, ch.size = append(ch.cmps, cmps...), ops, len(value)
		return ch, nil
	}
	value, err := etcdkv.MergeUnknown(at.kv.Value, next)
	if err != nil {
		return change{}, err
	}
	ch.ops, ch.size = []clientv3.Op{clientv3.OpPut(name, value)}, len(value)
	return ch, nil
}

// sameObject reports whether a and b say the same where users write.
func sameObject(a, b *job.Job) (bool, error) {
	type written struct {
		Metadata job.Metadata
		Spec     job.Spec
	}
	x, err := etcdkv.Encode(written{a.Metadata, a.Spec})
	if err != nil {
		return false, err
	}
	y, err := etcdkv.Encode(written{b.Metadata, b.Spec})
	if err != nil {
		return false, err
	}
	return x == y, nil
}

func resultsOf(changes []change) []ApplyResult {
	results := make([]ApplyResult, len(changes))
	for i := range changes {
		results[i] = changes[i].result
	}
	return results
}
