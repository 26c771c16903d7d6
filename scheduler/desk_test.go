package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// desk is a shard without etcd and without a goroutine of its own: a test is its
// clock, its minions and its history, and does its steps.
type desk struct {
	*shard

	t       *testing.T
	clock   int64
	hosts   []job.MinionID
	away    []job.Uncontrollable
	revoked job.MinionID
	// left is when minions were connected last that are gone; forgotten is one that
	// was forgotten, reached are those that are connected, by etcd.
	left      map[job.MinionID]int64
	forgotten job.MinionID
	reached   map[job.MinionID]bool
	canaries  []job.MinionID // what a target expression matches
	sent      map[job.MinionID]int
	cancelled map[job.MinionID]bool
	asked     int                   // questions about tasks
	questions []job.Ref             // these
	recorded  map[job.RunID]job.Run // what earlier owners have recorded
	runs      []job.Run
	// stored are the slots as etcd has them, by their numbers.
	stored map[uint64][]byte
	// number is the shard's; racks are the minions' values of all labels. book is
	// what etcd has of permits, nil: there are none; ordered is told of orders.
	number  job.ShardID
	racks   map[job.MinionID]string
	book    *capBook
	ordered func(*job.Order)
	// looked is called before each look at the minions.
	looked func()
	// held is the end of the owner's lease. terms counts the owners.
	held  time.Duration
	terms uint32
}

func newDesk(t *testing.T, hosts int) *desk {
	t.Helper()
	d := &desk{t: t, number: 1, clock: int64(time.Hour), sent: map[job.MinionID]int{}, cancelled: map[job.MinionID]bool{}}
	for i := range hosts {
		d.hosts = append(d.hosts, job.MinionID(fmt.Sprintf("m%02d", i)))
	}
	d.open()
	return d
}

func (d *desk) open() {
	d.t.Helper()
	met, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		d.t.Fatal(err)
	}
	cfg := Config{Node: "n", Identity: "n", Keys: etcdkv.NewKeys(""), Meta: etcdkv.Meta{Schema: 1, Epoch: 1, Shards: 4}}.filled()
	d.shard = newShard(d.number, &lock.Ownership{}, &cfg, &Deps{
		Minions: d, History: d, Records: d, Logger: zap.NewNop().WithOptions(zap.Development()), Cluster: cluster.New(nil, cfg.Keys, cfg.Meta), Schedules: schedule.NewCache(),
		Now: func() time.Time { return time.Unix(0, d.clock) }, bestEffort: newBestEffort(context.Background()),
	}, met)
	d.admission = d.newAdmission(deskBook{d})
	d.spawn = func(fn func(context.Context)) { fn(context.Background()) }
	d.heldUntil = func() time.Duration { return d.held }
	d.nextTerm = func() uint32 {
		d.terms++
		return d.terms
	}
	d.term = d.nextTerm()
	d.gone.there = func(context.Context) (map[job.MinionID]bool, error) { return d.reached, nil }
	if d.book != nil {
		d.deps.bestEffort.slots = nil // there is no etcd in which to look at others' runs
	}
}

func (d *desk) Match(t job.Target) []job.MinionID {
	if d.looked != nil {
		d.looked()
	}
	if t.Match != "" {
		return d.canaries
	}
	return d.hosts
}
func (d *desk) Reach(t job.Target) ([]job.MinionID, []job.Uncontrollable) {
	return d.Match(t), d.away
}
func (d *desk) Value(m job.MinionID, _ string) string { return d.racks[m] }
func (d *desk) Connected(m job.MinionID) bool         { return d.left[m] == 0 }
func (d *desk) Revoked(m job.MinionID) bool           { return d.revoked == m }
func (*desk) Ack([]job.TaskID)                        {}
func (d *desk) Record(run job.Run, _ func(error))     { d.runs = append(d.runs, run) }

func (d *desk) Absence(m job.MinionID) (job.Absence, bool) {
	at, is := d.left[m]
	return job.Absence{Since: time.Unix(0, at).UTC(), For: time.Duration(d.clock - at), Forgotten: m == d.forgotten}, is
}

func (d *desk) Absences() uint64 { return uint64(len(d.left)) }

func (d *desk) Get(_ context.Context, id job.RunID) (job.Run, error) {
	if run, ok := d.recorded[id]; ok {
		return run, nil
	}
	return job.Run{}, job.ErrNotFound
}

func (d *desk) Since(context.Context, job.UID, time.Time, func(*job.Run)) (bool, error) {
	return true, nil
}

func (d *desk) Ask(refs []job.Ref) {
	d.asked += len(refs)
	d.questions = append(d.questions, refs...)
}

func (d *desk) Send(orders []job.Order) {
	for i := range orders {
		d.sent[orders[i].Task.Minion]++
		if d.ordered != nil {
			d.ordered(&orders[i])
		}
	}
}

func (d *desk) Cancel(refs []job.Ref, _ string) {
	for _, r := range refs {
		d.cancelled[r.Task.Minion] = true
	}
}

// job puts a job into the shard, in place of an earlier one of that name.
func (d *desk) job(spec job.Spec) *entry {
	d.t.Helper()
	spec.Command = []string{"x"}
	if spec.Target.Run == "" {
		spec.Target.Run = job.SpreadAll
	}
	value, err := etcdkv.Encode(etcdkv.StoredJob{Schema: 1, Job: job.Job{Metadata: job.Metadata{Namespace: "t", Name: "j"}, UID: job.UID{1}, Spec: spec}})
	if err != nil {
		d.t.Fatal(err)
	}
	e, _, err := newEntry("j", []byte(value), d.deps.Schedules)
	if err != nil {
		d.t.Fatal(err)
	}
	if old := d.jobs[e.key]; old != nil {
		e.own, e.done = old.own, old.done
		d.adopt(old, e)
	}
	d.jobs[e.key] = e
	return e
}

// fire commits a fire of the job and does its first step.
func (d *desk) fire(e *entry, f fire) *fire {
	d.t.Helper()
	f.e = e
	if f.id == (job.FireID{}) {
		f.id = job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerSchedule}
	}
	d.planFire(&batch{}, &f, d.clock)
	d.commitSlot(&f)
	return &f
}

// commitSlot commits fires in a slot, and does their first step.
func (d *desk) commitSlot(fires ...*fire) {
	sl := newSlot(uint64(len(d.slots)+1), d.clock, "n", slices.Clone(fires))
	d.slots[sl.seq] = sl
	d.store(sl)
	for _, f := range fires {
		d.fires[f.id] = f
		d.opened(f)
	}
	d.step()
}

// store writes a slot.
func (d *desk) store(sl *slot) {
	if d.stored == nil {
		d.stored = map[uint64][]byte{}
	}
	d.stored[sl.seq] = sl.encode()
}

// step does what is due, and stores what has changed.
func (d *desk) step() {
	for again := true; again; {
		again = false
		for _, sl := range d.slots {
			for _, t := range unsaved(sl.fires) {
				t.saved, again = true, true
			}
			if sl.dirty {
				sl.dirty, again = false, true
				delete(d.dirty, sl)
				d.store(sl)
			}
			for _, f := range sl.fires {
				if again && f != nil && f.isOpen() {
					d.reconcileAt(f, f.due())
				}
			}
		}
		for d.reconcileSome(d.clock) {
			again = true
		}
		d.gone.tend(d.clock)
		d.flush()
		again = d.book.serve(d.shard) || again
	}
}

func (d *desk) pass(t time.Duration) {
	d.clock += int64(t)
	d.step()
}

// says has a minion report a state of its task; the empty state: it knows none, and
// says so again when it is asked anew.
func (d *desk) says(f *fire, m job.MinionID, state job.State) {
	d.t.Helper()
	i := slices.IndexFunc(f.tasks, func(t *task) bool { return t.minion == m })
	if i < 0 {
		d.t.Fatalf("the fire has no task on %s", m)
	}
	r := job.Report{Task: f.taskID(f.tasks[i]), Shard: 1, Known: state != "", State: state, Spooled: state.Final(), Term: d.term}
	if state != "" {
		r.StartedAt = time.Unix(0, d.clock)
	}
	d.onReport(&r)
	d.step()
	if q := f.tasks[i].question; state == "" && q != 0 && q != r.Term {
		r.Term = q
		d.onReport(&r)
		d.step()
	}
}

// taken returns the shard as its next owner has it, and the fire there. What was
// sent is counted anew.
func (d *desk) taken(f *fire) (*desk, *fire) {
	d.t.Helper()
	next := &desk{
		t: d.t, clock: d.clock, hosts: d.hosts, away: d.away, canaries: d.canaries, revoked: d.revoked, sent: map[job.MinionID]int{}, cancelled: map[job.MinionID]bool{},
		left: d.left, forgotten: d.forgotten, reached: d.reached,
		number: d.number, racks: d.racks, book: d.book, ordered: d.ordered, terms: d.terms,
	}
	next.open()
	for seq, sl := range d.slots {
		if sl.open == 0 {
			continue
		}
		value := d.stored[seq]
		if value == nil {
			value = sl.encode()
		}
		if err := next.loadSlot(d.cfg.Keys.Slot(1, seq), value); err != nil {
			d.t.Fatal(err)
		}
	}
	for key, e := range d.jobs {
		bounds, err := json.Marshal(e.bounds())
		if err != nil {
			d.t.Fatal(err)
		}
		e, _, err := newEntry("j", []byte(fmt.Sprintf(`{"namespace":%q,"name":%q,"uid":%q,"spec":%s,"bounds":%s}`, key.Namespace, key.Name, e.uid, e.raw, bounds)), nil)
		if err != nil {
			d.t.Fatal(err)
		}
		next.jobs[key] = e
	}
	next.recover()
	next.step()
	return next, next.fires[f.id]
}

func (d *desk) wantSent(want ...job.MinionID) {
	d.t.Helper()
	if got := slices.Sorted(maps.Keys(d.sent)); !slices.Equal(got, want) {
		d.t.Errorf("ordered on %v, want %v", got, want)
	}
}

// answered waits for what was asked beside the shard, and takes the answers.
func (d *desk) answered() {
	d.deps.bestEffort.wg.Wait()
	d.mu.Lock()
	mail := d.mail
	d.mail = nil
	d.mu.Unlock()
	for _, fn := range mail {
		fn()
	}
}

func (d *desk) wantRun(state job.State, reason string) {
	d.t.Helper()
	d.answered()
	if len(d.runs) != 1 || d.runs[0].State != state || !strings.Contains(d.runs[0].Reason, reason) {
		d.t.Errorf("recorded %+v, want one that is %s: %s", d.runs, state, reason)
	}
}

// TestI15_RolloutIsThatOfItsCommit: an edit of the job does not change a rollout
// that is under way, for this owner or the next.
func TestI15_RolloutIsThatOfItsCommit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 4)
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{Batch: "1"}}), fire{})
	d.wantSent("m00")
	d.job(job.Spec{})
	d.says(f, "m00", job.StateSucceeded)
	d.wantSent("m00", "m01")
	next, f := d.taken(f)
	next.says(f, "m00", job.StateSucceeded)
	next.says(f, "m01", job.StateRunning)
	next.says(f, "m02", "")
	next.says(f, "m03", "")
	next.wantSent()
	next.says(f, "m01", job.StateSucceeded)
	next.wantSent("m02")
}

// TestI15_PauseOutlivesItsOwner: a new owner lets a batch end, and waits, before
// it begins the next one; and it does not wait when none has begun.
func TestI15_PauseOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	spec := job.Spec{Rollout: job.Rollout{Batch: "2", Pause: job.Duration(time.Minute)}}
	d := newDesk(t, 4)
	f := d.fire(d.job(spec), fire{})
	d.wantSent("m00", "m01")
	d.says(f, "m00", job.StateSucceeded)
	next, f := d.taken(f)
	next.says(f, "m00", job.StateSucceeded)
	next.says(f, "m01", job.StateRunning)
	next.says(f, "m02", "")
	next.says(f, "m03", "")
	next.wantSent()
	next.pass(time.Second)
	next.says(f, "m01", job.StateSucceeded)
	next.pass(59 * time.Second)
	next.wantSent()
	next.pass(time.Second)
	next.wantSent("m02", "m03")

	fresh := newDesk(t, 4)
	g := fresh.fire(fresh.job(spec), fire{})
	after, g := fresh.taken(g)
	for _, m := range after.hosts {
		after.says(g, m, "")
	}
	after.wantSent("m00", "m01")
}

// TestRolloutOfADeletedJobEnds: what has not been started of it never is, also
// where it waits for somebody, or for its next batch.
func TestRolloutOfADeletedJobEnds(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]job.Rollout{
		"manual": {CanaryCount: 1, Promote: job.PromoteManual},
		"pause":  {Batch: "1", Pause: job.Duration(job.MaxRolloutPause)},
	} {
		d := newDesk(t, 5)
		e := d.job(job.Spec{Rollout: r})
		f := d.fire(e, fire{})
		d.says(f, "m00", job.StateSucceeded)
		d.drop(e.key)
		d.step()
		d.wantSent("m00")
		if len(d.runs) != 1 || d.runs[0].State != job.StateCancelled {
			t.Errorf("%s: recorded %+v, want one that is cancelled", name, d.runs)
		}
	}
}

// TestLateRolloutGoesOn: with the misfire policy "skip" a rollout that began in
// time goes on under a new owner however late its last tasks are, and one that
// nobody began is missed.
func TestLateRolloutGoesOn(t *testing.T) {
	t.Parallel()
	spec := job.Spec{Misfire: job.MisfireSkip, Rollout: job.Rollout{Batch: "1"}}
	d := newDesk(t, 3)
	f := d.fire(d.job(spec), fire{})
	d.pass(10 * time.Minute)
	next, f := d.taken(f)
	next.says(f, "m02", "")
	next.says(f, "m01", "")
	next.wantSent()
	next.says(f, "m00", job.StateSucceeded)
	next.wantSent("m01")

	d = newDesk(t, 3)
	f = d.fire(d.job(spec), fire{})
	d.pass(10 * time.Minute)
	next, f = d.taken(f)
	for _, m := range next.hosts {
		next.says(f, m, "")
	}
	next.wantSent()
	next.wantRun(job.StateMissed, `misfire policy "skip"`)
}

// TestLateTaskIsMissed: of a run on several minions that started in time, only
// those tasks are missed that were not started.
func TestLateTaskIsMissed(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	f := d.fire(d.job(job.Spec{Misfire: job.MisfireSkip}), fire{})
	d.pass(10 * time.Minute)
	next, f := d.taken(f)
	next.says(f, "m01", "")
	next.says(f, "m00", job.StateRunning)
	next.wantSent()
	if len(next.runs) != 0 {
		t.Fatalf("recorded while a minion runs it: %+v", next.runs)
	}
	next.says(f, "m00", job.StateSucceeded)
	next.wantRun(job.StateMissed, "missed on 1 of 2 minions")
}

// TestStoppedRolloutEnds: what runs when a rollout is stopped is looked after to
// its end, by a new owner, too, also when nothing is heard of it any more.
func TestStoppedRolloutEnds(t *testing.T) {
	t.Parallel()
	none := job.Amount("0")
	begin := func() (*desk, *fire) {
		d := newDesk(t, 4)
		f := d.fire(d.job(job.Spec{Rollout: job.Rollout{Batch: "2", MaxFailures: &none}}), fire{})
		d.says(f, "m01", job.StateRunning)
		d.says(f, "m00", job.StateFailed)
		return d, f
	}
	d, _ := begin()
	d.pass(24 * time.Hour)
	d.pass(24 * time.Hour)
	d.wantRun(job.StateIndeterminate, "has not said how it ended")
	d.wantSent("m00", "m01")

	d, f := begin()
	d, f = d.taken(f)
	if f.stopped == "" {
		t.Fatal("that it was stopped is not known to the new owner")
	}
	d.says(f, "m02", "")
	d.says(f, "m03", "")
	d.says(f, "m00", job.StateFailed)
	d.pass(24 * time.Hour)
	d.wantRun(job.StateIndeterminate, "m01")
	d.wantSent()
}

// TestI15_StopOutlivesItsOwner: a new owner starts nothing before it has heard of
// all that was sent; it might be what has stopped the rollout.
func TestI15_StopOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	none := job.Amount("0")
	d := newDesk(t, 4)
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{Batch: "2", MaxFailures: &none}}), fire{})
	d.wantSent("m00", "m01")
	d, f = d.taken(f)
	d.says(f, "m02", "")
	d.says(f, "m03", "")
	d.says(f, "m01", job.StateSucceeded)
	d.wantSent()
	d.says(f, "m00", job.StateFailed)
	d.wantSent()
	d.wantRun(job.StateFailed, "failed on 1 of 4 minions")
}

// TestCancelDoesNotWaitForTheGrace: a run that is about to be replaced is ended
// at once when somebody wants so.
func TestCancelDoesNotWaitForTheGrace(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	f.endAt, f.endWhy = d.clock+int64(time.Hour), "replaced"
	d.reconcileAt(f, f.endAt)
	d.cancelFor(f, &etcdkv.RunCommand{By: "ada"}, d.clock)
	d.step()
	if !d.cancelled["m00"] || f.endWhy != "cancelled by ada" {
		t.Errorf("cancelled on %v, because %q", d.cancelled, f.endWhy)
	}
}

// TestNothingStartsOnceARunIsCancelled, not even what its minion is found not to
// have, which an earlier owner may have ordered.
func TestNothingStartsOnceARunIsCancelled(t *testing.T) {
	t.Parallel()
	for _, r := range []job.Rollout{{}, {Batch: "2"}} {
		d := newDesk(t, 3)
		next, f := d.taken(d.fire(d.job(job.Spec{Rollout: r}), fire{}))
		next.cancelFor(f, &etcdkv.RunCommand{By: "ada"}, next.clock)
		next.step()
		for _, m := range next.hosts {
			next.says(f, m, "")
		}
		next.wantSent()
		next.wantRun(job.StateCancelled, "cancelled by ada")
	}
}

// TestSharesAreOfThoseThatCanRun: minions that are uncontrollable count in no
// share of a rollout.
func TestSharesAreOfThoseThatCanRun(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 4)
	for i := range 36 {
		d.away = append(d.away, job.Uncontrollable{Minion: job.MinionID(fmt.Sprintf("z%02d", i)), Reason: "not connected"})
	}
	most := job.Amount("25%")
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{Batch: "50%", MaxFailures: &most}}), fire{})
	d.wantSent("m00", "m01")
	d.says(f, "m00", job.StateFailed)
	d.says(f, "m01", job.StateFailed)
	d.says(f, "m02", job.StateSucceeded)
	d.wantRun(job.StateFailed, "")
	d.wantSent("m00", "m01", "m02") // the third went when the first had failed
}

// TestPlanFitsIntoACommit: fires on very many minions are spread over several
// commits: etcd refuses a slot that is too large, however often it is tried.
func TestPlanFitsIntoACommit(t *testing.T) {
	t.Parallel()
	const jobs, hosts = 60, 5_000
	d := newDesk(t, hosts)
	spec, err := json.Marshal(job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}, Schedules: []string{"@every 1h"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range jobs {
		key := job.Key{Namespace: "t", Name: fmt.Sprintf("j%d", i)}
		text, err := etcdkv.Encode(etcdkv.PlannedJob{Namespace: key.Namespace, Name: key.Name, UID: job.UID{byte(i + 1)}, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		e, _, err := newEntry("j", []byte(text), d.deps.Schedules)
		if err != nil {
			t.Fatal(err)
		}
		d.jobs[key] = e
		d.setNext(e, d.clock)
	}
	fires, commits := 0, 0
	for b := d.plan(d.clock); b != nil; b = d.plan(d.clock) {
		newSlot(0, d.clock, "n", b.fires)
		tasks := 0
		for _, f := range b.fires {
			tasks += len(f.tasks)
		}
		if most := maxTasks + hosts; tasks > most {
			t.Fatalf("%d tasks in one commit, want at most %d", tasks, most)
		}
		fires, commits = fires+len(b.fires), commits+1
	}
	if fires != jobs || commits < 2 {
		t.Errorf("%d fires in %d commits, want %d in several", fires, commits, jobs)
	}
}

// TestQuestionsDoNotComeAmidTheOrders: the more tasks a fire has, the longer its
// owner waits for their minions to say something.
func TestQuestionsDoNotComeAmidTheOrders(t *testing.T) {
	t.Parallel()
	for hosts, patience := range map[int]time.Duration{10: 3 * time.Second, 5000: 4 * time.Second} {
		d := newDesk(t, hosts)
		d.fire(d.job(job.Spec{}), fire{})
		d.pass(patience - time.Millisecond)
		if d.asked > 0 {
			t.Errorf("%d hosts: asked about %d tasks before %s", hosts, d.asked, patience)
		}
		d.pass(time.Millisecond)
		if d.asked != hosts {
			t.Errorf("%d hosts: asked about %d tasks after %s", hosts, d.asked, patience)
		}
	}
}

// TestI8_RecordOfAnEarlierOwnerStands: what a minion remembers of a task that it
// was told to forget does not take the place of the record.
func TestI8_RecordOfAnEarlierOwnerStands(t *testing.T) {
	t.Parallel()
	for name, recorded := range map[string]bool{"recorded": true, "not recorded": false} {
		d := newDesk(t, 2)
		f := d.fire(d.job(job.Spec{}), fire{})
		d, f = d.taken(f)
		if recorded {
			d.recorded = map[job.RunID]job.Run{f.id.RunID(): {RunID: f.id.RunID(), State: job.StateSucceeded, Reason: "all of it"}}
		}
		for i := range f.tasks {
			d.onReport(&job.Report{Task: f.taskID(f.tasks[i]), Shard: 1, Known: true, State: job.StateSucceeded, Reason: "was acknowledged before"})
		}
		d.answered()
		if wrote := len(d.runs) > 0; wrote == recorded {
			t.Errorf("%s: wrote %d records", name, len(d.runs))
		}
		if recorded && (f.run.Reason != "all of it" || d.fires[f.id] != nil) {
			t.Errorf("%s: the fire is not closed with the record: %+v", name, f.run)
		}
	}
}
