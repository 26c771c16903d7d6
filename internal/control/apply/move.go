package apply

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// leftShard is a shard that jobs are moved out of, as it was read.
type leftShard struct {
	// key and rev are of its state; rev is 0 when it has none.
	key   string
	rev   int64
	state etcdkv.ShardState
	// value is the state with a claim of the move's own.
	value string
	// open are the jobs that the shard's slots hold anything of, each with its
	// last instant. A slot may reach beyond the cursor, and one that does is not
	// deleted.
	open map[job.UID]int64
	// started are the jobs with starts that wait.
	started map[job.UID]bool
}

// move adds to a change what moves a job to another shard (see scheduler's
// moved.go): the job's schedule holds there from where the old shard has come
// to, and a commit of the old shard's owner that is under way fails. Unless
// nothing of the job is open in the old shard, a record of the move is left
// there, and the new owner counts the job as running until it is gone.
func (p *planner) move(ctx context.Context, ch *change, from jobstore.Place, to job.ShardID, next, old *etcdkv.StoredJob) error {
	key, keys := next.Key(), p.c.db.Keys
	l, err := p.leave(ctx, from.Shard)
	if err != nil {
		return err
	}
	if ahead := l.state.Ahead; ahead.After(l.state.Cursor) {
		// Only there it is known that what ran too early has: see scheduler's ahead.go.
		return fmt.Errorf("shard %s was planned up to %s by a clock that was wrong, and has been set back; it alone can tell what of %s has run by then: move it after that: %w",
			from.Shard, ahead.Format(time.RFC3339), key, job.ErrConflict)
	}
	next.Leave(l.reached(etcdkv.Begins(old.After, old.Earlier), next.UID, from.KV.CreateRevision))
	if _, open := l.open[next.UID]; open || l.started[next.UID] {
		record, err := etcdkv.Encode(etcdkv.MovedJob{Schema: etcdkv.Schema, To: to, Job: old.Job})
		if err != nil {
			return err
		}
		ch.Put(keys.MovedJob(from.Shard, next.UID), record)
		next.MovedFrom = &from.Shard
	} else {
		ch.Empty(keys.JobTriggers(from.Shard, next.UID))
		if next.MovedFrom != nil && *next.MovedFrom == to {
			next.MovedFrom = nil // what is open of it there is at home again
		}
	}
	value, err := etcdkv.MergeUnknown(from.KV.Value, *next)
	if err != nil {
		return err
	}
	ch.SameAs(l.key, l.rev)
	ch.Put(l.key, l.value)
	ch.Remove(keys.MovedJob(to, next.UID)) // moved to and fro
	ch.Remove(string(from.KV.Key))
	ch.Remove(keys.GroupedJob(key)) // who is in a group puts it again
	ch.store(keys.Job(to, key), value)
	return nil
}

// leave reads a shard that jobs are to be moved out of.
func (p *planner) leave(ctx context.Context, shard job.ShardID) (*leftShard, error) {
	if l := p.left[shard]; l != nil {
		return l, nil
	}
	l := &leftShard{key: p.c.db.Keys.State(shard), open: map[job.UID]int64{}, started: map[job.UID]bool{}}
	kv, err := p.c.db.Get(ctx, "read shard "+shard.String(), l.key)
	if err != nil {
		return nil, err
	}
	claim, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("new claim id: %w", err)
	}
	if kv == nil {
		// Its owner may be about to commit for the first time: that fails, as
		// now there is a state, which says that nothing is committed.
		l.state = etcdkv.ShardState{Schema: etcdkv.Schema, Cursor: time.Unix(0, 0).UTC(), Claim: claim.String()}
		l.value, err = etcdkv.Encode(l.state)
	} else {
		if l.state, err = store.Decode[etcdkv.ShardState](kv); err != nil {
			return nil, err
		}
		l.rev, l.state.Claim = kv.ModRevision, claim.String()
		l.value, err = etcdkv.MergeUnknown(kv.Value, l.state)
	}
	if err != nil {
		return nil, err
	}
	if err := l.readSlots(ctx, p.c, shard); err != nil {
		return nil, err
	}
	triggers, err := store.ListAll[etcdkv.Trigger](ctx, p.c.db, "read shard "+shard.String(), p.c.db.Keys.Triggers(shard))
	if err != nil {
		return nil, err
	}
	for i := range triggers {
		l.started[triggers[i].Fire.Job] = true
	}
	p.left[shard] = l
	return l, nil
}

// readSlots reads what the shard's slots hold. They are read after the
// state: a slot that comes in between comes with a new state, and the move fails.
func (l *leftShard) readSlots(ctx context.Context, c *Applier, shard job.ShardID) error {
	return c.db.ListPages(ctx, "read shard "+shard.String(), c.db.Keys.Slots(shard), store.SlotPage, func(kv *mvccpb.KeyValue) error {
		slot, err := etcdkv.DecodeSlot(kv.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", kv.Key, err)
		}
		for i := range slot.Entries {
			e := &slot.Entries[i]
			last := l.open[e.Fire.Job]
			if e.Fire.Trigger == job.TriggerSchedule {
				last = max(last, e.Fire.At, e.Until)
			}
			l.open[e.Fire.Job] = last
		}
		return nil
	})
}

// reached returns from where on a job is planned elsewhere when it leaves the shard,
// in which its key was created at a revision, and which was to plan it after an
// instant: nothing that the shard has committed, and all that it has not.
func (l *leftShard) reached(after time.Time, uid job.UID, created int64) time.Time {
	// The cursor speaks of the jobs that the last commit was planned from.
	if created <= l.state.JobsRev && l.state.Cursor.After(after) {
		after = l.state.Cursor
	}
	if last := l.open[uid]; last > after.UnixNano() {
		after = time.Unix(0, last).UTC()
	}
	return after
}
