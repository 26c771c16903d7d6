package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// A file that was copied is noticed, in the place of the former one or written over it; one
// that was moved, or read again, is not.
func TestI16_CopiesAreNoticed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, memoryName)
	began := time.Now()
	open := func(fresh bool) *memory {
		t.Helper()
		m, err := openMemory(path, fresh, time.Now(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	text := func() []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := open(true)
	if m.Why != agentpb.GapNew || m.Since.Before(began.Add(-time.Second)) {
		t.Errorf("new: %+v", m.memoryState)
	}
	since := m.Since
	old := text()
	if err := m.refresh(); err != nil {
		t.Fatal(err)
	}
	if m := open(false); m.Why != agentpb.GapNew || !m.Since.Equal(since) {
		t.Errorf("opened again: %+v", m.memoryState)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, path); err != nil {
		t.Fatal(err)
	}
	if m := open(false); m.Why != agentpb.GapNew {
		t.Errorf("moved: %+v", m.memoryState)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if m := open(false); m.Why != agentpb.GapCopy || !m.Since.After(since) {
		t.Errorf("written over in place: %+v", m.memoryState)
	}
	present := text()
	if err := os.Rename(path, moved); err != nil { // it stays, so that no other file gets its number
		t.Fatal(err)
	}
	if err := os.WriteFile(path, present, 0o600); err != nil {
		t.Fatal(err)
	}
	noticed := time.Now()
	if m := open(false); m.Why != agentpb.GapCopy || m.Since.Before(noticed.Add(-time.Second)) {
		t.Errorf("copied: %+v", m.memoryState)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openMemory(path, false, time.Now(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged: %v", err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// On an older copy of its data directory, and on a new one, a minion says of what was due
// before, and is not in its journal, that it is indeterminate; of what is due from then on
// it knows. A directory of a release before is believed.
func TestI16_WhatMayBeForgottenIsIndeterminate(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	ask := func(what string, at time.Time, want bool) job.Report {
		t.Helper()
		o := shell("true")
		o.Task.Fire.At = at.UnixNano()
		n.ask(o.Task, o.Shard, o.Token)
		r := n.report(o.Task, what, func(*job.Report) bool { return true })
		if gone := r.State == job.StateIndeterminate; gone != want || !gone && r.Known {
			t.Errorf("%s: known %v, %q, %q; want it forgotten: %v", what, r.Known, r.State, r.Reason, want)
		}
		return r
	}
	before := time.Now().Add(-time.Minute)
	_, stop := start(t, n, dir)
	n.connected()
	ask("new, due before", before, true)
	ask("new, due now", time.Now(), false)
	o := shell("true")
	o.Task.Fire.At, o.Task.Fire.Trigger = before.UnixNano(), job.TriggerBackfill
	n.ask(o.Task, o.Shard, o.Token)
	if r := n.report(o.Task, "a backfill", func(*job.Report) bool { return true }); r.Known {
		t.Errorf("a backfill of instants before: %q, %q; its orders were given since, as a rule", r.State, r.Reason)
	}
	stop()
	if err := os.Remove(filepath.Join(dir, memoryName)); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, n, dir)
	n.connected()
	ask("of a release before", before.Add(time.Second), false)
	stop()
	text, err := os.ReadFile(filepath.Join(dir, memoryName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, memoryName), filepath.Join(t.TempDir(), "kept")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, memoryName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, n, dir)
	n.connected()
	if r := ask("a copy", before.Add(2*time.Second), true); !strings.Contains(r.Reason, "older copy") {
		t.Errorf("a copy: %q", r.Reason)
	}
	n.await("the fact", func() bool {
		return n.hellos[len(n.hellos)-1].GetInventory().GetFacts()[copiedFact] != ""
	})
}
