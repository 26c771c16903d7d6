package starts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/apply"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// startTries bounds the search for an instant at which a job was not started
// already.
const startTries = 100

// Start asks for a run of the job now, whatever its schedule. The run's id is
// the fire's RunID; Run finds it from now on.
func (st *Starter) Start(ctx context.Context, key job.Key, req api.StartRequest) (job.FireID, error) {
	if err := checkParams(req.Params); err != nil {
		return job.FireID{}, err
	}
	return st.start(ctx, key, job.TriggerManual, etcdkv.Trigger{By: caller.Of(ctx, req.By), Subject: caller.Subject(ctx, req.By), Params: req.Params},
		asked{order: &order{action: "job.start", object: "job " + key.String(), kind: rights.Jobs, Order: api.Order{By: req.By}}})
}

// asked is by what a run was asked for.
type asked struct {
	// order is set where a person asks; what programs start is not recorded.
	order *order
	// call is set where a webhook's call has a name.
	call *named
}

// order is what a start by hand is called in the audit.
type order struct {
	api.Order
	action, object string
	// kind is that on which the start wants the right to run.
	kind rights.Kind
}

// record adds to a transaction the record of a start.
func (st *Starter) record(ctx context.Context, d *store.Txn, o *order, before, after any) error {
	rec := st.audit.Record(ctx, o.action, o.object, o.Order)
	was, err := etcdkv.Encode(before)
	if err != nil {
		return err
	}
	is, err := etcdkv.Encode(after)
	if err != nil {
		return err
	}
	rec.Changes, rec.LeftOut = audit.Changes([]byte(was), []byte(is))
	return st.audit.Add(d, rec)
}

// started is what the audit tells of a start.
type started struct {
	Run    job.RunID         `json:"run"`
	Params map[string]string `json:"params,omitempty"`
	// Minions is how many the run is on, if it is told; Hosts are their names, if
	// they are few.
	Minions int            `json:"minions,omitempty"`
	Hosts   []job.MinionID `json:"hosts,omitempty"`
}

// fewHosts is up to how many names the audit tells.
const fewHosts = 10

func startOf(t *etcdkv.Trigger) started {
	v := started{Run: t.Fire.RunID(), Params: job.MaskedParams(t.Params, t.Sensitive), Minions: len(t.Hosts)}
	if len(t.Hosts) <= fewHosts {
		v.Hosts = t.Hosts
	}
	return v
}

// start puts the trigger of a run. Of a call that has started a run already it returns
// that one's fire.
func (st *Starter) start(ctx context.Context, key job.Key, kind job.Trigger, t etcdkv.Trigger, by asked) (job.FireID, error) {
	doing := "start job " + key.String()
	at, given := st.db.Now(), t.Params
	for range startTries {
		stored, lies, err := st.jobs.Stored(ctx, key)
		if err != nil {
			return job.FireID{}, err
		}
		if t.Params, t.Sensitive, err = st.definitions.CheckStart(ctx, key.Namespace, &stored.Spec, given); err != nil {
			return job.FireID{}, err
		}
		if o := by.order; o != nil {
			if by.call, err = st.asked(ctx, stored.UID, o, given, t.Hosts); err != nil {
				return job.FireID{}, err
			}
			if t.Bounds, err = st.bounded(ctx, &begin{requests: runOf(o.kind, &stored.Job), job: &stored.Job, params: given, hosts: t.Hosts}); err != nil {
				return job.FireID{}, err
			}
		}
		t.Schema, t.Key = etcdkv.Schema, key
		t.Fire = job.FireID{Job: stored.UID, At: at.UnixNano(), Trigger: kind}
		value, err := etcdkv.Encode(t)
		if err != nil {
			return job.FireID{}, err
		}
		if len(value) > apply.MaxAtomicBytes {
			return job.FireID{}, apiview.Invalid("only", fmt.Sprintf("the names of %d minions take %d bytes, and %d can be stored; narrow it down by their states (only)",
				len(t.Hosts), len(value), apply.MaxAtomicBytes)) // all else of a start is bounded
		}
		trigger := st.db.Keys.Trigger(lies.Shard, t.Fire)
		var d store.Txn
		d.StillThere(string(lies.KV.Key), lies.KV.CreateRevision) // the UID: edits keep both
		d.StillThere(trigger, 0)
		d.Put(trigger, value)
		if by.order != nil {
			if err := st.record(ctx, &d, by.order, struct{}{}, startOf(&t)); err != nil {
				return job.FireID{}, err
			}
		}
		if by.call != nil {
			if before, err := st.first(ctx, &d, by.call, t.Fire); err != nil || before != (job.FireID{}) {
				return before, err
			}
		}
		ok, err := st.db.Commit(ctx, doing, &d)
		if err != nil {
			return job.FireID{}, err
		}
		if ok {
			st.log.Info("job started", zap.Stringer("job", key), zap.Stringer("fire", t.Fire), zap.String("by", t.By), zap.String("cause", t.Cause))
			return t.Fire, nil
		}
		// Deleted and made anew, moved, or started at the same nanosecond.
		at = at.Add(1)
	}
	return job.FireID{}, fmt.Errorf("%s: too many others do so at the same instant: %w", doing, job.ErrConflict)
}

// checkParams tells all that is wrong with parameters in themselves.
func checkParams(params map[string]string) error {
	if problems := job.CheckParams(params); len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// nearlyNow is how far ahead the end of a window may lie that is meant to be now:
// clocks differ.
const nearlyNow = 5 * time.Second

// Backfill runs the instants of a job's schedule again that lie in a window.
func (st *Starter) Backfill(ctx context.Context, key job.Key, req api.BackfillRequest) (api.Backfill, error) {
	if err := checkParams(req.Params); err != nil {
		return api.Backfill{}, err
	}
	if req.Every < 0 || req.Every > job.MaxCatchUpEvery {
		return api.Backfill{}, apiview.Invalid("every", fmt.Sprintf("%v is out of range; 0s to %v are allowed", req.Every, job.MaxCatchUpEvery))
	}
	stored, at, err := st.jobs.Stored(ctx, key)
	if err != nil {
		return api.Backfill{}, err
	}
	if !stored.Spec.IsEnabled() {
		return api.Backfill{}, apiview.Invalid("job", fmt.Sprintf("job %s is not enabled; enable it, or pause it instead", key))
	}
	plain, sensitive, err := st.definitions.CheckStart(ctx, key.Namespace, &stored.Spec, req.Params)
	if err != nil {
		return api.Backfill{}, err
	}
	bounds, err := st.bounded(ctx, &begin{requests: runOf(rights.Jobs, &stored.Job), job: &stored.Job, params: req.Params})
	if err != nil {
		return api.Backfill{}, err
	}
	if now := st.db.Now(); req.To.After(now) && !req.To.After(now.Add(nearlyNow)) {
		req.To = now
	}
	id, err := uuid.NewV7()
	if err != nil {
		return api.Backfill{}, fmt.Errorf("new backfill id: %w", err)
	}
	b := etcdkv.Backfill{
		Schema: etcdkv.Schema, ID: id.String(), Job: stored.UID, Key: key, By: caller.Of(ctx, req.By), Subject: caller.Subject(ctx, req.By), Reason: req.Reason,
		From: req.From.UTC(), To: req.To.UTC(), Overlap: req.Overlap, Every: job.Duration(req.Every), Params: plain, Sensitive: sensitive, Bounds: bounds, Since: st.db.Now().UTC(),
	}
	v, err := st.backfillView(&b, &stored.Job)
	switch {
	case err != nil:
		return v, err
	case req.To.After(st.db.Now()):
		return v, apiview.Invalid("to", "lies in the future; the schedule runs the job then")
	case v.Left == 0:
		return v, apiview.Invalid("from", fmt.Sprintf("the schedule of job %s has no instant after %s, up to %s", key, b.From.Format(time.RFC3339Nano), b.To.Format(time.RFC3339Nano)))
	case v.Left > api.MaxBackfill:
		return v, apiview.Invalid("from", fmt.Sprintf("the window has more than %d instants; give a smaller one", api.MaxBackfill))
	}
	text, err := etcdkv.Encode(b)
	if err != nil {
		return v, err
	}
	name := st.db.Keys.Backfill(b.ID)
	object := fmt.Sprintf("job %s from %s to %s", key, b.From.Format(time.RFC3339), b.To.Format(time.RFC3339))
	rec := st.audit.Record(ctx, "job.backfill", object, api.Order{By: req.By, Reason: req.Reason})
	told, err := etcdkv.Encode(b.Told())
	if err != nil {
		return v, err
	}
	rec.Changes, rec.LeftOut = audit.Changes(nil, []byte(told))
	op, err := st.audit.Op(rec)
	if err != nil {
		return v, err
	}
	resp, err := st.db.Do(ctx, "backfill "+key.String(),
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(string(at.KV.Key)), "=", at.KV.CreateRevision)},
		[]clientv3.Op{clientv3.OpPut(name, text), op})
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("backfill %s: the job moved meanwhile; try again: %w", key, job.ErrConflict)
	}
	return v, err
}

// backfillView counts what is left of a backfill.
func (st *Starter) backfillView(b *etcdkv.Backfill, j *job.Job) (api.Backfill, error) {
	v := apiview.Backfill(b)
	set, err := st.jobs.SetOf(j)
	if err != nil {
		return v, err
	}
	from := b.From
	if b.Done.After(from) {
		from = b.Done
	}
	v.Left = len(set.Between(from, b.To, api.MaxBackfill+1))
	return v, nil
}

// How long records of backfills are kept that have ended, and how many at most.
const (
	EndedBackfillsFor = 30 * 24 * time.Hour
	endedBackfillsMax = 1000
)

// Backfills returns the backfills that go on, and the records of those that have
// ended, by when they were asked for.
func (st *Starter) Backfills(ctx context.Context) ([]api.Backfill, error) {
	all, err := store.ListAll[etcdkv.Backfill](ctx, st.db, "list backfills", st.db.Keys.Backfills())
	if err != nil {
		return nil, err
	}
	ended, err := store.ListAll[etcdkv.Backfill](ctx, st.db, "list ended backfills", st.db.Keys.EndedBackfills())
	if err != nil {
		return nil, err
	}
	all = append(all, ended...)
	slices.SortStableFunc(all, func(a, b etcdkv.Backfill) int { return a.Since.Compare(b.Since) })
	out := make([]api.Backfill, 0, len(all))
	for i := range all {
		v := apiview.Backfill(&all[i])
		if stored, _, err := st.jobs.Stored(ctx, all[i].Key); err == nil {
			if v, err = st.backfillView(&all[i], &stored.Job); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// EndBackfill ends a backfill; its run under way goes on.
func (st *Starter) EndBackfill(ctx context.Context, id string, o api.Order) error {
	key := st.db.Keys.Backfill(id)
	for range store.Tries {
		kv, err := st.db.Get(ctx, "end backfill", key)
		if err != nil {
			return err
		}
		if kv == nil {
			return fmt.Errorf("backfill %s: %w", id, job.ErrNotFound)
		}
		why := "ended"
		if who := caller.Of(ctx, o.By); who != "" {
			why += " by " + who
		}
		if o.Reason != "" {
			why += ": " + o.Reason
		}
		record, err := st.endedBackfill(kv, why)
		if err != nil {
			return err
		}
		err = st.audit.Write(ctx, "backfill.end", id, o, key, kv, clientv3.OpDelete(key), record)
		if !isConflict(err) {
			return err
		}
	}
	return fmt.Errorf("backfill %s keeps changing; try again: %w", id, job.ErrConflict)
}

// endedBackfill returns the write of the record of a backfill that ends now.
func (st *Starter) endedBackfill(kv *mvccpb.KeyValue, why string) (clientv3.Op, error) {
	b, err := store.Decode[etcdkv.Backfill](kv)
	if err != nil {
		return clientv3.Op{}, err
	}
	b = b.Told()
	b.EndedAt, b.EndedWhy = st.db.Now().UTC(), why
	text, err := etcdkv.Encode(b)
	return clientv3.OpPut(st.db.Keys.EndedBackfill(b.ID), text), err
}

// SweepBackfills ends backfills whose jobs are gone, and removes records that are
// old, or too many.
func (st *Starter) SweepBackfills(ctx context.Context) error {
	err := st.db.List(ctx, "list backfills", st.db.Keys.Backfills(), func(kv *mvccpb.KeyValue) error {
		b, err := store.Decode[etcdkv.Backfill](kv)
		if err != nil {
			return err
		}
		stored, _, err := st.jobs.Stored(ctx, b.Key)
		if err == nil && stored.UID == b.Job || err != nil && !errors.Is(err, job.ErrNotFound) {
			return err
		}
		record, err := st.endedBackfill(kv, "the job was deleted")
		if err != nil {
			return err
		}
		_, err = st.db.Do(ctx, "end backfill "+b.ID, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)},
			[]clientv3.Op{clientv3.OpDelete(string(kv.Key)), record})
		return err
	})
	if err != nil {
		return err
	}
	ended, err := store.ListAll[etcdkv.Backfill](ctx, st.db, "list ended backfills", st.db.Keys.EndedBackfills())
	if err != nil {
		return err
	}
	slices.SortFunc(ended, func(a, b etcdkv.Backfill) int { return a.EndedAt.Compare(b.EndedAt) })
	for i := range ended {
		if len(ended)-i <= endedBackfillsMax && st.db.Now().Sub(ended[i].EndedAt) < EndedBackfillsFor {
			break
		}
		if _, err := st.db.Do(ctx, "remove the record of backfill "+ended[i].ID, nil,
			[]clientv3.Op{clientv3.OpDelete(st.db.Keys.EndedBackfill(ended[i].ID))}); err != nil {
			return err
		}
	}
	return nil
}

// isConflict reports whether somebody else was faster.
func isConflict(err error) bool { return errors.Is(err, job.ErrConflict) }
