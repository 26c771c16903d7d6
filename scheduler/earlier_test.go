package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// The model below knows which schedule a job had when, and nothing of how an owner
// comes to its instants. What is stored, and what two shards make of it, is the
// product's own.

// era is a schedule that a job had from one instant to another.
type era struct {
	every        time.Duration // 0: none, since it was disabled
	since, until int64
	// killed is when it was disabled or deleted after that; 0: it was not.
	killed int64
}

// ledger is what etcd holds of a shard.
type ledger struct {
	number job.ShardID
	keys   etcdkv.Keys
	values map[string]string
	rev    *int64
	mod    map[string]int64
	create map[string]int64
	owner  *desk // nil: nobody owns it
	terms  uint32
}

func (l *ledger) put(key, value string) {
	if _, ok := l.values[key]; !ok {
		l.create[key] = *l.rev
	}
	l.values[key], l.mod[key] = value, *l.rev
}

func (l *ledger) state() (s etcdkv.ShardState) {
	if text, ok := l.values[l.keys.State(l.number)]; ok {
		s, _ = etcdkv.Decode[etcdkv.ShardState]("state", []byte(text))
	}
	return s
}

func (l *ledger) under(prefix string) []string {
	var out []string
	for k := range l.values {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// take has another owner begin with the shard.
func (l *ledger) take(t *testing.T, clock int64) {
	l.terms++
	d := &desk{t: t, clock: clock, hosts: []job.MinionID{"m00"}, sent: map[job.MinionID]int{}, cancelled: map[job.MinionID]bool{}, number: l.number, terms: l.terms}
	d.open()
	d.cfg.MisfireGrace = 2 * time.Second
	d.askGone = func(context.Context, *entry) {}
	l.owner = d
	d.state = l.state()
	d.stateRev = l.mod[l.keys.State(l.number)]
	d.planned = d.state.Cursor.UnixNano()
	if d.stateRev == 0 {
		d.state, d.planned = etcdkv.ShardState{}, 0
	}
	for _, key := range l.under(l.keys.Slots(l.number)) {
		if err := d.loadSlot(key, []byte(l.values[key])); err != nil {
			t.Fatal(err)
		}
	}
	d.listed = true
	d.triggers.read = true
	b := etcdkv.Batch{Rev: *l.rev, Relist: true}
	for _, key := range l.under(l.keys.ShardJobs(l.number)) {
		b.Events = append(b.Events, etcdkv.Event{Key: key, Value: []byte(l.values[key]), CreateRevision: l.create[key], ModRevision: l.mod[key]})
	}
	d.onJobs(t.Context(), b)
	var found []*movedOut
	for i, prefix := range []string{l.keys.Moved(l.number), l.keys.Deleted(l.number)} {
		for _, key := range l.under(prefix) {
			m, err := d.records.read(key, []byte(l.values[key]))
			if err != nil {
				t.Fatal(err)
			}
			m.deleted = i == 1
			m.e.Gone = m.deleted
			if !m.deleted {
				m.at = 0
			}
			found = append(found, m)
		}
	}
	d.shard.taken(found)
}

// see has the owner see what has changed of a job's key.
func (l *ledger) see(t *testing.T, now int64, key string, uid job.UID) {
	d := l.owner
	if d == nil {
		return
	}
	d.clock = now
	value, ok := l.values[key]
	ev := etcdkv.Event{Key: key, ModRevision: *l.rev}
	var gone *entry
	if ok {
		ev.Value, ev.CreateRevision = []byte(value), l.create[key]
	} else if _, k, err := l.keys.ParseJob(key); err == nil {
		gone = d.jobs[k]
	}
	d.onJobs(t.Context(), etcdkv.Batch{Rev: *l.rev, Events: []etcdkv.Event{ev}})
	if gone == nil {
		return
	}
	moved, deleted := l.keys.MovedJob(l.number, uid), l.keys.DeletedJob(l.number, uid)
	switch text, ok := l.values[deleted]; {
	case ok:
		r, err := etcdkv.Decode[etcdkv.DeletedJob](deleted, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		d.vanish(gone, goneRecord{deleted, true, r.At})
	case l.values[moved] != "":
		d.vanish(gone, goneRecord{key: moved})
	default:
		d.vanish(gone, goneRecord{})
	}
}

// commit has the owner plan and commit until nothing is due, and returns what it
// committed. Its minions do at once what they are told.
// Some commits lack an edit, as the draw says.
func (l *ledger) commit(t *testing.T, now int64, lacks func() bool) (out []etcdkv.SlotEntry) {
	d := l.owner
	d.clock = now
	for range 100 {
		d.step()
		for _, f := range d.fires {
			if f.isOpen() && f.tasks[0].minion != "" && f.tasks[0].saved && f.due() <= now {
				d.onReport(&job.Report{Task: f.taskID(f.tasks[0]), Shard: l.number, Known: true, State: job.StateSucceeded, Spooled: true, Term: d.term})
			}
		}
		for _, f := range d.fires {
			if f.ended() {
				d.close(f)
			}
		}
		w, err := d.gather(now)
		if err != nil {
			t.Fatal(err)
		}
		if w.size() == 0 {
			break
		}
		if w.view != nil && lacks() {
			w, err = d.fellBehind(w, &errBehind{d.views()}) // it is in view by now
			if err != nil {
				t.Fatal(err)
			}
			if w == nil {
				continue
			}
		}
		*l.rev++
		ops, err := d.writer.txn(w)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ops {
			switch {
			case op.IsPut():
				l.put(string(op.KeyBytes()), string(op.ValueBytes()))
			case op.IsDelete():
				delete(l.values, string(op.KeyBytes()))
			}
		}
		for _, f := range w.fires {
			e := f.stored()
			out = append(out, e)
		}
		d.written(w, *l.rev, nil)
	}
	return out
}

// TestI25_AnEditLosesNothing: each instant of each schedule that a job had, within
// the time for which it had it, is committed once: to be run, or as skipped or
// missed, with the reason. So whatever is done to the job, however often, whether
// anybody owns its shard then, who owns it next, and to where it moves.
func TestI25_AnEditLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) { editedJob(t, rt) })
}

func editedJob(t *testing.T, rt *rapid.T) {
	rev := int64(10)
	keys := etcdkv.NewKeys("")
	begin := int64(time.Hour)
	clock := begin
	var shards []*ledger
	for i := range 2 {
		shards = append(shards, &ledger{
			number: job.ShardID(i + 1), keys: keys, values: map[string]string{}, mod: map[string]int64{}, create: map[string]int64{}, rev: &rev,
		})
	}
	key := job.Key{Namespace: "t", Name: "j"}
	cache := schedule.NewCache()
	home := 0
	var eras []era
	committed := map[int64]etcdkv.SlotEntry{}
	at := func(n int64) time.Time { return time.Unix(0, n).UTC() }
	off := false
	var now *etcdkv.StoredJob // nil: deleted
	name := func() string { return keys.Job(shards[home].number, key) }
	store := func() {
		text, err := etcdkv.Encode(now)
		if err != nil {
			rt.Fatal(err)
		}
		shards[home].put(name(), text)
	}
	specOf := func(every time.Duration) job.Spec {
		s := job.Spec{
			Schedules: []string{"@every " + every.String()}, Command: []string{"x"}, Target: job.Target{Run: job.SpreadOne},
			Overlap: job.OverlapAllow, Misfire: job.MisfireAll,
		}
		if every == 0 {
			s.Schedules = []string{"@every 1s"}
			s.Enabled = &off
		}
		return s
	}
	kill := func() {
		for i := range eras {
			if eras[i].killed == 0 {
				eras[i].killed = clock
			}
		}
	}
	everies := []time.Duration{300 * time.Millisecond, 500 * time.Millisecond, 700 * time.Millisecond, time.Second}
	draw := func() time.Duration { return rapid.SampledFrom(everies).Draw(rt, "every") }
	uid := job.UID{7}
	first := draw()
	now = &etcdkv.StoredJob{Schema: 1, Job: job.Job{Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}, UID: uid, Spec: specOf(first), After: at(clock)}}
	eras = append(eras, era{every: first, since: clock, until: never})
	store()
	edit := func(every time.Duration) {
		next := *now
		next.Spec = specOf(every)
		if now.Spec.SameSchedule(&next.Spec) {
			return
		}
		l := shards[home]
		var reached time.Time
		if st := l.state(); l.create[name()] <= st.JobsRev {
			reached = st.Cursor
		}
		err := next.Replace(now, at(clock), reached, func(e *etcdkv.Earlier) bool {
			set, err := cache.ParseSet(e.Spec.Schedules, schedule.OptionsOf(key, &e.Spec))
			if err != nil {
				rt.Fatal(err)
			}
			n, ok := set.Next(e.Since)
			return !ok || n.After(e.Until)
		})
		if errors.Is(err, etcdkv.ErrTooManyEarlier) {
			return // refused
		}
		rev++
		now = &next
		eras[len(eras)-1].until = clock
		if every == 0 {
			kill()
		}
		eras = append(eras, era{every: every, since: clock, until: never})
		store()
		l.see(t, clock, name(), uid)
	}
	commit := func() {
		for _, l := range shards {
			if l.owner == nil {
				continue
			}
			for _, e := range l.commit(t, clock, func() bool { return rapid.IntRange(0, 3).Draw(rt, "lacks an edit") == 0 }) {
				if e.Fire.Job != uid {
					rt.Fatalf("committed %v of another job", e.Fire)
				}
				if _, twice := committed[e.Fire.At]; twice {
					rt.Fatalf("the instant %v is committed twice", time.Duration(e.Fire.At-begin))
				}
				committed[e.Fire.At] = e
				if stopped := now == nil || !now.Spec.IsEnabled(); stopped && e.State == etcdkv.EntryOpen {
					rt.Fatalf("the instant %v is to be run, and the job is stopped", time.Duration(e.Fire.At-begin))
				}
			}
		}
	}
	for range rapid.IntRange(3, 40).Draw(rt, "steps") {
		l := shards[home]
		switch rapid.IntRange(0, 11).Draw(rt, "what") {
		case 0, 1:
			if now != nil {
				edit(draw())
			}
		case 2:
			if now != nil {
				edit(0)
			}
		case 3: // deleted
			if now == nil || rapid.IntRange(0, 3).Draw(rt, "delete") > 0 {
				continue
			}
			rev++
			record, err := etcdkv.Encode(etcdkv.DeletedJob{Schema: 1, Job: now.Job, At: at(clock), Created: l.create[name()], Earlier: now.Earlier})
			if err != nil {
				rt.Fatal(err)
			}
			l.put(keys.DeletedJob(l.number, uid), record)
			delete(l.values, name())
			eras[len(eras)-1].until = clock
			kill()
			now = nil
			l.see(t, clock, name(), uid)
		case 4: // moved; the old shard's owner begins anew
			if now == nil {
				continue
			}
			rev++
			st := l.state()
			reached := etcdkv.Begins(now.After, now.Earlier)
			if l.create[name()] <= st.JobsRev && st.Cursor.After(reached) {
				reached = st.Cursor
			}
			open := false
			for _, k := range l.under(keys.Slots(l.number)) {
				sl, err := etcdkv.DecodeSlot([]byte(l.values[k]))
				if err != nil {
					rt.Fatal(err)
				}
				for _, e := range sl.Entries {
					open = true
					if last := at(max(e.Fire.At, e.Until)); last.After(reached) {
						reached = last
					}
				}
			}
			next := *now
			next.Leave(reached)
			now = &next
			if open {
				record, err := etcdkv.Encode(etcdkv.MovedJob{Schema: 1, To: shards[1-home].number, Job: now.Job})
				if err != nil {
					rt.Fatal(err)
				}
				l.put(keys.MovedJob(l.number, uid), record)
			}
			delete(l.values, name())
			gone := name()
			home = 1 - home
			delete(shards[home].values, keys.MovedJob(shards[home].number, uid))
			store()
			if l.owner != nil {
				l.see(t, clock, gone, uid)
				l.take(t, clock)
			}
			shards[home].see(t, clock, name(), uid)
		case 5, 6: // an owner stops
			shards[rapid.IntRange(0, 1).Draw(rt, "stops")].owner = nil
		case 7, 8: // another begins
			if l := shards[rapid.IntRange(0, 1).Draw(rt, "begins")]; l.owner == nil || rapid.Bool().Draw(rt, "seized") {
				l.take(t, clock)
			}
		case 9:
			commit()
		default:
			clock += int64(rapid.IntRange(1, 12).Draw(rt, "passes")) * int64(moment)
			if rapid.IntRange(0, 3).Draw(rt, "slow") > 0 {
				commit()
			}
		}
	}
	for _, l := range shards {
		if l.owner == nil {
			l.take(t, clock)
		}
	}
	for range 20 {
		clock += int64(moment)
		commit()
	}
	look := int64(shards[0].owner.cfg.LookAhead)
	must, may := map[int64]era{}, map[int64]bool{}
	for _, e := range eras {
		if e.every == 0 {
			continue
		}
		// @every counts from the epoch, or from where its cache says: asked, not assumed.
		set, err := cache.ParseSet([]string{"@every " + e.every.String()}, schedule.OptionsOf(key, &job.Spec{}))
		if err != nil {
			rt.Fatal(err)
		}
		for n, ok := set.Next(at(e.since)); ok && n.UnixNano() <= min(e.until, clock)+look; n, ok = set.Next(n) {
			i := n.UnixNano()
			switch {
			case i <= e.since+look, i > e.until: // an edit takes effect where its owner is
				may[i] = true
			case i <= clock:
				must[i] = e
			default:
				may[i] = true
			}
		}
	}
	for i, e := range must {
		c, ok := committed[i]
		if !ok {
			rt.Fatalf("the instant %v of %v is not committed; there are %s", time.Duration(i-begin), e.every, told25(committed, begin))
		}
		if e.killed == 0 && c.State == etcdkv.EntrySkipped || c.State == etcdkv.EntrySkipped && c.Reason == "" {
			rt.Fatalf("the instant %v is skipped: %q", time.Duration(i-begin), c.Reason)
		}
	}
	for i := range committed {
		if _, ok := must[i]; !ok && !may[i] {
			rt.Fatalf("the instant %v was committed, and is none", time.Duration(i-begin))
		}
	}
	for _, l := range shards {
		for _, e := range l.owner.jobs {
			if len(l.owner.fires) == 0 && (e.own.open != 0 || e.own.running != 0 || e.recording != 0) {
				rt.Fatalf("nothing is open, and %d count as open, %d as running, %d as not recorded", e.own.open, e.own.running, e.recording)
			}
		}
		if l.owner.tookUp != int64(len(l.owner.fires)) {
			rt.Fatalf("%d fires are there, and %d are counted", len(l.owner.fires), l.owner.tookUp)
		}
	}
	if now == nil {
		for _, l := range shards {
			if left := l.under(keys.Deleted(l.number)); len(left) > 0 {
				rt.Fatalf("the record of the deletion stays: %v", left)
			}
		}
	}
}

func told25(all map[int64]etcdkv.SlotEntry, begin int64) string {
	var b strings.Builder
	for _, i := range slices.SortedFunc(maps.Keys(all), cmp.Compare[int64]) {
		fmt.Fprintf(&b, " %v:%d", time.Duration(i-begin), all[i].State)
	}
	return b.String()
}
