package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// view is what of a task table must survive.
type view struct {
	Live   map[string]string
	Past   map[string]job.State
	Tokens map[job.ShardID]job.Token
	Open   int
	Given  []string
}

func (l *taskTable) view() view {
	v := view{Live: map[string]string{}, Past: map[string]job.State{}, Tokens: l.tokens, Open: len(l.open)}
	for k, e := range l.live {
		s := fmt.Sprint(e.phase, e.cancelled, e.instance)
		if e.final != nil {
			s = string(e.final.State)
		} else if e.order != nil {
			s += fmt.Sprint(e.order.Command, e.order.NotAfter.UnixNano(), e.order.Token)
		}
		v.Live[k.String()] = s
	}
	for k, p := range l.past {
		v.Past[k.String()] = p.State
	}
	for k := range l.given {
		v.Given = append(v.Given, k.String())
	}
	slices.Sort(v.Given)
	return v
}

func openTestJournal(path string) (*journal, error) {
	return openJournal(path, &Config{JournalKeep: time.Hour, JournalCap: 1 << 30}, &Deps{writeJournal: (*os.File).WriteAt}, zap.NewNop())
}

// Whatever happens to tasks, in any order, with compactions and crashes
// between: reading the journal gives the task table that was made durable.
func TestJournalModel(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(root, fmt.Sprint(runs))
		j, err := openTestJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		keys := []taskKey{}
		write := func(r *record) {
			b, err := j.add(r)
			if err == nil {
				err = j.sync(b)
			}
			if err != nil {
				t.Fatal(err)
			}
			j.apply(r)
		}
		pick := func(t *rapid.T) taskKey {
			if len(keys) == 0 {
				t.Skip("no task yet")
			}
			return rapid.SampledFrom(keys).Draw(t, "task")
		}
		t.Repeat(map[string]func(*rapid.T){
			"accept": func(t *rapid.T) {
				o := newOrder("echo", rapid.String().Draw(t, "arg"))
				o.Token.Revision = rapid.Int64Range(1, 100).Draw(t, "token")
				o.Shard = job.ShardID(rapid.Uint32Range(0, 3).Draw(t, "shard"))
				write(&record{Kind: kindAccepted, Order: o})
				keys = append(keys, keyOf(o.Task))
			},
			"intent": func(t *rapid.T) {
				k := pick(t)
				write(&record{Kind: kindIntent, Task: &k, Instance: "i1", Boot: "b1"})
			},
			"started": func(t *rapid.T) {
				k := pick(t)
				if e := j.live[k]; e == nil || e.phase != phaseHanded {
					t.Skip("not handed")
				}
				write(&record{Kind: kindStarted, Task: &k, PID: 1, At: 5})
			},
			"cancel": func(t *rapid.T) { k := pick(t); write(&record{Kind: kindCancel, Task: &k, Reason: "r"}) },
			"ended": func(t *rapid.T) {
				state := rapid.SampledFrom(job.States()).Draw(t, "state")
				write(&record{Kind: kindEnded, Report: &job.Report{Task: pick(t).id("m1"), State: state, EndedAt: time.Unix(9, 0)}})
			},
			"given back": func(*rapid.T) {
				write(&record{Kind: kindEnded, Report: &job.Report{Task: pick(t).id("m1"), Returned: true}})
			},
			"tombstone": func(*rapid.T) {
				o := newOrder("x")
				write(&record{Kind: kindEnded, Report: &job.Report{Task: o.Task, State: job.StateCancelled}})
				keys = append(keys, keyOf(o.Task))
			},
			"acked": func(t *rapid.T) {
				k := pick(t)
				write(&record{Kind: kindAcked, Task: &k, At: time.Now().UnixNano()})
			},
			"token": func(t *rapid.T) {
				tok := job.Token{Epoch: 1, Revision: rapid.Int64Range(1, 200).Draw(t, "revision")}
				write(&record{Kind: kindToken, Shard: 2, Token: &tok})
			},
			"compact": func(t *rapid.T) {
				if err := j.rewrite(); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				want := j.view()
				_ = j.log.Close()
				if j, err = openTestJournal(path); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, j.view(), cmpopts.EquateEmpty()); diff != "" {
					t.Fatal(diff)
				}
			},
		})
		_ = j.log.Close()
	})
}

func TestPastExpires(t *testing.T) {
	t.Parallel()
	l := newTaskTable()
	now := time.Now()
	for i, age := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Minute} {
		l.remember(taskKey{attempt: i}, past{AckedAt: now.Add(-age).UnixNano()})
	}
	l.expire(now, 150*time.Minute)
	if len(l.past) != 2 || len(l.forget) != 2 {
		t.Errorf("%d left, want 2", len(l.past))
	}
}

// TestGivenBackIsBounded: what was given back longest ago is forgotten first, and
// nothing that came again and was given back once more is taken for older than that.
func TestGivenBackIsBounded(t *testing.T) {
	t.Parallel()
	l := newTaskTable()
	now := time.Now()
	give := func(n int) {
		now = now.Add(time.Millisecond)
		l.noteGiven(givenBack{key: taskKey{attempt: n}, at: now})
	}
	give(1)
	give(0)
	delete(l.given, taskKey{attempt: 0}) // it came again
	for n := range maxGiven - 3 {
		give(n + 2)
	}
	give(0)
	if len(l.given) != maxGiven-1 {
		t.Errorf("%d are remembered, want %d", len(l.given), maxGiven-1)
	}
	give(maxGiven)
	give(maxGiven + 1)
	if !l.gaveBack(taskKey{attempt: 0}) || l.gaveBack(taskKey{attempt: 1}) || len(l.givenOrder) > maxGiven {
		t.Errorf("%d are remembered, by %d entries; the last %v, the first %v", len(l.given), len(l.givenOrder),
			l.gaveBack(taskKey{attempt: 0}), l.gaveBack(taskKey{attempt: 1}))
	}
	now = now.Add(givenFor)
	give(maxGiven + 2)
	if len(l.given) != 1 || len(l.givenOrder) != 1 {
		t.Errorf("%d are remembered, by %d entries, when all are old but one", len(l.given), len(l.givenOrder))
	}
}

func TestTaskKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var k taskKey
		copy(k.fire.Job[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uid"))
		k.fire.At = rapid.Int64().Draw(t, "at")
		k.fire.Trigger = job.Trigger(rapid.Byte().Draw(t, "trigger"))
		k.attempt = rapid.IntRange(1, 100).Draw(t, "attempt")
		got, err := parseTaskKey(k.String())
		if err != nil || got != k {
			t.Fatalf("%v -> %q -> %v, %v", k, k.String(), got, err)
		}
		if strings.ContainsAny(k.String(), "/\x00") {
			t.Fatal("not a file name")
		}
	})
}

// A torn tail costs nothing that was promised; damage makes open tasks
// indeterminate, and the rest goes on.
func TestI6_DamagedJournal(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "never", 1)
	file := filepath.Join(t.TempDir(), "runs")
	done, o, waiting := shell("true"), newOrder("sleep", "0.2"), shell("echo x >> %s", file)
	n.order(done)
	n.final(done)
	n.order(o, waiting)
	n.running(o)
	p.kill()
	path := filepath.Join(dir, "journal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), `"k":"ended"`) // of the first task
	if i < 0 {
		t.Fatal("no ended record")
	}
	b[i+6] ^= 1
	if err := os.WriteFile(path, append(b, "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	n.forget()
	spawn(t, n, dir, "never", 1)
	if r := n.final(done); r.State != job.StateIndeterminate || !strings.Contains(r.Reason, "journal is damaged") {
		t.Errorf("report of the damaged task = %+v", r)
	}
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report of the running task = %+v", r)
	}
	if r := n.final(waiting); r.State != job.StateIndeterminate || len(lines(t, file)) != 0 {
		t.Errorf("report of the waiting task = %+v", r)
	}
	next := shell("true")
	n.order(next)
	if r := n.final(next); r.State != job.StateSucceeded {
		t.Errorf("report of a new task = %+v", r)
	}
}

// A report that is on its way to the disk survives a compaction that comes first.
func TestCompactionKeepsWhatIsQueued(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openTestJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	o := newOrder("x")
	j.accept(o)
	r := &job.Report{Task: o.Task, State: job.StateFailed}
	if j.settle(r) == nil || j.settle(r) != nil {
		t.Error("settle does not take exactly the first report")
	}
	b, err := j.add(&record{Kind: kindEnded, Report: r})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.rewrite(); err != nil {
		t.Fatal(err)
	}
	if err := j.sync(b); err != nil {
		t.Fatal(err)
	}
	_ = j.log.Close()
	if j, err = openTestJournal(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.log.Close() }()
	if e := j.live[keyOf(o.Task)]; e == nil || e.final == nil || e.final.State != job.StateFailed {
		t.Errorf("entry = %+v", e)
	}
}
