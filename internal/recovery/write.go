package recovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// write makes durable what was found, and releases the shards (R2).
func (w *work) write(ctx context.Context) error {
	if err := w.recordDirect(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(w.shards)) {
		if err := w.writeShard(ctx, id, w.shards[id]); err != nil {
			return err
		}
	}
	audit, err := w.Audit(ctx, "cluster.recover", fmt.Sprintf("epoch %d: %d ran, %d indeterminate, %d left", w.out.Epoch, w.out.Ran, w.out.Indeterminate, w.out.Left), w.req.Order)
	if err != nil {
		return err
	}
	_, err = w.commit(ctx, []clientv3.Op{clientv3.OpDelete(w.Keys.Hold()), audit})
	return err
}

// recordDirect records what nobody can know, and what is not to be put into slots.
func (w *work) recordDirect(ctx context.Context) error {
	reason := w.doubtReason()
	var records []job.Run
	flush := func(least int) error {
		if len(records) < least || len(records) == 0 {
			return nil
		}
		if err := w.History.Append(ctx, records); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		records = records[:0]
		return nil
	}
	for _, j := range w.jobs {
		for _, at := range j.doubt {
			r := w.record(job.FireID{Job: j.uid, At: at, Trigger: job.TriggerSchedule})
			r.State, r.Reason, r.EndedAt = job.StateIndeterminate, reason, w.now
			records = append(records, r)
			if err := flush(recordsAtOnce); err != nil {
				return err
			}
		}
	}
	for _, s := range w.shards {
		for fire, minions := range s.found {
			if !w.direct(fire, minions) {
				continue
			}
			records = append(records, w.asTold(fire, minions))
			delete(s.found, fire)
			if err := flush(recordsAtOnce); err != nil {
				return err
			}
		}
	}
	return flush(0)
}

// record is that of a fire, without its end.
func (w *work) record(fire job.FireID) job.Run {
	j := w.jobs[fire.Job]
	return job.Run{
		RunID: fire.RunID(), FireID: fire, Namespace: j.key.Namespace, Job: j.key.Name, Shard: j.shard, Node: w.Node,
		Trigger: fire.Trigger.String(), Count: 1, ScheduledAt: fire.Time(),
	}
}

// asTold is the record of a fire as its minions know it.
func (w *work) asTold(fire job.FireID, minions map[job.MinionID]told) job.Run {
	r := w.record(fire)
	r.State, r.Reason = job.StateSucceeded, w.hold.Cause()+": this is what its minions remember"
	for _, m := range slices.Sorted(maps.Keys(minions)) {
		t := minions[m]
		task := job.Task{Minion: m, Attempt: t.attempt, State: t.state}
		if t.state == "" {
			task.State, task.Reason = job.StateIndeterminate, "it went on when the cluster was restored or promoted"
		}
		if t.endedAt != 0 {
			task.EndedAt = time.Unix(0, t.endedAt).UTC()
			if task.EndedAt.After(r.EndedAt) {
				r.EndedAt = task.EndedAt
			}
		}
		if task.State != job.StateSucceeded {
			r.State = task.State
		}
		r.Attempt = max(r.Attempt, t.attempt)
		r.Tasks = append(r.Tasks, task)
	}
	return r
}

// doubtReason says why nobody knows whether something has run.
func (w *work) doubtReason() string {
	var names []string
	for _, m := range w.out.Silent {
		if len(names) == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(w.out.Silent)-10))
			break
		}
		names = append(names, string(m.Minion))
	}
	return w.hold.Cause() + ", and minions that may have run it did not answer: " + strings.Join(names, ", ")
}

// writeShard puts the fires that were found into slots, and says up to where the owner has
// to look for what has run.
func (w *work) writeShard(ctx context.Context, id job.ShardID, s *shard) error {
	fires := slices.SortedFunc(maps.Keys(s.found), func(a, b job.FireID) int { return strings.Compare(a.String(), b.String()) })
	for {
		var ops []clientv3.Op
		for range slotsAtOnce {
			n := min(len(fires), slotFires)
			if n == 0 {
				break
			}
			slot := etcdkv.Slot{CommittedAt: w.now.UnixNano(), Node: w.Node}
			for _, f := range fires[:n] {
				e := etcdkv.SlotEntry{Fire: f, State: etcdkv.EntryOpen}
				for _, m := range slices.Sorted(maps.Keys(s.found[f])) {
					e.Tasks = append(e.Tasks, etcdkv.SlotTask{Minion: m, Attempt: s.found[f][m].attempt})
				}
				slot.Entries = append(slot.Entries, e)
			}
			fires = fires[n:]
			s.state.Seq++
			ops = append(ops, clientv3.OpPut(w.Keys.Slot(id, s.state.Seq), string(etcdkv.EncodeSlot(&slot))))
		}
		claim, err := newClaim()
		if err != nil {
			return err
		}
		s.state.Claim, s.state.Node, s.state.Judged, s.state.Unsent = claim, w.Node, w.now, 0
		if s.state.Ahead.Before(w.now) {
			s.state.Ahead = w.now
		}
		value, err := etcdkv.Encode(&s.state)
		if err != nil {
			return err
		}
		key := w.Keys.State(id)
		ops = append(ops, clientv3.OpPut(key, value))
		if s.stateRev, err = w.commit(ctx, ops, clientv3.Compare(clientv3.ModRevision(key), "=", s.stateRev)); err != nil {
			return fmt.Errorf("shard %s: %w", id, err)
		}
		if len(fires) == 0 {
			return nil
		}
	}
}

// takeBack has a cluster that had handed over be held as after a restore: its minions come
// back to it then.
func (w *work) takeBack(ctx context.Context) error {
	if w.req.DryRun {
		return nil
	}
	w.hold.State = etcdkv.HoldRestored
	value, err := etcdkv.Encode(&w.hold)
	if err != nil {
		return err
	}
	w.holdRev, err = w.commit(ctx, []clientv3.Op{clientv3.OpPut(w.Keys.Hold(), value)})
	return err
}

// commit writes if the hold is as it was read (R1).
func (w *work) commit(ctx context.Context, ops []clientv3.Op, cmps ...clientv3.Cmp) (rev int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := w.Client.Txn(ctx).If(append(cmps, clientv3.Compare(clientv3.ModRevision(w.Keys.Hold()), "=", w.holdRev))...).Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("write to etcd: %w: %w", job.ErrUnavailable, err)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("somebody else has recovered or restored the cluster meanwhile: %w", job.ErrConflict)
	}
	return resp.Header.Revision, nil
}

func (w *Recoverer) get(ctx context.Context, key string) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := w.Client.Get(ctx, key)
	if err != nil {
		return nil, 0, fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, nil
	}
	return resp.Kvs[0].Value, resp.Kvs[0].ModRevision, nil
}

// list calls fn with each key under a prefix.
func (w *Recoverer) list(ctx context.Context, prefix string, fn func(*mvccpb.KeyValue) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		resp, err := w.Client.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
		cancel()
		if err != nil {
			return fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
		}
		for _, kv := range resp.Kvs {
			if err := fn(kv); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// adopt begins a new epoch with what etcd holds, which went back without `carillon
// restore`: what lies on leases goes, and the cluster is held.
func (w *Recoverer) adopt(ctx context.Context, req api.RecoverRequest) (api.Recovery, error) {
	var out api.Recovery
	text, rev, err := w.get(ctx, w.Keys.Meta())
	if err != nil {
		return out, err
	}
	if text == nil {
		return out, fmt.Errorf("etcd holds no cluster: %w", job.ErrConflict)
	}
	meta, err := etcdkv.Decode[etcdkv.Meta](w.Keys.Meta(), text)
	if err != nil {
		return out, err
	}
	mark, _, err := w.get(ctx, w.Keys.Mark())
	if err != nil {
		return out, err
	}
	now := w.Now().UTC()
	hold := etcdkv.Hold{Schema: etcdkv.Schema, State: etcdkv.HoldRestored, Since: now, By: req.By, From: meta.Epoch, TakenAt: now}
	if mark != nil {
		m, err := etcdkv.Decode[etcdkv.Mark](w.Keys.Mark(), mark)
		if err != nil {
			return out, err
		}
		hold.TakenAt = m.At
	}
	meta.Epoch = max(meta.Epoch, w.Seen()) + 1
	hold.Epoch = meta.Epoch
	out.Epoch, out.TakenAt, out.LostAt = hold.Epoch, hold.TakenAt, hold.Since
	if req.DryRun {
		return out, nil
	}
	value, err := etcdkv.MergeUnknown(text, &meta)
	if err != nil {
		return out, err
	}
	held, err := etcdkv.Encode(&hold)
	if err != nil {
		return out, err
	}
	audit, err := w.Audit(ctx, "cluster.adopt", fmt.Sprintf("epoch %d", hold.Epoch), req.Order)
	if err != nil {
		return out, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := w.Client.Txn(bounded).If(clientv3.Compare(clientv3.ModRevision(w.Keys.Meta()), "=", rev), clientv3.Compare(clientv3.CreateRevision(w.Keys.Hold()), "=", 0)).
		Then(clientv3.OpPut(w.Keys.Hold(), held), clientv3.OpPut(w.Keys.Meta(), value), audit).Commit()
	if err != nil {
		return out, fmt.Errorf("write to etcd: %w: %w", job.ErrUnavailable, err)
	}
	if !resp.Succeeded {
		return out, fmt.Errorf("somebody else has adopted or restored the cluster meanwhile: %w", job.ErrConflict)
	}
	out.Adopted = true
	return out, w.dropLeased(ctx, resp.Header.Revision)
}

// dropLeased deletes what lies on leases and was there at a revision: who held it is gone,
// whatever the lease says.
func (w *Recoverer) dropLeased(ctx context.Context, upTo int64) error {
	end := clientv3.GetPrefixRangeEnd(w.Keys.Root())
	for from := w.Keys.Root(); ; {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		resp, err := w.Client.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
		if err == nil {
			for _, kv := range resp.Kvs {
				if kv.Lease == 0 || kv.ModRevision > upTo {
					continue
				}
				if _, err = w.Client.Txn(bounded).If(clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)).Then(clientv3.OpDelete(string(kv.Key))).Commit(); err != nil {
					break
				}
			}
		}
		cancel()
		if err != nil {
			return fmt.Errorf("delete what lies on leases: %w: %w", job.ErrUnavailable, err)
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
