package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/admit"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// capBook is what etcd has of permits, for desks.
type capBook struct {
	values map[cluster.Cap]*etcdkv.Permits
	revs   map[cluster.Cap]int64
	rev    int64
	// behind: desks do not see what others write.
	behind bool
	// asks, unless nil, is told of each round with what was stored before.
	asks func(*admit.Round, map[cluster.Cap]etcdkv.Permits)
}

func newCapBook() *capBook {
	return &capBook{values: map[cluster.Cap]*etcdkv.Permits{}, revs: map[cluster.Cap]int64{}, rev: 1}
}

// serve does what a desk wants of etcd, and reports whether there was anything.
func (b *capBook) serve(s *shard) bool {
	if b == nil {
		return false
	}
	if !b.behind {
		b.show(s)
		s.admission.CapsChanged()
	}
	s.admission.TendPermits(false)
	told := s.mail
	s.mail = nil
	for _, fn := range told {
		fn()
	}
	return len(told) > 0
}

// deskBook is the book of a desk's shard.
type deskBook struct{ d *desk }

func (b deskBook) Do(_ context.Context, r *admit.Round) error {
	b.d.book.write(r)
	return nil
}

func (b deskBook) Read(context.Context) (map[admit.Holder][]cluster.Cap, error) {
	left := map[admit.Holder][]cluster.Cap{}
	for k, v := range b.d.book.values {
		for _, h := range v.Holders {
			for _, m := range h.Minions {
				if h.Shard == b.d.number {
					id := admit.Holder{Fire: h.Fire, Minion: m}
					left[id] = append(left[id], k)
				}
			}
		}
	}
	return left, nil
}

func (deskBook) Collect(context.Context, cluster.Cap) error { return nil }

// write does a round.
func (b *capBook) write(r *admit.Round) {
	r.Seen = map[cluster.Cap]cluster.CapCount{}
	for k := range r.Keys {
		if b.values[k] == nil {
			b.values[k] = &etcdkv.Permits{Label: k.Label, Value: k.Value}
		}
	}
	before := map[cluster.Cap]etcdkv.Permits{}
	for k := range r.Keys {
		before[k] = etcdkv.Permits{Holders: slices.Clone(b.values[k].Holders)}
		for i, h := range before[k].Holders {
			before[k].Holders[i].Minions = slices.Clone(h.Minions)
		}
	}
	changed := r.Decide(b.values)
	if b.asks != nil {
		b.asks(r, before)
	}
	b.rev++
	for k := range r.Keys {
		if _, is := changed[k]; is {
			b.revs[k] = b.rev
		}
		r.Seen[k] = cluster.CapCount{Rev: b.revs[k], Count: b.values[k].Count()}
		if len(b.values[k].Holders) == 0 {
			delete(b.values, k)
		}
	}
}

// show has a desk see what is stored.
func (b *capBook) show(s *shard) {
	view := &cluster.Caps{Rev: b.rev, By: map[cluster.Cap]cluster.CapCount{}}
	for k, v := range b.values {
		view.By[k] = cluster.CapCount{Rev: b.revs[k], Count: v.Count()}
	}
	s.deps.Cluster.SetCaps(view)
}

func (b *capBook) count() int {
	n := 0
	for _, v := range b.values {
		n += v.Count()
	}
	return n
}

// capWorld is two shards whose runs are under the same cap, and their minions.
type capWorld struct {
	t     *rapid.T
	desks []*desk
	book  *capBook
	at    int64
	// most is the highest bound of any run. ordered are the attempts that minions have,
	// ended those that have ended there; busy are the tasks under way.
	most           int
	ordered, ended map[job.TaskID]bool
	busy           map[admit.Holder]bool
}

func newCapWorld(t *testing.T, rt *rapid.T) *capWorld {
	w := &capWorld{t: rt, book: newCapBook(), most: rapid.IntRange(1, 3).Draw(rt, "most"), ordered: map[job.TaskID]bool{}, ended: map[job.TaskID]bool{}, busy: map[admit.Holder]bool{}}
	w.book.asks = w.asks
	for i := range 2 {
		d := newDesk(t, 5)
		d.racks = map[job.MinionID]string{"m00": "a", "m01": "a", "m02": "a", "m03": "b", "m04": ""}
		d.number, d.book, d.ordered = job.ShardID(i+1), w.book, w.order
		d.open()
		w.desks = append(w.desks, d)
	}
	return w
}

// order is told of an order, and checks the cap. A task counts from its first
// attempt until it is over.
func (w *capWorld) order(o *job.Order) {
	w.ordered[o.Task] = true
	w.busy[admit.Holder{Fire: o.Task.Fire, Minion: o.Task.Minion}] = true
	rack := w.desks[0].racks[o.Task.Minion]
	n := 0
	for id := range w.busy {
		if w.desks[0].racks[id.Minion] == rack {
			n++
		}
	}
	v := w.book.values[cluster.Cap{Label: "rack", Value: rack}]
	if n > w.most || v == nil || !v.Holds(o.Task.Fire, o.Task.Minion) {
		w.t.Fatalf("I18: %d tasks are under way in rack %q with %s, and %d may be; those that count: %+v", n, rack, o.Task, w.most, v)
	}
}

// asks checks what a shard got: a task gets a permit where, with it, there are no
// more than its own run's bound.
func (w *capWorld) asks(r *admit.Round, before map[cluster.Cap]etcdkv.Permits) {
	bounds := map[cluster.Cap][]int{}
	for _, a := range r.Asks {
		if _, ok := r.Granted[a.Holder]; !ok {
			continue
		}
		for k, most := range a.Bounds {
			if was := before[k]; !was.Holds(a.Fire, a.Minion) {
				bounds[k] = append(bounds[k], most)
			}
		}
	}
	for k, got := range bounds {
		slices.Sort(got) // some order of them must do
		n := w.book.values[k].Count() - len(got)
		for i, most := range got {
			if n+i >= most {
				w.t.Fatalf("I18: permits under %v were given to runs with the bounds %v where %d counted", k, got, n)
			}
		}
	}
}

// attempts is how often a task is tried.
const attempts = 2

// open are the tasks of which a shard waits to hear, in an order that depends on
// nothing but them.
func (w *capWorld) open() []func(job.State) {
	var out []func(job.State)
	for i := range w.desks {
		d := w.desks[i]
		for _, id := range slices.SortedFunc(maps.Keys(d.fires), func(a, b job.FireID) int { return int(a.At - b.At) }) {
			f := d.fires[id]
			for _, t := range f.tasks {
				if f.ended() || !t.phase.MayBeOut() {
					continue
				}
				task := f.taskID(t)
				out = append(out, func(state job.State) {
					switch {
					case !w.ordered[task]:
						state = "" // its minion has never heard of it
					case w.ended[task]:
						state = job.StateSucceeded
					}
					over := state.Final()
					if state == "" {
						// Who is asked takes no order of an earlier owner any more.
						over = t.phase.AtMinion() || t.phase != phase.Unknown && d.clock > t.notAfter
						if t.phase == phase.Unknown {
							w.ordered[task] = false
							delete(w.busy, admit.Holder{Fire: task.Fire, Minion: task.Minion})
						}
					}
					w.ended[task] = w.ended[task] || over
					if over && (state != job.StateFailed || task.Attempt == attempts) {
						delete(w.busy, admit.Holder{Fire: task.Fire, Minion: task.Minion})
					}
					d.says(f, task.Minion, state)
				})
			}
		}
	}
	return out
}

// TestI18_CapModel has runs of two shards under one cap start, end, fail, be
// retried, get lost on their way and change their owners at random: never are
// there more under way than any run that starts one allows; all runs end, and
// nobody counts then.
func TestI18_CapModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newCapWorld(t, rt)
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, 1).Draw(rt, "shard")
			d := w.desks[i]
			w.book.behind = rapid.IntRange(0, 3).Draw(rt, "behind") == 0
			switch what := rapid.SampledFrom([]string{"start", "end", "end", "end", "lost", "take", "half", "wait"}).Draw(rt, "what"); what {
			case "start":
				w.start(d)
			case "end", "lost":
				open := w.open()
				if len(open) == 0 {
					continue
				}
				state := job.State("")
				if what == "end" {
					state = rapid.SampledFrom([]job.State{job.StateSucceeded, job.StateFailed, job.StateRunning}).Draw(rt, "state")
				}
				open[rapid.IntRange(0, len(open)-1).Draw(rt, "task")](state)
			case "half": // what is asked for is written, and its owner dies before it knows
				d.admission.TendPermits(false)
				d.mail = nil
				w.take(i)
			case "take":
				w.take(i)
			case "wait":
				d.pass(time.Second)
			}
		}
		w.book.behind = false
		for range 1000 {
			for _, d := range w.desks {
				d.pass(10 * time.Second)
			}
			open := w.open()
			if len(open) == 0 && w.allEnded() {
				if n := w.book.count(); n != 0 {
					rt.Fatalf("%d count under the caps, and nothing runs", n)
				}
				return
			}
			for _, say := range open {
				say(job.StateSucceeded)
			}
		}
		rt.Fatal("not all runs end")
	})
}

// start begins a run of a shard.
func (w *capWorld) start(d *desk) {
	w.at++
	bound := rapid.IntRange(1, w.most).Draw(w.t, "bound")
	r := job.Rollout{ClusterMaxPer: map[string]int{"rack": bound}}
	if rapid.Bool().Draw(w.t, "batched") {
		r.Batch = rapid.SampledFrom([]job.Amount{"1", "2"}).Draw(w.t, "batch")
	}
	e := d.job(job.Spec{Overlap: job.OverlapAllow, Rollout: r, Retry: job.Retry{Attempts: attempts}})
	id := job.FireID{Job: e.uid, At: w.at, Trigger: job.TriggerManual}
	hosts := d.hosts
	if rapid.Bool().Draw(w.t, "on one") {
		hosts = hosts[:1]
	}
	d.fire(e, fire{id: id, hosts: hosts})
}

// take has a shard change its owner.
func (w *capWorld) take(i int) {
	if len(w.desks[i].fires) == 0 {
		return
	}
	for _, f := range w.desks[i].fires {
		w.desks[i], _ = w.desks[i].taken(f)
		return
	}
}

func (w *capWorld) allEnded() bool {
	for _, d := range w.desks {
		for _, f := range d.fires {
			if !f.ended() {
				return false
			}
		}
	}
	return true
}

// TestCapIsShown: people are told what a run waits for.
func TestCapIsShown(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.book = newCapBook()
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": 1}}}), fire{})
	d.wantSent("m00")
	want := `waiting for one of 1 tasks in the cluster to end where rack is ""; its clusterMaxPer is 1`
	if live := d.live("", ""); len(live) != 1 || live[0].Reason != want {
		t.Errorf("shown as %+v, want the reason %q", live, want)
	}
	d.says(f, "m00", job.StateSucceeded)
	d.wantSent("m00", "m01")
}

// TestChangesOfCapsWakeShards: a shard whose tasks wait for room is woken by each
// change of a cap, once; others are left alone.
func TestChangesOfCapsWakeShards(t *testing.T) {
	t.Parallel()
	d, other := newDesk(t, 2), newDesk(t, 1)
	d.book = newCapBook()
	d.fire(d.job(job.Spec{Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": 1}}}), fire{})
	other.deps.Cluster = d.deps.Cluster
	m := &membership{e: &Engine{deps: *d.deps, shards: map[job.ShardID]*shard{1: d.shard, 2: other.shard}}}
	d.deps.Cluster.SetCaps(&cluster.Caps{})
	for range 3 {
		m.wakeForCaps()
	}
	if len(d.mail) != 1 || len(other.mail) != 0 {
		t.Errorf("woken %d and %d times, want 1 and 0", len(d.mail), len(other.mail))
	}
	d.deps.Cluster.SetCaps(&cluster.Caps{})
	m.wakeForCaps()
	if len(d.mail) != 2 {
		t.Errorf("woken %d times by two changes", len(d.mail))
	}
}

// TestI18_SweepGivesBackWhatIsOver: what earlier owners have left for fires that
// are not open is given back before anything is asked for.
func TestI18_SweepGivesBackWhatIsOver(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.book = newCapBook()
	k, over := cluster.Cap{Label: "rack", Value: ""}, job.FireID{Job: job.UID{9}, At: 1, Trigger: job.TriggerManual}
	d.book.values[k] = &etcdkv.Permits{Label: k.Label, Value: k.Value}
	d.book.values[k].Add(over, d.number, "gone")
	d.fire(d.job(job.Spec{Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": 1}}}), fire{})
	d.wantSent("m00")
	if v := d.book.values[k]; v.Count() != 1 || v.Holds(over, "gone") {
		t.Errorf("%+v count, want m00 only", v.Holders)
	}
}

// TestPermitOfNoUseIsGivenBack: a task that has its permit and may not start any
// more, as when the window of its own run is full, keeps nobody waiting.
func TestPermitOfNoUseIsGivenBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.book = newCapBook()
	spec := job.Spec{Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": 3}, Batch: "2"}}
	f := d.fire(d.job(spec), fire{})
	d.wantSent("m00", "m01")
	k := cluster.Cap{Label: "rack", Value: ""}
	d.book.values[k].Add(f.id, d.number, "m02") // its owner died when it had just asked
	next, f := d.taken(f)
	for _, m := range next.hosts {
		if m != "m02" {
			next.says(f, m, job.StateRunning)
		}
	}
	next.says(f, "m02", "")
	next.wantSent()
	if v := d.book.values[k]; v.Count() != 2 || v.Holds(f.id, "m02") {
		t.Errorf("%+v count, want m00 and m01", v.Holders)
	}
	next.says(f, "m01", job.StateSucceeded)
	next.wantSent("m02")
}

// TestPermitStaysWhileAnOrderMayArrive: a task that was sent, and is said not to
// have come, counts for as long as its order may yet come, though it waits.
func TestPermitStaysWhileAnOrderMayArrive(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.book = newCapBook()
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{
		ClusterMaxPer: map[string]int{"rack": 2}, Batch: "2", Pause: job.Duration(time.Hour),
	}}), fire{})
	d.wantSent("m00", "m01")
	d.says(f, "m00", job.StateSucceeded)
	d.says(f, "m01", "") // the batch is over so far: nothing is sent for an hour
	if n := d.book.count(); n != 1 || d.sent["m01"] != 1 {
		t.Errorf("%d count, and m01 was sent to %d times; want one that counts, sent once", n, d.sent["m01"])
	}
	d.pass(d.cfg.MaxMessageExpired + time.Second)
	if n := d.book.count(); n != 0 {
		t.Errorf("%d count, and no order is on its way", n)
	}
}

// TestRoundsAreBounded: tasks under very many caps get their permits in several
// rounds, each of which etcd takes.
func TestRoundsAreBounded(t *testing.T) {
	t.Parallel()
	const hosts = 100
	d := newDesk(t, hosts)
	d.racks = map[job.MinionID]string{}
	for i, m := range d.hosts {
		d.racks[m] = fmt.Sprint(i)
	}
	d.book = newCapBook()
	e := d.job(job.Spec{Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": 1}}})
	f := d.fire(e, fire{})
	if len(d.sent) != hosts || d.book.count() != hosts {
		t.Errorf("%d were sent, and %d count; want %d", len(d.sent), d.book.count(), hosts)
	}
	if d.book.rev < hosts/admit.MaxCapKeys {
		t.Errorf("%d rounds, want at least %d", d.book.rev, hosts/admit.MaxCapKeys)
	}
	for _, m := range d.hosts {
		d.says(f, m, job.StateSucceeded)
	}
	if d.book.count() != 0 {
		t.Errorf("%d count, and nothing runs", d.book.count())
	}
}
