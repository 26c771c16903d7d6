package worker

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzJournal: whatever the records say, the task table takes them, and is the same
// after it was written anew.
func FuzzJournal(f *testing.F) {
	order := shell("true")
	key := keyOf(order.Task)
	final := cancelled(order.Task, order.Shard, order.ScheduledAt, "x", "y")
	var all []byte
	for _, r := range []*record{
		{Kind: kindToken, Shard: 3, Token: &order.Token}, {Kind: kindAccepted, Order: order}, {Kind: kindIntent, Task: &key, Instance: "i", Boot: "b"},
		{Kind: kindStarted, Task: &key, PID: 1, At: 2}, {Kind: kindCancel, Task: &key, Reason: "r"}, {Kind: kindEnded, Report: final}, {Kind: kindAcked, Task: &key, At: 3},
		{Kind: kindPast, Task: &key, Past: &past{Shard: 1, State: final.State, AckedAt: 4}}, {Kind: kindProbe}, {Kind: "later"},
	} {
		b, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		all = append(append(all, b...), '\n')
		f.Add(bytes.Clone(all))
	}
	fuzzed.Run(f, func(t *testing.T, lines []byte) {
		one, two := newTaskTable(), newTaskTable()
		for line := range bytes.Lines(lines) {
			if r, err := decodeRecord(line); err == nil {
				one.apply(&r)
			}
		}
		err := one.snapshot(func(r *record) error {
			b, err := r.encode()
			if err != nil {
				return nil // an instant beyond the year 9999 cannot be written, and none that was read is
			}
			back, err := decodeRecord(b)
			if err == nil {
				two.apply(&back)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(one.view(), two.view()); d != "" {
			t.Error(d)
		}
	})
}
