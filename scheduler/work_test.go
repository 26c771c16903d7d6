package scheduler

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// shelve stores a version of a script.
func (b *bed) shelve(name string, version int, source string, params ...job.Param) {
	b.t.Helper()
	l := job.SavedScript{Metadata: job.Metadata{Namespace: "t", Name: name}, Version: version, SHA256: job.ScriptSum(source), Spec: job.ScriptSpec{Params: params}}
	if len(source) <= job.SmallScript {
		l.Spec.Source = source
	}
	b.place(b.keys.ScriptVersion(l.Key(), version), etcdkv.StoredScript{Schema: 1, SavedScript: l})
}

// ask asks for a run, and returns its record once it has ended.
func (b *bed) ask(j job.Job, params map[string]string) job.Run {
	b.t.Helper()
	fire := b.trigger(j, params)
	b.until("it ended", func() bool { return b.recorded(func(r *job.Run) bool { return r.FireID == fire }) == 1 })
	run, err := b.w.Get(context.Background(), fire.RunID())
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

// sent returns the order of a run's first attempt.
func (w *world) sent(run *job.Run) job.Order {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, o := range w.last {
		if id.Fire == run.FireID {
			return o
		}
	}
	return job.Order{}
}

// An order says all that a minion needs: which steps, with which values. Texts
// that are not small go by their hash.
func TestOrdersCarryTheirSteps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	large := strings.Repeat("#", job.SmallScript+1)
	b.shelve("s", 1, "one")
	b.shelve("s", 2, large, job.Param{Name: "n", Default: "7"})
	j := b.put("j", job.Spec{Steps: []job.Step{{Script: "s"}, {Script: "s@1", If: job.IfAlways}, {Shell: "echo $1", Args: []string{"{{who}}"}}}, Params: []job.Param{{Name: "who", Default: "me"}}})
	inline := b.put("inline", job.Spec{Script: &job.Script{Source: large, Interpreter: []string{"bash"}}})
	b.start("n")

	run := b.ask(j, nil)
	o := b.w.sent(&run)
	want := []job.OrderStep{
		{Name: "step-1", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: job.ScriptSum(large)}, Env: map[string]string{"CARILLON_PARAM_N": "7"}},
		{Name: "step-2", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: job.ScriptSum("one"), Source: "one"}, If: job.IfAlways, Env: map[string]string{}},
		{Name: "step-3", Command: []string{"/bin/sh", "-c", "echo $1", "sh", "me"}, Env: map[string]string{}},
	}
	if d := cmp.Diff(want, o.Steps); d != "" || run.State != job.StateSucceeded || o.Env["CARILLON_PARAM_WHO"] != "me" {
		t.Errorf("%s %s\n%s", run.State, o.Env, d)
	}

	run = b.ask(inline, nil)
	if o = b.w.sent(&run); o.ScriptSHA256 != job.ScriptSum(large) || o.Script == nil || o.Script.Source != "" || o.Script.Interpreter[0] != "bash" {
		t.Errorf("inline: %+v", o)
	}
}

// What cannot be ordered is refused with the reason, and no minion hears of it.
func TestOrderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shelve("s", 1, "one", job.Param{Name: "n", Type: job.ParamInt})
	gone := b.put("gone", job.Spec{Steps: []job.Step{{Script: "nowhere"}}})
	bad := b.put("bad", job.Spec{Steps: []job.Step{{Script: "s"}}})
	b.start("n")
	for _, c := range []struct {
		j      job.Job
		params map[string]string
		want   string
	}{
		{bad, map[string]string{"n": "x"}, `"x" is not a whole number`},
		{gone, nil, `there is no script "nowhere" in namespace "t"`},
	} {
		run := b.ask(c.j, c.params)
		if run.State != job.StateRejected || !strings.Contains(run.Reason, c.want) || b.w.sent(&run).RunID != "" {
			t.Errorf("%s: %s %q", c.j.Name, run.State, run.Reason)
		}
	}
}

// A run for which enough minions have come does not say that it waits for more.
func TestWhatARunWaitsForThatHasMinions(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct{ found, want int }{
		"waiting for more minions: 2 match the target, and it is to run on 3": {2, 3},
		"about to be sent: a minion matches the target now":                   {1, 1},
		"about to be sent: 3 minions match the target now":                    {3, 2},
	} {
		if got := awaitsMore(c.found, c.want); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}
