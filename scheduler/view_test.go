package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/timekeeper"
)

// hanging is a watcher of which the watches that there are hang, from one moment
// on, as those do whose member of etcd stands still. Others go on.
type hanging struct {
	clientv3.Watcher

	mu   sync.Mutex
	hung chan struct{} // closed once those that it was given to hang
}

func hangable(w clientv3.Watcher) *hanging { return &hanging{Watcher: w, hung: make(chan struct{})} }

func (h *hanging) hang() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.hung)
	h.hung = make(chan struct{})
}

func (h *hanging) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	h.mu.Lock()
	hung := h.hung
	h.mu.Unlock()
	in, out := h.Watcher.Watch(ctx, key, opts...), make(chan clientv3.WatchResponse)
	go func() {
		defer close(out)
		for r := range in {
			select {
			case <-hung:
				<-ctx.Done()
				return
			default:
			}
			select {
			case out <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// TestI26_NothingIsCommittedWithoutAnEdit: from the commit of an edit, a deletion or
// a pause on, nothing is committed that it does not let run, though the owner's
// watches hang and its commits go on. The owner reads its view anew, and goes on.
func TestI26_NothingIsCommittedWithoutAnEdit(t *testing.T) {
	t.Parallel()
	off := false
	for name, edit := range map[string]func(b *bed, j job.Job, now time.Time) []clientv3.Op{
		"disabled": func(b *bed, j job.Job, now time.Time) []clientv3.Op {
			old := etcdkv.StoredJob{Schema: 1, Job: j}
			next := old
			next.Spec.Enabled = &off
			if err := next.Replace(&old, now, time.Time{}, nil); err != nil {
				b.t.Fatal(err)
			}
			return []clientv3.Op{
				clientv3.OpPut(b.keys.Job(b.shardOf(j), j.Key()), b.encode(next)), clientv3.OpPut(b.keys.Edits(b.shardOf(j)), "now"),
			}
		},
		"deleted": func(b *bed, j job.Job, now time.Time) []clientv3.Op {
			return []clientv3.Op{
				clientv3.OpDelete(b.keys.Job(b.shardOf(j), j.Key())), clientv3.OpPut(b.keys.Edits(b.shardOf(j)), "now"),
				clientv3.OpPut(b.keys.DeletedJob(b.shardOf(j), j.UID), b.encode(etcdkv.DeletedJob{Schema: 1, Job: j, At: now, Created: 1})),
			}
		},
		"paused": func(b *bed, j job.Job, now time.Time) []clientv3.Op {
			return []clientv3.Op{
				clientv3.OpPut(b.keys.Pause(etcdkv.ScopeJob, j.Namespace, j.Name), b.encode(etcdkv.Pause{Schema: 1, Scope: etcdkv.ScopeJob, Namespace: j.Namespace, Name: j.Name, Since: now})),
				clientv3.OpPut(b.keys.PauseEdits(), "now"),
			}
		},
		"closed by a calendar": func(b *bed, _ job.Job, _ time.Time) []clientv3.Op {
			c := etcdkv.StoredCalendar{Schema: 1, Calendar: job.Calendar{Metadata: job.Metadata{Namespace: "t", Name: "c"}, Spec: job.CalendarSpec{Closed: []string{"01-01..12-31 for ever"}}}}
			return []clientv3.Op{clientv3.OpPut(b.keys.Calendar(c.Key()), b.encode(c)), clientv3.OpPut(b.keys.CalendarEdits(), "now")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var watches *hanging
			b.dress = func(c *clientv3.Client) {
				watches = hangable(c.Watcher)
				c.Watcher = watches
			}
			spec := job.Spec{Schedules: []string{"@every 200ms"}, Command: []string{"true"}, Overlap: job.OverlapAllow, Misfire: job.MisfireAll}
			b.calendarOf("c", job.CalendarSpec{})
			with := spec
			if name == "closed by a calendar" {
				with.Calendars = []string{"c"}
			}
			a := b.put("a", with)
			var other job.Job
			for i := 0; other.Name == "" || b.shardOf(other) != b.shardOf(a); i++ {
				other.Metadata = job.Metadata{Namespace: "t", Name: fmt.Sprintf("o%d", i)}
			}
			other = b.put(other.Name, spec)
			b.start("n1")
			b.until("both run", func() bool {
				return b.recorded(started(a, time.Time{})) > 2 && b.recorded(started(other, time.Time{})) > 2
			})
			watches.hang()
			state := b.keys.State(b.shardOf(a))
			now := time.Now().UTC()
			resp, err := b.client.Txn(t.Context()).Then(append(edit(b, a, now), clientv3.OpGet(state))...).Commit()
			if err != nil {
				t.Fatal(err)
			}
			kvs := resp.Responses[len(resp.Responses)-1].GetResponseRange().Kvs
			was, err := etcdkv.Decode[etcdkv.ShardState](state, kvs[0].Value)
			if err != nil {
				t.Fatal(err)
			}
			holds := was.Cursor
			if now.After(holds) {
				holds = now
			}
			b.until("the other job goes on", func() bool { return b.recorded(started(other, holds)) > 10 })
			if n := b.recorded(started(a, holds)); n > 0 {
				t.Errorf("%d runs of the job were started that were due after the edit held", n)
			}
		})
	}
}

// started matches runs of a job that were due after an instant, and started.
func started(j job.Job, after time.Time) func(*job.Run) bool {
	return func(r *job.Run) bool {
		return r.FireID.Job == j.UID && r.ScheduledAt.After(after) && r.State.Started()
	}
}

// TestI26_CalendarsAreInViewOnceAllIsPlannedByThem: a shard's view is as of a change
// of calendars only when all jobs that they move are planned by it, and no change of
// one matters where no job has any.
func TestI26_CalendarsAreInViewOnceAllIsPlannedByThem(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{Schedules: []string{"@daily"}, Calendars: []string{"c"}, OnExcluded: job.ExcludedNext})
	d.calendarsDone = -1 // all that is known is newer
	keys := func() int { v := d.views(); return len(d.writer.editKeys(&v)) }
	if n := keys(); n != 2 {
		t.Errorf("%d keys of edits are compared where no job has a calendar", n)
	}
	d.anyCalendars = true
	d.replan = []*entry{e}
	if v := d.views(); v.calendars != -1 || keys() != 3 {
		t.Errorf("a job is still planned by what the calendars were, and they count as of %d", v.calendars)
	}
	d.followCalendars()
	if v := d.views(); v.calendars != d.calendarsRev {
		t.Errorf("all are planned, and they count as of %d, not %d", v.calendars, d.calendarsRev)
	}
	if !(view{calendars: 3}).isBehind(view{calendars: 4}) {
		t.Error("a view of calendars that lacks an edit is not behind")
	}
}

// TestReadyTellsOfShardsThatAreBehind: a node one of whose shards waits for an edit
// for long is not ready, and says why.
func TestReadyTellsOfShardsThatAreBehind(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := &Engine{cfg: *d.cfg, deps: *d.deps, keeper: timekeeper.New(timekeeper.Deps{}), shards: map[job.ShardID]*shard{1: d.shard}}
	tells := func() bool {
		return slices.ContainsFunc(e.Ready(), func(why string) bool { return strings.Contains(why, "lacks an edit") })
	}
	if _, err := d.fellBehind(&write{}, &errBehind{view{jobs: 7}}); err != nil {
		t.Fatal(err)
	}
	if !d.isBehind(d.clock) || tells() {
		t.Error("it is told of at once, or not behind")
	}
	d.clock += unreadyAfter + 1
	if !d.isBehind(d.clock) || !tells() {
		t.Error("it is not told of")
	}
	d.jobsRev = 7
	if d.isBehind(d.clock) || tells() {
		t.Error("it is behind, and has come so far")
	}
}

// TestRestOfACommitStoresItsStateOnce: what is left of a commit whose view lacked an
// edit stores the state anew, and not as it was to be as well, whether there was a
// plan in it or not: etcd takes no key twice. Nothing of the plan is in it.
func TestRestOfACommitStoresItsStateOnce(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1, 3} {
		for _, late := range []bool{false, true} { // the state was added after all else
			d := newDesk(t, 1)
			w := &write{}
			if others > 1 {
				w.batch, w.planned = &batch{}, []clientv3.Op{clientv3.OpPut(d.cfg.Keys.Slot(d.number, 99), "")}
			}
			state := func() {
				if err := d.gatherState(w, d.clock); err != nil {
					t.Fatal(err)
				}
			}
			if !late {
				state()
			}
			for i := range others {
				w.ops = append(w.ops, clientv3.OpPut(d.cfg.Keys.Slot(d.number, uint64(i)), ""))
			}
			if late {
				state()
			}
			rest, err := d.fellBehind(w, &errBehind{need: view{jobs: 1}})
			if err != nil {
				t.Fatal(err)
			}
			if others == 0 {
				if rest != nil {
					t.Errorf("late %v: nothing else was in it, and %d operations are left", late, rest.size())
				}
				continue
			}
			keys := map[string]int{}
			ops, err := d.writer.txn(rest)
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range ops {
				keys[string(op.KeyBytes())]++
			}
			if len(keys) != others+1 || len(ops) != others+1 || keys[d.cfg.Keys.State(d.number)] != 1 {
				t.Errorf("%d others, late %v: %v", others, late, keys)
			}
		}
	}
}
