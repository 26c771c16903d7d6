package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// The oracle is shown evidence of each kind: all its complaints must be heard.
func TestJudge(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	uid := job.UID{1}
	set, err := schedule.ParseSet([]string{every}, schedule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(second int) job.FireID {
		return job.FireID{Job: uid, At: from.Add(time.Duration(second) * time.Second).UnixNano(), Trigger: job.TriggerSchedule}
	}
	record := func(second int, state job.State, reason string) job.Run {
		return job.Run{RunID: at(second).RunID(), FireID: at(second), ScheduledAt: at(second).Time(), State: state, Reason: reason, Count: 1}
	}
	// Due at 1 to 5, and until 9, when it was disabled: 1 and 2 ran, 3 was
	// skipped, 4 and 5 are one record of missed ones.
	key := job.Key{Namespace: "n", Name: "j"}
	good := func() *evidence {
		row := record(4, job.StateMissed, "late")
		row.Count, row.Until = 2, at(5).Time()
		return &evidence{
			plans: map[job.UID]*plan{uid: {key: key, spans: []span{
				{set: set, after: from}, {after: at(5).Time(), holds: at(9).Time(), what: "it was disabled"},
			}}},
			until: at(5).Time(),
			trace: trace{at(1): 1, at(2): 1},
			runs:  []job.Run{record(1, job.StateSucceeded, ""), record(2, job.StateSucceeded, ""), record(3, job.StateSkipped, "busy"), row},
		}
	}
	const one, two, three, row = 0, 1, 2, 3 // indices of good's records
	for name, c := range map[string]struct {
		change func(*evidence)
		want   string
	}{
		"all is well":             {func(*evidence) {}, ""},
		"ran twice":               {func(e *evidence) { e.trace[at(1)] = 2 }, "doubled 1: ran 2 times"},
		"ran twice after the end": {func(e *evidence) { e.trace[at(7)] = 2; e.runs = append(e.runs, record(7, job.StateSucceeded, "")) }, "doubled 7: ran 2 times"},
		"lost": {func(e *evidence) { delete(e.trace, at(1)); e.runs[one] = record(8, job.StateSkipped, "paused") },
			"missing 1: did not run, and has no record"},
		"no reason": {func(e *evidence) { e.runs[three].Reason = "" },
			"missing 3: did not run, and its record gives no reason: skipped"},
		"never ended": {func(e *evidence) { delete(e.trace, at(1)); e.runs[one].State = job.StateRunning },
			"missing 1: did not run, and has not ended: running"},
		"nobody knows": {func(e *evidence) { delete(e.trace, at(1)); e.runs[one] = record(1, job.StateIndeterminate, "crash") },
			"unaccounted 1: is indeterminate, though no host and no shim has died: crash"},
		"row too short": {func(e *evidence) { e.runs[row].Count, e.runs[row].Until = 1, time.Time{} }, "missing 5: did not run, and has no record"},
		"in a row, and recorded by itself": {func(e *evidence) { e.runs = append(e.runs, record(5, job.StateMissed, "late")) },
			"doubled 4: is the first of a row of 2 up to 00:00:05; of those 1 have no record of their own"},
		"on paper only": {func(e *evidence) { delete(e.trace, at(2)) }, "unaccounted 2: is recorded as succeeded, and left no trace"},
		"failed on paper only": {func(e *evidence) { delete(e.trace, at(2)); e.runs[two].State = job.StateFailed },
			"unaccounted 2: is recorded as failed, and left no trace"},
		"ran, and no record": {func(e *evidence) { e.runs[one] = record(8, job.StateSkipped, "paused") }, "unaccounted 1: ran, and has no record"},
		"ran, not ended": {func(e *evidence) { e.runs[one].State = job.StateRunning },
			"unaccounted 1: ran, and its record has not ended: running"},
		"ran, though skipped":  {func(e *evidence) { e.trace[at(3)] = 1 }, "unaccounted 3: ran, and is recorded as skipped"},
		"ran, though in a row": {func(e *evidence) { e.trace[at(5)] = 1 }, "unaccounted 5: ran, and is recorded as missed"},
		"ran, nobody knows": {func(e *evidence) { e.runs[one] = record(1, job.StateIndeterminate, "crash") },
			"unaccounted 1: is indeterminate, though no host and no shim has died: crash"},
		"ran at no instant": {func(e *evidence) { f := at(2); f.At++; e.trace[f] = 1 }, "unaccounted 2: ran, and is no occurrence of its job"},
		"ran before the job was": {func(e *evidence) { e.trace[at(0)] = 1 },
			"unaccounted 0: ran, and is no occurrence of its job"},
		"two records": {func(e *evidence) { e.runs = append(e.runs, record(1, job.StateSucceeded, "")) }, "doubled 1: has two records"},
		"too early": {func(e *evidence) { e.runs[one].StartedAt = at(1).Time().Add(-time.Millisecond) },
			"early 1: started 1ms before its instant"},
		"an old token": {func(e *evidence) {
			e.starts = []started{{fire: at(1), token: job.Token{Revision: 5}, at: at(4).Time()}}
			e.last = func(_ job.ShardID, rev int64) (time.Time, bool) { return at(2).Time(), rev < 6 }
		}, "stale 1: started under token 0.5, 2s after the lease of its owner ended"},
		"an old token, in time by the record": {func(e *evidence) {
			e.starts = []started{{fire: at(1), token: job.Token{Revision: 5}, at: at(4).Time()}}
			e.runs[one].StartedAt = at(2).Time()
			e.runs[one].Tasks = []job.Task{{StartedAt: at(2).Time(), State: job.StateCancelled}}
			e.starts[0].attempt = 1
			e.last = func(_ job.ShardID, rev int64) (time.Time, bool) { return at(2).Time(), rev < 6 }
		}, ""},
		"the newest token": {func(e *evidence) {
			e.starts = []started{{fire: at(1), token: job.Token{Revision: 6}, at: at(4).Time()}}
			e.last = func(_ job.ShardID, rev int64) (time.Time, bool) { return at(2).Time(), rev < 6 }
		}, ""},
		"two at a time, in order": {func(e *evidence) {
			e.groups = map[string]job.GroupSpec{"g": {Ordered: true}}
			e.plans[uid].group = "g"
			e.runs[one].StartedAt, e.runs[one].EndedAt = at(1).Time(), at(3).Time()
			e.runs[two].StartedAt, e.runs[two].EndedAt = at(2).Time(), at(3).Time()
		}, "crowded 2: is number 2 under way in ordered group g, which allows 1"},
		"in wrong order": {func(e *evidence) {
			e.groups = map[string]job.GroupSpec{"g": {Ordered: true}}
			e.plans[uid].group = "g"
			e.runs[one].StartedAt, e.runs[one].EndedAt = at(4).Time(), at(5).Time()
			e.runs[two].StartedAt, e.runs[two].EndedAt = at(2).Time(), at(3).Time()
		}, "out_of_order 1: started after the run of n/j, 1s later, in ordered group g"},
		"shares": {func(e *evidence) {
			share := at(2)
			share.Share = 7
			delete(e.trace, at(2))
			e.trace[share] = 1
			e.runs[two].FireID = share
		}, ""},
		"shares of one run": {func(e *evidence) {
			a, b := at(2), at(2)
			a.Share, b.Share = job.ShareOf("a"), job.ShareOf("b")
			delete(e.trace, at(2))
			e.trace[a] = 1
			e.runs[two].Tasks = []job.Task{{Share: "a", State: job.StateSucceeded}, {Share: "b", State: job.StateSucceeded}}
		}, "unaccounted 2: is recorded as succeeded, and left no trace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := good()
			c.change(e)
			v := judge(e)
			if got := told(&v, from); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if v.good() != (c.want == "") {
				t.Errorf("good is %v", v.good())
			}
		})
	}
}

// told writes the findings of a verdict, the instants in seconds.
func told(v *verdict, from time.Time) string {
	var out []string
	for _, kind := range v.figures() {
		for _, f := range kind.list {
			second := f.fire.Time().Sub(from).Truncate(time.Second).Seconds()
			out = append(out, kind.name+" "+string(rune('0'+int(second)))+": "+f.what)
		}
	}
	return strings.Join(out, "; ")
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	ms := func(n ...int) []time.Duration {
		var out []time.Duration
		for _, v := range n {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	r := result{
		options: options{scenario: "kill", seed: 7, load: 4}, faults: 2, evidence: evidence{ledger: ledger{verbs: 3}}, takeovers: map[cause][]time.Duration{causeKill: ms(3, 5, 9)},
		verdict: verdict{fires: 40, missing: []finding{{what: "is lost"}}, stuck: []string{"a run is open"}, late: ms(1, 2, 3), states: map[job.State]int{job.StateSucceeded: 40}},
	}
	var out bytes.Buffer
	r.print(&out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := "FAULT scenario=kill seed=7 load=4 fires=40 verbs=3 doubled=0 missing=1 unaccounted=0 out_of_order=0 early=0 stale=0 crowded=0 forbidden=0" +
		" stuck=1 unready=0 late_ms_p99=3 takeovers_kill=3 takeover_ms_kill_p50=5 takeover_ms_kill_p99=9 takeover_ms_kill_max=9"
	if diff := cmp.Diff(want, lines[len(lines)-1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTakeoverCountsFromTheFirstLoss(t *testing.T) {
	t.Parallel()
	k := newTakeovers()
	begun := time.Now()
	k.granted(1, "s1", 1, begun)
	k.granted(2, "s2", 2, begun)
	k.lose("s1", causeKill)
	first := k.lost[1].at
	k.lose("s1", causePause) // lost again before anybody took over
	k.freed(1)
	k.granted(1, "s2", 3, first.Add(time.Second))
	k.granted(1, "s3", 4, first.Add(time.Hour)) // moved, without a loss
	if diff := cmp.Diff(map[cause][]time.Duration{causeKill: {time.Second}}, k.times()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	k.lose("s2", causeHandover)
	k.freed(2) // must not be
	if moves, gaps := k.counted(); moves != 2 || gaps != 1 {
		t.Errorf("%d moves and %d gaps, want 2 and 1", moves, gaps)
	}
	if _, ok := k.last(1, 1); ok {
		t.Error("a lease has ended whose owner was not struck yet")
	}
	k.struck("s1")
	if at, ok := k.last(1, 1); !ok || at.Before(first.Add(hold(leaseTTL))) || at.After(time.Now().Add(hold(leaseTTL))) {
		t.Errorf("the last start under 1: %v %v, want the end of the lease", at, ok)
	}
	if _, ok := k.last(1, 3); ok {
		t.Error("a token is old that its owner passed on itself")
	}
}
