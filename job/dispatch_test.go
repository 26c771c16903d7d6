package job

import (
	"strings"
	"testing"
	"time"
)

func TestDispatchIsAllThatRuns(t *testing.T) {
	t.Parallel()
	good := func() Spec { return Spec{Dispatch: &QueueDispatch{Queue: "report", Priority: 9, Key: "k"}} }
	if s := good(); len(s.Validate()) > 0 {
		t.Fatalf("%v", s.Validate())
	}
	for path, change := range map[string]func(*Spec){
		"spec.dispatch.queue":      func(s *Spec) { s.Dispatch.Queue = "a/b" },
		"spec.dispatch.priority":   func(s *Spec) { s.Dispatch.Priority = 10 },
		"spec.dispatch.key":        func(s *Spec) { s.Dispatch.Key = "a\nb" },
		"spec.dispatch":            func(s *Spec) { s.Command = []string{"x"} },
		"spec.env":                 func(s *Spec) { s.Env = map[string]EnvValue{"A": Text("b")} },
		"spec.workingDir":          func(s *Spec) { s.WorkingDir = "/tmp" },
		"spec.user":                func(s *Spec) { s.User = "root" },
		"spec.limits":              func(s *Spec) { s.Limits.Pids = 5 },
		"spec.target":              func(s *Spec) { s.Target.Match = "web*" },
		"spec.timeout":             func(s *Spec) { s.Timeout = Duration(time.Minute) },
		"spec.lostAfter":           func(s *Spec) { s.LostAfter = Duration(time.Minute) },
		"spec.retry":               func(s *Spec) { s.Retry.Attempts = 3 },
		"spec.idempotent":          func(s *Spec) { s.Idempotent = true },
		"spec.params[0].sensitive": func(s *Spec) { s.Params = []Param{{Name: "pw", Sensitive: true}} },
	} {
		s := good()
		change(&s)
		found := false
		for _, p := range s.Validate() {
			found = found || p.Path == path
		}
		if !found {
			t.Errorf("%s: nothing is told of it: %v", path, s.Validate())
		}
	}
}

func TestItemPayload(t *testing.T) {
	t.Parallel()
	s := Spec{Params: []Param{{Name: "n", Type: ParamInt}, {Name: "b", Type: ParamBool}, {Name: "x", Type: ParamNumber}, {Name: "t"}}}
	for _, c := range []struct {
		params map[string]string
		want   string
	}{
		{nil, `{}`},
		{map[string]string{"n": "3", "b": "true", "x": "0.25", "t": "3", "other": `"`}, `{"b":true,"n":3,"other":"\"","t":"3","x":0.25}`},
	} {
		if got, err := s.ItemPayload(c.params); got != c.want || err != nil {
			t.Errorf("%v: %s, %v; want %s", c.params, got, err, c.want)
		}
	}
}

func TestQueuesAreNoMinions(t *testing.T) {
	t.Parallel()
	key := Key{Namespace: "team", Name: "report"}
	if got, ok := key.AsMinion().Queue(); got != key || !ok || !key.AsMinion().IsQueue() {
		t.Errorf("%s is queue %v, %v", key.AsMinion(), got, ok)
	}
	if CheckName(string(key.AsMinion())) == nil {
		t.Errorf("a minion may be called %s", key.AsMinion())
	}
	if _, ok := MinionID("web1").Queue(); ok || MinionID("web1").IsQueue() {
		t.Error("web1 is a queue")
	}
	task := TaskID{Fire: FireID{At: 1, Trigger: TriggerSchedule}, Minion: key.AsMinion(), Attempt: 1}
	second := task
	second.Attempt = 2
	if task.ItemID() != string(task.Fire.RunID()) || second.ItemID() == task.ItemID() || strings.Contains(second.ItemID(), "/") {
		t.Errorf("items %s and %s", task.ItemID(), second.ItemID())
	}
	for id, want := range map[string]bool{
		task.ItemID(): true, second.ItemID(): true, task.ItemID() + "-x": false, "item-" + task.ItemID(): false, "jan-27": false, "": false,
		"019ad3c2-7c1e-7000-8000-000000000000": false,
	} {
		if IsRunItem(id) != want {
			t.Errorf("item %q is an occurrence's: %v", id, !want)
		}
	}
}

// A queue runs what a job may: commands, scripts, and Go handlers, which are no processes.
func TestQueueRunsHandlers(t *testing.T) {
	t.Parallel()
	q := QueueSpec{Command: []string{HandlerPrefix + "mail"}}
	if problems := q.Validate(); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
	q.User = "nobody"
	if problems := q.Validate(); len(problems) != 1 || problems[0].Path != "spec.user" {
		t.Errorf("%v", problems)
	}
}
