package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/fair"
)

// crowd puts jobs into the shard that are due every second, from now on.
func (d *desk) crowd(n int) {
	d.t.Helper()
	for i := range n {
		name := fmt.Sprintf("j%04d", i)
		value, err := etcdkv.Encode(etcdkv.StoredJob{Schema: 1, Job: job.Job{
			Metadata: job.Metadata{Namespace: "t", Name: name}, UID: job.UID{byte(i), byte(i >> 8), 1},
			Spec: job.Spec{Command: []string{"x"}, Schedules: []string{"@every 1s"}, Misfire: job.MisfireSkip, Overlap: job.OverlapAllow},
		}})
		if err != nil {
			d.t.Fatal(err)
		}
		e, _, err := newEntry(name, []byte(value), d.deps.Schedules)
		if err != nil {
			d.t.Fatal(err)
		}
		d.jobs[e.key] = e
		d.setNext(e, d.clock)
	}
}

// I23: a node takes up no more than its bound, a shard always some of it, and what
// it has not taken up stays where it is: nothing of it is lost, and what comes too
// late is one record of a job.
func TestI23_LoadIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.nodeLoad = &fair.Load{}
	d.nodeLoad.Add(fair.MaxLoad) // other shards'
	const jobs = 3 * fair.ShardLoad
	d.crowd(jobs)
	d.commitPlan(nil)
	if len(d.fires) != fair.ShardLoad || d.tookUp != fair.ShardLoad {
		t.Fatalf("%d fires are planned, %d are taken up; want %d", len(d.fires), d.tookUp, fair.ShardLoad)
	}
	for range 10 {
		d.commitPlan(nil)
	}
	if len(d.fires) != fair.ShardLoad {
		t.Fatalf("%d fires are planned while the node has more to do than it can", len(d.fires))
	}
	d.step()
	if d.tookUp != 0 || len(d.sent) != 1 {
		t.Fatalf("%d fires are taken up once their orders are sent", d.tookUp)
	}
	// The others have missed 40 instants each when their turn comes, of which 10 and
	// the one that is due are not too late.
	d.clock += int64(40 * time.Second)
	d.nodeLoad.Add(-fair.MaxLoad)
	for {
		before := len(d.fires)
		d.commitPlan(nil)
		if len(d.fires) == before {
			break
		}
	}
	count := map[job.UID]int{}
	for id, f := range d.fires {
		count[id.Job] += int(f.count)
	}
	for _, e := range d.jobs {
		if count[e.uid] != 41 {
			t.Fatalf("%d of 41 instants of %s are accounted for", count[e.uid], e.key)
		}
	}
	d.step()
	for _, f := range d.fires {
		if !f.ended() {
			d.end(f, job.StateSucceeded, "")
		}
	}
	if d.tookUp != int64(len(d.fires)) {
		t.Errorf("%d are taken up of %d that have ended and are not in history", d.tookUp, len(d.fires))
	}
	for _, f := range d.fires {
		d.close(f)
	}
	if held := d.nodeLoad.Held(); d.tookUp != 0 || held != 0 {
		t.Errorf("%d, of the node %d, are taken up at the end", d.tookUp, held)
	}
}

// I23: when a node has more to do than it can, a row of instants that are too late
// is one record, however short.
func TestI23_MisfiresInBulk(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		d := newDesk(t, 1)
		d.nodeLoad = &fair.Load{}
		d.crowd(1)
		d.clock += int64(60 * time.Second)
		if busy {
			d.nodeLoad.Add(fair.MaxLoad)
			d.nodeLoad.Full(fair.ShardLoad, d.clock-int64(d.cfg.MisfireGrace)+1)
			d.nodeLoad.Add(-fair.MaxLoad)
		}
		d.commitPlan(nil)
		records, missed := 0, 0
		for _, f := range d.fires {
			if f.entryState() == etcdkv.EntryMissed {
				records++
				missed += int(f.count)
			}
		}
		want := 1
		if !busy {
			want = missed
		}
		if missed < 29 || records != want {
			t.Errorf("busy: %v: %d instants are missed, in %d records; want %d", busy, missed, records, want)
		}
	}
}

// I26: a job whose time has just come has its turn before others that have waited.
// What is committed of it lies beyond the cursor then, and the state says so, for as
// long as it does.
func TestI26_WhatIsBeyondTheCursorIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	begun := d.clock
	d.crowd(3 * turnFires)
	d.clock += int64(5 * time.Second)
	d.planned = begun - 1
	for _, e := range d.jobs {
		d.setNext(e, d.clock+int64(d.cfg.LookAhead)) // one of them
		break
	}
	commit := func() *etcdkv.ShardState {
		t.Helper()
		w, err := d.gather(d.clock)
		if err != nil || w.batch == nil {
			t.Fatal(w, err)
		}
		d.written(w, 1, nil)
		return &d.state
	}
	st := commit()
	last := int64(0)
	for id := range d.fires {
		last = max(last, id.At)
	}
	if st.Cursor.UnixNano() >= last || st.Beyond.UnixNano() != last {
		t.Fatalf("the last that is committed is %v after the cursor; told is %v", time.Duration(last-st.Cursor.UnixNano()), st.Beyond.Sub(st.Cursor))
	}
	for n := 0; d.state.Cursor.UnixNano() < last; n++ {
		if st := commit(); st.Cursor.UnixNano() < last && st.Beyond.UnixNano() < last || n > 100 {
			t.Fatalf("%d commits later %v are told beyond the cursor, want %v", n, st.Beyond.Sub(st.Cursor), time.Duration(last-st.Cursor.UnixNano()))
		}
	}
	if !d.state.Beyond.IsZero() {
		t.Errorf("told are %v, and the cursor has come to %v", d.state.Beyond, d.state.Cursor)
	}
}
