package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// secretsAtOnce bounds how many tasks have their secrets found out at a time.
const secretsAtOnce = 16

// found are a task's secrets, or why it has none.
type found struct {
	values map[string]string
	err    error
}

// withSecrets returns those tasks that need no secrets, or whose secrets were found
// out; the latter have them in the environment of an order of their own, which is
// forgotten after the start. The others wait until theirs are.
func (ex *execution) withSecrets(ctx context.Context, chunk []*entry, orders []*job.Order) ([]*entry, []*job.Order) {
	if !slices.ContainsFunc(orders, func(o *job.Order) bool { return o != nil && len(o.Secrets) > 0 }) {
		return chunk, orders
	}
	var here []*entry
	var theirs []*job.Order
	var refused []*job.Report
	for i, e := range chunk {
		o := orders[i]
		if o == nil || len(o.Secrets) == 0 {
			here, theirs = append(here, e), append(theirs, o)
			continue
		}
		ex.tasks.mu.Lock()
		f := e.found
		ex.tasks.mu.Unlock()
		switch {
		case f == nil:
			ex.finding.Go(func() { ex.find(ctx, e, o) })
		case f.err != nil:
			refused = append(refused, &job.Report{
				Task: e.key.id(ex.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
				Reason: f.err.Error(), EndedAt: time.Now().UTC(), Spooled: true,
			})
		default:
			with := *o
			with.Env = make(map[string]string, len(o.Env)+len(f.values))
			maps.Copy(with.Env, o.Env)
			maps.Copy(with.Env, f.values)
			here, theirs = append(here, e), append(theirs, &with)
		}
	}
	ex.reporting.settle(refused)
	return here, theirs
}

// find finds out the secrets of a task, and has it go on.
func (ex *execution) find(ctx context.Context, e *entry, o *job.Order) {
	select {
	case ex.findable <- struct{}{}:
		defer func() { <-ex.findable }()
	case <-ctx.Done():
		return
	}
	f := &found{values: make(map[string]string, len(o.Secrets))}
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		v := o.Secrets[name]
		value, err := ex.valueOf(ctx, o, v)
		if err != nil {
			f.err = fmt.Errorf("secret %s: %w", name, err)
			break
		}
		f.values[name] = value
	}
	if ctx.Err() != nil {
		return // the next process finds them out
	}
	ex.tasks.mu.Lock()
	e.found = f
	ex.tasks.places.ready.push(e)
	ex.tasks.mu.Unlock()
	notify(ex.tasks.startWake)
}

// valueOf finds out the value of a secret.
func (ex *execution) valueOf(ctx context.Context, o *job.Order, v job.OrderSecret) (string, error) {
	if v.Secret == nil {
		return v.Value, nil // a sensitive parameter: who started the run has given it
	}
	var value string
	var err error
	if v.Secret.Name != "" {
		value, err = ex.deps.Secrets.Open(o.Key, v.Secret, v.Sealed, ex.deps.Identities)
	} else {
		value, err = ex.deps.Secrets.Find(ctx, o.Key, v.Secret)
	}
	if err == nil && v.Mask && len(value) < job.MinMaskedBytes {
		err = fmt.Errorf("%s: has fewer than %d bytes, and cannot be masked: leave mask out", v.Secret, job.MinMaskedBytes)
	}
	return value, err
}

// secretNames returns the variables of an order that are secrets.
func secretNames(o *job.Order) []string { return slices.Collect(maps.Keys(o.Secrets)) }

// masked returns the values that are to be kept out of the output of an order.
func masked(o *job.Order) []string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		if o.Secrets[name].Mask {
			values = append(values, o.Env[name])
		}
	}
	return values
}
