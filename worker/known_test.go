package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// What the journal knows of fires after an instant is told in pages, by keys that rise: of
// what has ended and was acknowledged, of what goes on, and of what waits; also of a fire
// that was due before and has ended after.
func TestFiresAreToldInPages(t *testing.T) {
	table := newTaskTable()
	ts := &tasks{journal: &journal{taskTable: table}}
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	at := func(second int) job.FireID {
		return job.FireID{Job: uid, At: time.Unix(int64(second), 0).UnixNano(), Trigger: job.TriggerSchedule}
	}
	const n = agentpb.MaxFires + 10
	for i := range n {
		table.remember(taskKey{at(1000 + i), 1}, past{Shard: 3, State: job.StateSucceeded, EndedAt: at(1001 + i).At})
	}
	table.remember(taskKey{at(10), 1}, past{State: job.StateSucceeded, EndedAt: at(11).At})
	table.remember(taskKey{at(20), 2}, past{State: job.StateFailed, EndedAt: at(900).At})
	o := newOrder("true")
	o.Task.Fire, o.Key = at(30), job.Key{Namespace: "ops", Name: "backup"}
	table.accept(o)
	seen := map[job.FireID]agentpb.KnownFire{}
	last, pages := "", 0
	for more := true; more; pages++ {
		var known []agentpb.KnownFire
		known, more = ts.firesSince(at(500).At, last)
		if len(known) > agentpb.MaxFires || !slices.IsSortedFunc(known, func(a, b agentpb.KnownFire) int { return strings.Compare(a.Key, b.Key) }) {
			t.Fatalf("a page of %d lines", len(known))
		}
		for _, f := range known {
			if _, twice := seen[f.Fire]; twice || f.Key <= last {
				t.Fatalf("%s after %s", f.Key, last)
			}
			seen[f.Fire], last = f, f.Key
		}
	}
	if len(seen) != n+2 || pages != 2 {
		t.Errorf("%d fires in %d pages", len(seen), pages)
	}
	if f := seen[at(1000)]; f.State != job.StateSucceeded || f.Shard != 3 || f.Attempt != 1 {
		t.Errorf("ended: %+v", f)
	}
	if f := seen[at(20)]; f.State != job.StateFailed || f.Attempt != 2 {
		t.Errorf("ended late: %+v", f)
	}
	if f := seen[at(30)]; f.State != "" || !f.Waiting || f.Job != o.Key {
		t.Errorf("waits: %+v", f)
	}
}

// A node gets them by the way of output.
func TestFiresAreAsked(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := shell("true")
	n.order(o)
	n.final(o)
	n.mu.Lock()
	n.seq++
	id := n.seq
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Output{Output: &agentpb.OutputRequest{
		Id: id, Task: agentpb.FromTask(job.TaskID{Minion: "m1"}), Fires: &agentpb.Fires{After: o.Task.Fire.At - 1},
	}}})
	n.mu.Unlock()
	var page string
	n.await("the answer", func() bool {
		out, _, eof, problem := n.text(id)
		if eof && problem != "" {
			t.Fatal(problem)
		}
		page = out[1]
		return eof
	})
	var known []string
	end, err := agentpb.ReadFires(strings.NewReader(page), func(f agentpb.KnownFire) error {
		known = append(known, fmt.Sprint(f.Fire, f.State))
		return nil
	})
	if err != nil || end.More || end.Gap != agentpb.GapNew || !slices.Equal(known, []string{fmt.Sprint(o.Task.Fire, job.StateSucceeded)}) {
		t.Errorf("%v, %v, %v in %q", known, end, err, page)
	}
}
