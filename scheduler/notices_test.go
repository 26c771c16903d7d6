package scheduler

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestTroubled: the first failure is told, then reminders, each after twice as long, and a
// failure of another kind at once; what an owner tells again has the same id and no count
// of its own.
func TestTroubled(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	var now *etcdkv.Trouble
	n := 0
	tell := func(after time.Duration, event job.AlertEvent, run string) string {
		if run == "" {
			n++
			run = fmt.Sprint("r", n)
		}
		a := job.Alert{ID: job.AlertID(job.RunID(run), event), Event: event, Run: job.RunID(run)}
		next, told := troubled(now, &a, at.Add(after), time.Hour)
		now = &next
		if a.Trouble != now.Alert || a.Count != now.Count || !a.Since.Equal(at) {
			t.Errorf("%+v of %+v", a, now)
		}
		if !told {
			return fmt.Sprint(a.Count, " silent")
		}
		return fmt.Sprint(a.Count, " told")
	}
	for i, c := range []struct {
		after time.Duration
		event job.AlertEvent
		run   string
		want  string
	}{
		{0, job.AlertFailed, "", "1 told"},
		{0, job.AlertFailed, "r1", "1 told"}, // by the next owner
		{time.Minute, job.AlertFailed, "", "2 silent"},
		{time.Hour, job.AlertFailed, "", "3 told"},
		{2 * time.Hour, job.AlertFailed, "", "4 silent"},
		{3 * time.Hour, job.AlertFailed, "", "5 told"},
		{4 * time.Hour, job.AlertMissed, "", "6 told"},
		{4*time.Hour + time.Minute, job.AlertMissed, "", "7 silent"},
		{5 * time.Hour, job.AlertMissed, "", "8 told"},
	} {
		if got := tell(c.after, c.event, c.run); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
}

func (b *bed) keysOf(prefix string) []string {
	b.t.Helper()
	r, err := b.client.Get(context.Background(), prefix, clientv3.WithPrefix())
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, kv := range r.Kvs {
		out = append(out, string(kv.Value))
	}
	return out
}

// TestI32_WhatIsToldOfEnds: the first failure is noted for who wants to know, the second
// one is not, also not by another owner, and the recovery is; of a job that nobody wants to
// be told of nothing is written.
func TestI32_WhatIsToldOfEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.w.fail = true
	n := job.Notifier{Metadata: job.Metadata{Namespace: "t", Name: "oncall"}, Spec: job.NotifierSpec{Jobs: []string{"told*"}}}
	b.place(b.keys.Notifier(n.Key()), etcdkv.StoredNotifier{Schema: 1, Notifier: n})
	told, untold := b.put("told", job.Spec{Command: []string{"x"}}), b.put("untold", job.Spec{Command: []string{"x"}})
	run := func(times int) {
		t.Helper()
		b.trigger(told, nil)
		b.trigger(untold, nil)
		b.until("both have run", func() bool { return len(b.ended(told)) == times && len(b.ended(untold)) == times })
		b.until("nothing open", func() bool { return b.slots() == 0 })
	}
	notes := func(want int, has ...string) {
		t.Helper()
		all := b.keysOf(b.keys.AlertNotes())
		for _, text := range has {
			if !strings.Contains(strings.Join(all, ""), text) {
				t.Errorf("no note has %s: %v", text, all)
			}
		}
		if len(all) != want {
			t.Errorf("%d notes, want %d: %v", len(all), want, all)
		}
	}
	troubles := func() int { return len(b.keysOf(b.keys.Root() + "troubles/")) }
	_, kill, _ := b.start("a")
	run(1)
	notes(1, `"event":"failed"`, `"name":"told"`)
	if n := troubles(); n != 1 {
		t.Errorf("%d jobs are in trouble", n)
	}
	kill()
	b.start("b")
	run(2)
	notes(1)
	b.w.mu.Lock()
	b.w.fail = false
	b.w.mu.Unlock()
	run(3)
	notes(2, `"event":"recovered"`)
	if n := troubles(); n != 0 {
		t.Errorf("%d jobs are in trouble", n)
	}
	run(4)
	notes(2)
}
