package etcdkv

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

func TestSlotRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a-z]{1,8}`)
		in := &Slot{CommittedAt: rapid.Int64Range(0, 4e18).Draw(rt, "committed"), Node: job.NodeID(name.Draw(rt, "node"))}
		in.Entries = make([]SlotEntry, rapid.IntRange(0, 20).Draw(rt, "entries"))
		shares := rapid.Bool().Draw(rt, "shares")
		for i := range in.Entries {
			e := &in.Entries[i]
			e.State = EntryState(rapid.IntRange(1, 4).Draw(rt, "state"))
			e.Fire = job.FireID{At: rapid.Int64Range(0, 4e18).Draw(rt, "at"), Trigger: job.TriggerSchedule}
			copy(e.Fire.Job[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "uid"))
			if shares && rapid.Bool().Draw(rt, "a share") {
				e.Fire.Share, e.Share = rapid.Uint32Min(1).Draw(rt, "share"), job.NodeID(name.Draw(rt, "of"))
			}
			if rapid.Bool().Draw(rt, "missed") {
				e.Reason, e.Count, e.Until = name.Draw(rt, "reason"), 7, e.Fire.At+rapid.Int64Range(0, 1e15).Draw(rt, "until")
			}
			for range rapid.IntRange(0, 3).Draw(rt, "tasks") {
				task := SlotTask{Minion: job.MinionID(name.Draw(rt, "minion")), Attempt: rapid.IntRange(1, 100).Draw(rt, "attempt")}
				if task.Attempt > 1 {
					task.NotBefore = e.Fire.At + rapid.Int64Range(1, 1e12).Draw(rt, "later")
				}
				if shares && e.Fire.Share == 0 && rapid.Bool().Draw(rt, "a task's share") {
					task.Share = job.NodeID(name.Draw(rt, "task of"))
				}
				e.Tasks = append(e.Tasks, task)
			}
		}
		b := EncodeSlot(in)
		out, err := DecodeSlot(b)
		if err != nil {
			rt.Fatalf("decode: %v", err)
		}
		if d := cmp.Diff(in, out); d != "" {
			rt.Fatalf("round trip (-in +out):\n%s", d)
		}
		if n := len(b); n > 1 {
			if _, err := DecodeSlot(b[:rapid.IntRange(1, n-1).Draw(rt, "cut")]); err == nil && len(in.Entries) > 0 {
				rt.Fatal("a slot that is cut short was read without an error")
			}
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	f.Add(EncodeSlot(&Slot{CommittedAt: 1, Node: "n", Entries: []SlotEntry{{State: EntryOpen, Tasks: []SlotTask{{Minion: "m", Attempt: 1}}}}}))
	fuzzed.Run(f, func(t *testing.T, b []byte) {
		s, err := DecodeSlot(b)
		if err == nil && s == nil {
			t.Fatal("no slot and no error")
		}
	})
}

// TestSlotSettled: what has ended without an order, and what a rollout has come
// to, is stored; a large slot is compressed.
func TestSlotSettled(t *testing.T) {
	t.Parallel()
	e := SlotEntry{
		Fire: job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerRedo}, State: EntryOpen, Count: 1,
		SlotAsked: SlotAsked{
			Redo: "ab12-0123456789abcdef", Promoted: true, Stopped: "too many failed", Canaries: 3,
			Rollout: &job.Rollout{Batch: "10%", MaxPer: map[string]int{"rack": 2}, ClusterMaxPer: map[string]int{"site": 9}}, Hosts: []job.MinionID{"h1", "h2"},
		},
	}
	for i := range 20_000 {
		task := SlotTask{Minion: job.MinionID(fmt.Sprintf("host-%05d.example.org", i)), Attempt: 1}
		if i%10 == 0 {
			task.State, task.Reason = job.StateUncontrollable, "skew"
		}
		e.Tasks = append(e.Tasks, task)
	}
	want := &Slot{CommittedAt: 4, Node: "n1", Entries: []SlotEntry{e}}
	b := EncodeSlot(want)
	if len(b) > 200<<10 {
		t.Errorf("a slot with %d tasks has %d bytes", len(e.Tasks), len(b))
	}
	got, err := DecodeSlot(b)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(got, want) {
		t.Error("the slot has changed")
	}
	if _, err := DecodeSlot(b[:len(b)/2]); err == nil {
		t.Error("half a slot was read")
	}
}
