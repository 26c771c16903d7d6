package control

import (
	"context"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestI13_VerbsTellFromWhenTheyHold: who changes when a job is due, deletes it,
// pauses it or ends the pause puts the key by which owners know that their view lacks
// it, in the same transaction, and is told from where on it holds: after what the
// shard has committed.
func TestI13_VerbsTellFromWhenTheyHold(t *testing.T) {
	t.Parallel()
	key := job.Key{Namespace: "ops", Name: "j"}
	paused := api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}
	off := false
	applied := func(ctx context.Context, t *testing.T, e *env, change func(*manifest.Object)) time.Time {
		t.Helper()
		results, err := e.Apply(ctx, "f", encode(t, object("j", change)), false)
		if err != nil {
			t.Fatal(err)
		}
		return results[0].HoldsFrom
	}
	for name, c := range map[string]struct {
		do func(context.Context, *testing.T, *env) (time.Time, error)
		// edits is the key that is put; nil: none is, and nothing is told.
		edits func(*env) string
	}{
		"disable": {func(ctx context.Context, t *testing.T, e *env) (time.Time, error) {
			return applied(ctx, t, e, func(o *manifest.Object) { o.Spec.Enabled = &off }), nil
		}, func(e *env) string { return e.keys.Edits(e.HashShard(key)) }},
		"another schedule": {func(ctx context.Context, t *testing.T, e *env) (time.Time, error) {
			return applied(ctx, t, e, func(o *manifest.Object) { o.Spec.Schedules = []string{"5 * * * *"} }), nil
		}, func(e *env) string { return e.keys.Edits(e.HashShard(key)) }},
		"another user": {func(ctx context.Context, t *testing.T, e *env) (time.Time, error) {
			return applied(ctx, t, e, func(o *manifest.Object) { o.Spec.User = "u" }), nil
		}, nil},
		"delete": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) { return e.Delete(ctx, key) },
			func(e *env) string { return e.keys.Edits(e.HashShard(key)) }},
		"pause": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) {
			return e.Pause(ctx, paused, time.Time{}, api.Order{})
		}, func(e *env) string { return e.keys.PauseEdits() }},
		"pause all": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) {
			return e.Pause(ctx, api.Paused{Scope: api.ScopeAll}, time.Time{}, api.Order{})
		}, func(e *env) string { return e.keys.PauseEdits() }},
		"resume": {func(ctx context.Context, t *testing.T, e *env) (time.Time, error) {
			if _, err := e.Pause(ctx, paused, time.Time{}, api.Order{}); err != nil {
				t.Fatal(err)
			}
			return e.Resume(ctx, paused, api.Order{})
		}, func(e *env) string { return e.keys.PauseEdits() }},
	} {
		for at, ahead := range map[string]time.Duration{"nothing is committed ahead": -time.Second, "all is for a moment": 250 * time.Millisecond} {
			t.Run(name+", "+at, func(t *testing.T) {
				t.Parallel()
				e := setup(t)
				e.apply(t, object("j"))
				cursor := e.now().Add(ahead)
				e.put(t, e.keys.State(e.HashShard(key)), etcdkv.ShardState{Schema: 1, Cursor: cursor})
				holds, err := c.do(t.Context(), t, e)
				if err != nil {
					t.Fatal(err)
				}
				if c.edits == nil {
					if left := e.keysUnder(t, e.keys.Edits(e.HashShard(key))); !holds.IsZero() || len(left) > 0 {
						t.Errorf("told %v, and put %v, for what does not change when the job is due", holds, left)
					}
					return
				}
				want := e.now()
				if ahead > 0 {
					want = cursor
				}
				if !holds.Equal(want) {
					t.Errorf("holds from %v, want %v", holds, want)
				}
				got, err := e.cli.Get(t.Context(), c.edits(e))
				if err != nil || len(got.Kvs) != 1 {
					t.Fatal(got, err)
				}
				last := got.Kvs[0].ModRevision
				what := e.keys.Job(e.HashShard(key), key)
				if c.edits(e) == e.keys.PauseEdits() {
					what = e.keys.Pauses()
				}
				before, err := e.cli.Get(t.Context(), e.jobKey(key))
				if err != nil {
					t.Fatal(err)
				}
				if len(before.Kvs) == 1 && what == e.jobKey(key) && before.Kvs[0].ModRevision != last {
					t.Errorf("the edit is of revision %d, and its key of %d", before.Kvs[0].ModRevision, last)
				}
			})
		}
	}
}

// TestI13_VerbsTellOfWhatIsBeyondTheCursor: a shard that a wrong clock had planned
// hours ahead is set back, and one that has more due than it can commits some of it
// before what is older. Its cursor does not speak of what is committed beyond. Of that
// it is told what may be yet to start: of the job that the verb is about, or of any.
func TestI13_VerbsTellOfWhatIsBeyondTheCursor(t *testing.T) {
	t.Parallel()
	key := job.Key{Namespace: "ops", Name: "j"}
	for name, c := range map[string]struct {
		do func(context.Context, *testing.T, *env) (time.Time, error)
		// open is what is told when there are such fires: how long after now.
		open time.Duration
	}{
		"disable": {func(ctx context.Context, t *testing.T, e *env) (time.Time, error) {
			off := false
			results, err := e.Apply(ctx, "f", encode(t, object("j", func(o *manifest.Object) { o.Spec.Enabled = &off })), false)
			if err != nil {
				return time.Time{}, err
			}
			return results[0].HoldsFrom, nil
		}, 3 * time.Hour},
		"delete": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) { return e.Delete(ctx, key) }, 3 * time.Hour},
		"pause": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) {
			return e.Pause(ctx, api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, time.Time{}, api.Order{})
		}, 3 * time.Hour},
		"pause all": {func(ctx context.Context, _ *testing.T, e *env) (time.Time, error) {
			return e.Pause(ctx, api.Paused{Scope: api.ScopeAll}, time.Time{}, api.Order{})
		}, 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, told := range []string{"ahead", "beyond", "none is open"} {
				e := setup(t)
				e.apply(t, object("j"), object("k"))
				shard := e.HashShard(key)
				state := etcdkv.ShardState{Schema: 1, Cursor: e.now(), Ahead: e.now().Add(8 * time.Hour)}
				if told == "beyond" {
					state.Ahead, state.Beyond = state.Beyond, state.Ahead
				}
				e.put(t, e.keys.State(shard), state)
				var want time.Duration
				if told != "none is open" {
					want = c.open
					e.openFire(t, shard, 1, "j", e.now().Add(3*time.Hour))
					e.openFire(t, shard, 2, "k", e.now().Add(5*time.Hour))
				}
				recorded := etcdkv.SlotEntry{
					Fire:  job.FireID{Job: e.storedJob(t, "j").UID, At: e.now().Add(6 * time.Hour).UnixNano(), Trigger: job.TriggerSchedule},
					State: etcdkv.EntryMissed,
				}
				e.put(t, e.keys.Slot(shard, 3), string(etcdkv.EncodeSlot(&etcdkv.Slot{Entries: []etcdkv.SlotEntry{recorded}})))
				holds, err := c.do(t.Context(), t, e)
				if err != nil || !holds.Equal(e.now().Add(want)) {
					t.Errorf("%s: holds from %v, %v; want %v", told, holds, err, e.now().Add(want))
				}
			}
		})
	}
}
