package plans

import (
	"context"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// amend stores a new version of the plan as control does, in chunks of two tasks.
func (w *world) amend(tasks ...plan.Task) {
	w.t.Helper()
	uid, err := job.NewUID()
	if err != nil {
		w.t.Fatal(err)
	}
	data, first := w.keys.PlanData(uid), 0
	for part := range slices.Chunk(tasks, 2) {
		var chunk []etcdkv.PlanTask
		for _, t := range part {
			chunk = append(chunk, etcdkv.PlanTask{Task: t})
		}
		value, err := etcdkv.EncodePlanTasks(chunk)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.client.Put(context.Background(), data.Chunk(first), value); err != nil {
			w.t.Fatal(err)
		}
		first += len(part)
	}
	p := w.plan()
	p.Amendment = &etcdkv.PlanAmendment{UID: uid, Digest: "sha256:new", Tasks: len(tasks), At: time.Now(), By: "ann"}
	w.put(w.keys.Plan("team", "erp", "p"), p)
}

// latest are the states of the tasks that are in the plan: of those of one id the last one. It
// returns how many were replaced.
func (w *world) latest() (map[string]etcdkv.PlanState, int) {
	w.t.Helper()
	data := w.keys.PlanData(w.uid)
	resp, err := w.client.Get(context.Background(), data.Chunks(), clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	out, replaced := map[string]etcdkv.PlanState{}, 0
	for _, kv := range resp.Kvs {
		tasks, err := etcdkv.DecodePlanTasks(string(kv.Key), kv.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		first, _ := data.ParseChunk(string(kv.Key))
		s := etcdkv.PlanStates{}
		got, err := w.client.Get(context.Background(), data.States(first))
		if err != nil {
			w.t.Fatal(err)
		}
		if len(got.Kvs) > 0 {
			if s, err = etcdkv.Decode[etcdkv.PlanStates](data.States(first), got.Kvs[0].Value); err != nil {
				w.t.Fatal(err)
			}
		}
		for i := range tasks {
			if out[tasks[i].ID] = (etcdkv.PlanState{}); i < len(s.Tasks) {
				out[tasks[i].ID] = s.Tasks[i]
			}
			if out[tasks[i].ID].State == string(plan.Replaced) {
				replaced++
			}
		}
	}
	return out, replaced
}

// P9: what has begun stays, what is changed and has not is replaced, what is new is done, and
// what is left out is cancelled, whatever owner takes the new version over.
func TestAmend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue("work", nil)
	// Nobody works on the items of this one.
	w.put(w.keys.QueueType(job.Key{Namespace: "team", Name: "idle"}), etcdkv.StoredQueue{
		Schema: etcdkv.Schema, Queue: job.Queue{Metadata: job.Metadata{Namespace: "team", Name: "idle"}, Spec: job.QueueSpec{Command: []string{"x"}}, UID: w.uid, Generation: 1},
	})
	w.stuck["stuck"] = true
	later := time.Now().Add(time.Hour)
	w.accept(
		plan.Task{ID: "done", Type: "work"},
		plan.Task{ID: "stuck", Type: "work"},
		plan.Task{ID: "waits", Type: "idle"},
		plan.Task{ID: "later", Type: "work", NotBefore: later},
		plan.Task{ID: "after-later", Type: "work", After: []string{"later"}},
		plan.Task{ID: "out", Type: "work", NotBefore: later},
		plan.Task{ID: "out-too", Type: "idle"},
		plan.Task{ID: "same", Type: "idle"},
	)
	stop := w.own()
	await.Until(t, "what can begin", func() bool {
		s := w.states()
		return s["done"].State == "succeeded" && s["stuck"].State == "running" && s["waits"].State == "queued" && s["out-too"].State == "queued" && s["same"].State == "queued"
	})
	w.amend(
		plan.Task{ID: "fresh", Type: "work", After: []string{"waits"}},
		plan.Task{ID: "done", Type: "work", Priority: 3},
		plan.Task{ID: "stuck", Type: "work", Priority: 3},
		plan.Task{ID: "waits", Type: "work", After: []string{"later"}},
		plan.Task{ID: "later", Type: "work"},
		plan.Task{ID: "after-later", Type: "work", After: []string{"later"}},
		plan.Task{ID: "same", Type: "idle"},
	)
	await.Until(t, "the new version", func() bool { return w.plan().Amendment == nil })
	stop()
	p := w.plan()
	if a := p.Amended; a == nil || a.Count != 1 || a.Begun != 2 || !slices.Equal(a.Kept, []string{"done", "stuck"}) || a.Entries != 8+3 || p.Tasks != 7 || p.Digest != "sha256:new" {
		t.Errorf("%+v, amended %+v", p, p.Amended)
	}
	defer w.own()()
	await.Until(t, "what is new", func() bool { s, _ := w.latest(); return s["fresh"].State == "succeeded" })
	w.order(etcdkv.PlanOrder{Tasks: []string{"stuck", "same"}})
	await.Until(t, "the end of the plan", func() bool { return !w.plan().EndedAt.IsZero() })
	states, replaced := w.latest()
	for id, want := range map[string]plan.State{
		"done": plan.Succeeded, "stuck": plan.Cancelled, "waits": plan.Succeeded, "later": plan.Succeeded, "after-later": plan.Succeeded,
		"out": plan.Cancelled, "out-too": plan.Cancelled, "same": plan.Cancelled, "fresh": plan.Succeeded,
	} {
		if states[id].State != string(want) {
			t.Errorf("%s: %+v, want %s", id, states[id], want)
		}
	}
	if replaced != 2 {
		t.Errorf("%d tasks were replaced", replaced)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range []string{"done", "waits", "later", "after-later", "fresh"} {
		if n := len(slices.DeleteFunc(slices.Clone(w.ended), func(one string) bool { return one != id })); n != 1 {
			t.Errorf("%s was done %d times", id, n)
		}
	}
}

// P9: an owner that dies in the midst of it leaves the next one what it needs.
func TestAmendIsTakenUp(t *testing.T) {
	t.Parallel()
	for dies := range 4 {
		w := newWorld(t)
		w.queue("work", nil)
		later := time.Now().Add(time.Hour)
		w.accept(plan.Task{ID: "a", Type: "work", NotBefore: later}, plan.Task{ID: "b", Type: "work", After: []string{"a"}}, plan.Task{ID: "c", Type: "work", NotBefore: later})
		w.amend(plan.Task{ID: "a", Type: "work"}, plan.Task{ID: "b", Type: "work", After: []string{"a"}}, plan.Task{ID: "d", Type: "work", After: []string{"c"}}, plan.Task{ID: "c", Type: "work"})
		good := w.client
		bad := shared.Server(t).Client(t)
		bad.KV = &shaky{KV: bad.KV, prefix: w.keys.PlanData(w.uid).Root(), lose: []int{dies}}
		w.client = bad
		stop := w.own()
		w.client = good
		await.Until(t, "the end of the plan", func() bool { return !w.plan().EndedAt.IsZero() })
		stop()
		states, replaced := w.latest()
		for _, id := range []string{"a", "b", "c", "d"} {
			if states[id].State != string(plan.Succeeded) {
				t.Errorf("answer %d is lost: %s: %+v", dies, id, states[id])
			}
		}
		if w.mu.Lock(); replaced != 2 || len(w.ended) != 4 {
			t.Errorf("answer %d is lost: %d replaced, done: %q", dies, replaced, w.ended)
		}
		w.mu.Unlock()
	}
}
