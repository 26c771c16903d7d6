package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
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
	key    string
	rev    int64 // mod revision that the change was worked out from; 0: no such job
	value  string
	result ApplyResult
}

// Apply makes the cluster hold the jobs of a manifest. File names it in
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
		done, err := c.applyChunk(ctx, objects[:n], changes[:n])
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
	first := map[job.Key]manifest.Object{}
	for i := range objects {
		o := &objects[i]
		if o.Metadata.Namespace == "" {
			o.Metadata.Namespace = job.DefaultNamespace
		}
		if o.Kind != job.KindJob {
			problems = append(problems, job.Problem{
				Path: "kind", Message: fmt.Sprintf("%q cannot be applied; want %s", o.Kind, job.KindJob), File: o.File, Line: o.Line,
			})
			continue
		}
		key := o.Metadata.Key()
		if before, twice := first[key]; twice {
			problems = append(problems, job.Problem{
				Path: "metadata.name", Message: fmt.Sprintf("%s is given twice, first in line %d; give each job once", key, before.Line), File: o.File, Line: o.Line,
			})
			continue
		}
		first[key] = *o
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	if len(objects) == 0 {
		return nil, &job.InvalidError{Problems: []job.Problem{{Message: "holds no object; give at least one document with kind: " + job.KindJob, File: file}}}
	}
	return objects, nil
}

// checkSizes tells which objects etcd would not take.
func checkSizes(objects []manifest.Object, changes []change) error {
	var problems []job.Problem
	for i := range changes {
		if n := len(changes[i].value); n > MaxAtomicBytes {
			o := &objects[i]
			problems = append(problems, job.Problem{
				Message: fmt.Sprintf("job %s has %d bytes; at most %d are allowed", o.Metadata.Key(), n, MaxAtomicBytes), File: o.File, Line: o.Line,
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
	size := 0
	for i := range limit {
		size += len(changes[i].value)
		if size > MaxAtomicBytes && i > 0 {
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
	cmps := make([]clientv3.Cmp, 0, len(changes))
	ops := make([]clientv3.Op, 0, len(changes))
	for i := range changes {
		ch := &changes[i]
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(ch.key), "=", ch.rev))
		if ch.result.Action != ActionUnchanged {
			ops = append(ops, clientv3.OpPut(ch.key, ch.value))
		}
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
				c.log.Info("job applied", zap.String("job", r.Namespace+"/"+r.Name), zap.String("action", string(r.Action)))
			}
		}
	}
	return resp.Succeeded, nil
}

// plan reads what is stored and works out what applying the objects changes.
func (c *Control) plan(ctx context.Context, objects []manifest.Object) ([]change, error) {
	keys := make([]string, len(objects))
	for i := range objects {
		keys[i] = c.jobKey(objects[i].Metadata.Key())
	}
	kvs, err := c.getAll(ctx, "apply", keys)
	if err != nil {
		return nil, err
	}
	now := c.now().UTC()
	changes := make([]change, len(objects))
	for i := range objects {
		ch, err := planOne(&objects[i], kvs[i], now)
		if err != nil {
			return nil, err
		}
		ch.key = keys[i]
		changes[i] = ch
	}
	return changes, nil
}

// planOne works out what applying the object does to the stored pair, which is
// nil when there is none.
func planOne(o *manifest.Object, kv *mvccpb.KeyValue, now time.Time) (change, error) {
	key := o.Metadata.Key()
	ch := change{result: ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name}}
	next := etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{Metadata: o.Metadata, Spec: o.Spec, UpdatedAt: now}}
	if kv == nil {
		uid, err := job.NewUID()
		if err != nil {
			return change{}, err
		}
		next.UID, next.Generation, next.After, next.CreatedAt = uid, 1, now, now
		ch.result.Action = ActionCreated
		ch.value, err = etcdkv.Encode(next)
		return ch, err
	}

	ch.rev = kv.ModRevision
	old, err := decode[etcdkv.StoredJob](kv)
	if err != nil {
		return change{}, fmt.Errorf("apply job %s: %w", key, err)
	}
	same, err := sameObject(&old.Job, &next.Job)
	if err != nil {
		return change{}, fmt.Errorf("apply job %s: %w", key, err)
	}
	if same {
		ch.result.Action = ActionUnchanged
		return ch, nil
	}
	next.UID, next.Generation, next.CreatedAt = old.UID, old.Generation+1, old.CreatedAt
	next.After = old.After
	if !old.Spec.SameSchedule(&next.Spec) {
		next.After = now
	}
	next.Schema = max(old.Schema, next.Schema)
	ch.result.Action = ActionUpdated
	ch.value, err = etcdkv.MergeUnknown(kv.Value, next)
	return ch, err
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
