package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

var errGone = errors.New("not connected")

// heard gathers output by minion and stream.
type heard map[string]string

func (h heard) fn(c api.OutputLine) error {
	key := string(c.Minion) + "/" + string(rune('0'+c.Stream))
	if c.LeftOut > 0 {
		h[key] += fmt.Sprintf("<%d left out>", c.LeftOut)
	}
	h[key] += string(c.Data)
	return nil
}

func taskOn(m job.MinionID, state job.State) job.Task {
	return job.Task{Minion: m, Attempt: 1, State: state}
}

func TestOutputOfAnEndedRun(t *testing.T) {
	t.Parallel()
	runs, out := &fakeRuns{}, &fakeOutputs{}
	c := justRuns(runs, out, 0)
	r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateSucceeded)
	r.Tasks = []job.Task{taskOn("m1", job.StateSucceeded), taskOn("m2", job.StateSucceeded), taskOn("m3", job.StateSucceeded)}
	r.Tasks[0].Attempt = 3
	r.Tasks[1].Stdout = job.Output{Head: "all of it", Bytes: 9}
	r.Tasks[2].Stdout = job.Output{Head: "head", Tail: "tail", Bytes: 100, Truncated: true}
	r.Tasks[2].Stderr = job.Output{Head: "oops", Bytes: 4}
	runs.end(r)
	out.fn = func(_ context.Context, task job.TaskID, follow bool, fn func(int, []byte, int64) error) error {
		if task.Minion != "m1" {
			return errGone
		}
		if task.Attempt != 3 || task.Fire != r.FireID || follow {
			t.Errorf("asked for %s, follow %v", task, follow)
		}
		return errors.Join(fn(1, []byte("one"), 0), fn(2, nil, 0), fn(1, []byte(" two"), 0))
	}

	got := heard{}
	err := c.Output(t.Context(), r.RunID, "", false, got.fn)
	want := heard{
		"m1/1": "one two",
		"m2/1": "all of it",
		"m3/1": "head<92 left out>tail", "m3/2": "oops",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("output (-want +got):\n%s", d)
	}
	if !errors.Is(err, errGone) || !strings.Contains(err.Error(), "minion m3") || strings.Contains(err.Error(), "m2") {
		t.Errorf("the error must tell of m3 alone: %v", err)
	}

	got = heard{}
	if err := c.Output(t.Context(), r.RunID, "m2", true, got.fn); err != nil || len(got) != 1 {
		t.Errorf("one minion: %v, %v", got, err)
	}
	if err := c.Output(t.Context(), r.RunID, "m9", false, got.fn); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("no such minion: %v", err)
	}
}

func TestOutputReturnsTheErrorOfItsReader(t *testing.T) {
	t.Parallel()
	runs := &fakeRuns{}
	out := &fakeOutputs{fn: func(_ context.Context, _ job.TaskID, _ bool, fn func(int, []byte, int64) error) error {
		return fn(1, []byte("x"), 0)
	}}
	c := justRuns(runs, out, time.Millisecond)
	r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateSucceeded)
	r.Tasks = []job.Task{taskOn("m1", job.StateRunning), taskOn("m2", job.StateRunning)}
	full := errors.New("disk full")
	calls := 0
	fn := func(api.OutputLine) error { calls++; return full }
	runs.end(r)
	if err := c.Output(t.Context(), r.RunID, "", false, fn); err != full || calls != 1 { //nolint:errorlint // itself
		t.Errorf("got %v after %d calls", err, calls)
	}
	r.State = job.StateRunning
	runs.begin(r)
	if err := c.Output(t.Context(), r.RunID, "", true, fn); err != full { //nolint:errorlint // itself
		t.Errorf("following: %v", err)
	}
}

// TestFollow: tasks side by side, a minion that accepts late, a second attempt,
// and one that is lost on the way.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := &fakeRuns{}
		r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateRunning)
		r.Tasks = []job.Task{taskOn("m1", job.StateRunning), taskOn("late", job.StatePending), taskOn("lost", job.StateRunning)}
		runs.begin(r)
		begin := time.Now()
		var mu sync.Mutex
		open, most := 0, 0
		out := &fakeOutputs{fn: func(_ context.Context, task job.TaskID, follow bool, fn func(int, []byte, int64) error) error {
			if task.Minion == "late" && time.Since(begin) < 3*time.Second {
				return errGone
			}
			if !follow {
				t.Error("asked without follow")
			}
			mu.Lock()
			open++
			most = max(most, open)
			mu.Unlock()
			defer func() { mu.Lock(); open--; mu.Unlock() }()
			if err := fn(1, []byte{byte('0' + task.Attempt)}, 0); err != nil {
				return err
			}
			time.Sleep(10 * time.Second)
			if task.Minion == "lost" {
				return errGone
			}
			return fn(1, []byte("."), 0)
		}}
		c := justRuns(runs, out, time.Second)
		go func() {
			time.Sleep(15 * time.Second)
			again := r
			again.Tasks = []job.Task{taskOn("m1", job.StateRunning), taskOn("late", job.StateSucceeded), taskOn("lost", job.StateIndeterminate)}
			again.Tasks[0].Attempt = 2
			runs.begin(again)
			time.Sleep(20 * time.Second)
			again.State = job.StateFailed
			runs.end(again)
		}()
		got := heard{}
		err := c.Output(t.Context(), r.RunID, "", true, got.fn)
		if d := cmp.Diff(heard{"m1/1": "1.2.", "late/1": "1.", "lost/1": "1"}, got); d != "" {
			t.Errorf("output (-want +got):\n%s", d)
		}
		if !errors.Is(err, errGone) || !strings.Contains(err.Error(), "the output of minion lost broke off") {
			t.Errorf("error: %v", err)
		}
		if most != 3 {
			t.Errorf("%d streams side by side, want 3", most)
		}
		if took := time.Since(begin); took < 35*time.Second || took > 37*time.Second {
			t.Errorf("ended after %s", took)
		}
	})
}

func TestFollowEndsWithItsReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := &fakeRuns{}
		r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateRunning)
		r.Tasks = []job.Task{taskOn("m1", job.StateRunning)}
		runs.begin(r)
		out := &fakeOutputs{fn: func(ctx context.Context, _ job.TaskID, _ bool, _ func(int, []byte, int64) error) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		c := justRuns(runs, out, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Output(ctx, r.RunID, "", true, heard{}.fn); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowOfARunWithoutTheMinion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := &fakeRuns{}
		r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StatePending)
		runs.begin(r)
		c := justRuns(runs, &fakeOutputs{}, time.Second)
		go func() {
			time.Sleep(time.Minute)
			r.State = job.StateUndeliverable
			runs.end(r)
		}()
		if err := c.Output(t.Context(), r.RunID, "m1", true, heard{}.fn); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if err := c.Output(t.Context(), r.RunID, "", true, heard{}.fn); err != nil {
			t.Errorf("all minions: %v", err)
		}
	})
}

// TestFollowGoesOnWhenAMinionRestarts: a stream that broke off goes on where it was,
// and nothing comes twice; what the minion has lost is told.
func TestFollowGoesOnWhenAMinionRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := &fakeRuns{}
		r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateRunning)
		r.Tasks = []job.Task{taskOn("m1", job.StateRunning)}
		runs.begin(r)
		tries := 0
		out := &fakeOutputs{fn: func(_ context.Context, _ job.TaskID, _ bool, fn func(int, []byte, int64) error) error {
			tries++
			err := errors.Join(fn(1, []byte("on"), 0), fn(2, []byte("oops"), 0), fn(1, []byte("e t"), 0))
			switch {
			case tries == 1:
				time.Sleep(time.Second)
				return errors.Join(err, errGone)
			case tries < 5:
				return errGone // not back yet
			}
			time.Sleep(20 * time.Second)
			return errors.Join(err, fn(1, []byte("wo three"), 0), fn(1, nil, 50), fn(1, []byte("end"), 0))
		}}
		c := justRuns(runs, out, time.Second)
		go func() {
			time.Sleep(40 * time.Second)
			r.State = job.StateSucceeded
			r.Tasks = []job.Task{taskOn("m1", job.StateSucceeded)}
			r.Tasks[0].Stdout, r.Tasks[0].Stderr = job.Output{Bytes: 13 + 50 + 3}, job.Output{Bytes: 4}
			runs.end(r)
		}()
		got := heard{}
		err := c.Output(t.Context(), r.RunID, "", true, got.fn)
		if d := cmp.Diff(heard{"m1/1": "one two three<50 left out>end", "m1/2": "oops"}, got); d != "" || err != nil {
			t.Errorf("%v, output (-want +got):\n%s", err, d)
		}
	})
}

// TestOutputThatAMinionHasNotKept: what a task wrote and its minion has no more is
// given from the record, and what is in neither is told.
func TestOutputThatAMinionHasNotKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		out  job.Output
		want heard
		lost bool
	}{
		"gone, all is recorded": {"", job.Output{Head: "one ", Tail: "two", Bytes: 7}, heard{"m1/1": "one two"}, false},
		"gone, it was cut":      {"", job.Output{Head: "one", Tail: "two", Bytes: 100, Truncated: true}, heard{"m1/1": "one<94 left out>two"}, true},
		"the end is missing":    {"one t", job.Output{Head: "one", Tail: "two", Bytes: 10, Truncated: true}, heard{"m1/1": "one t<2 left out>two"}, true},
		"the end is recorded":   {"one twelve s", job.Output{Head: "one", Tail: "e six", Bytes: 14, Truncated: true}, heard{"m1/1": "one twelve six"}, false},
		"bad bytes are one":     {"", job.Output{Head: "\uFFFDa", Tail: "b", Bytes: 10, Truncated: true}, heard{"m1/1": "\uFFFDa<7 left out>b"}, true},
	} {
		runs := &fakeRuns{}
		r := someRun(job.UID{1}, "a", time.Unix(0, 0), job.StateSucceeded)
		r.Tasks = []job.Task{taskOn("m1", job.StateSucceeded)}
		r.Tasks[0].Stdout = c.out
		runs.end(r)
		out := &fakeOutputs{fn: func(_ context.Context, _ job.TaskID, _ bool, fn func(int, []byte, int64) error) error {
			return fn(1, []byte(c.file), 0)
		}}
		got := heard{}
		err := justRuns(runs, out, 0).Output(t.Context(), r.RunID, "", false, got.fn)
		if d := cmp.Diff(c.want, got); d != "" || (err != nil) != c.lost {
			t.Errorf("%s: %v, output (-want +got):\n%s", name, err, d)
		}
	}
}
