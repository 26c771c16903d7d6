package control

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// TestPayloadsOfHandlers: what no worker of a queue takes is refused when it is put; what
// one of them takes is not, and what others say that may not work on it counts for nothing.
func TestPayloadsOfHandlers(t *testing.T) {
	t.Parallel()
	q := queued("mail")
	q.Queue.Command, q.Queue.Target.Match = []string{"go:mail"}, "w1,w2"
	worker := func(id job.MinionID, queues, schema string) job.Minion {
		return job.Minion{ID: id, Facts: map[string]string{job.FactQueues: queues, job.FactHandler + "mail": schema}}
	}
	strict, old := `{"type":"object","required":["to"]}`, `{"type":"string"}`
	for _, c := range []struct {
		name    string
		minions []job.Minion
		payload string
		refused string
	}{
		{"no worker", nil, `1`, ""},
		{"one that takes it", []job.Minion{worker("w1", "ops/mail:1", strict)}, `{"to":"ada"}`, ""},
		{"one that does not", []job.Minion{worker("w1", "ops/mail:1", strict)}, `{}`, "items[0].payload: to: is missing (no worker of the queue takes it)"},
		{"an old one beside it", []job.Minion{worker("w1", "ops/mail:1", strict), worker("w2", "ops/mail:1", old)}, `"ada"`, ""},
		{"one that does not tell", []job.Minion{worker("w1", "ops/mail:1", strict), worker("w2", "ops/mail:1", "")}, `1`, ""},
		{"one outside of the target", []job.Minion{worker("w1", "ops/mail:1", strict), worker("w3", "ops/mail:1", "")}, `{}`, "is missing"},
		{"one of another queue", []job.Minion{worker("w1", "ops/other:1", strict)}, `{}`, ""},
		{"one that takes texts", []job.Minion{worker("w1", "ops/mail:1", old)}, `ada`, ""},
		{"one that takes objects, and no payload", []job.Minion{worker("w1", "ops/mail:1", strict)}, ``, "to: is missing"},
		{"one that takes texts, and no payload", []job.Minion{worker("w1", "ops/mail:1", old)}, ``, ""},
		{"one whose schema cannot be read", []job.Minion{worker("w1", "ops/mail:1", `{"$ref":"x"}`)}, `{}`, ""},
	} {
		e := setup(t, func(_ *Config, d *Deps) { d.Minions = fakeMinions(c.minions) })
		e.apply(t, q)
		_, err := e.PutItems(t.Context(), q.Metadata.Key(), []api.NewItem{{Payload: c.payload}}, api.Order{})
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.refused)
		}
	}
}

// TestInputsOfJobs: a job that gives a handler what no minion takes which may do its tasks is
// refused as it is stored, with all that is wrong; one whose handler nobody has is stored,
// with a warning. What was stored is not held up by what handlers take later.
func TestInputsOfJobs(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","required":["to","subject"],"additionalProperties":false,"properties":{"to":{"type":"string"},"subject":{"type":"string"}}}`
	fleet := fakeMinions{
		{ID: "w1", Facts: map[string]string{job.FactQueues: "ops/mail:1", job.FactHandler + "mail": schema}},
		{ID: "any", Facts: map[string]string{job.FactHandler + "mail": ""}},
	}
	e := setup(t, func(_ *Config, d *Deps) { d.Minions = fleet })
	calls := func(target string, words ...string) manifest.Object {
		return object("j", func(o *manifest.Object) {
			o.Spec.Command, o.Spec.Target.Match = append([]string{"go:mail"}, words...), target
		})
	}
	mail, other := queued("mail"), queued("other")
	mail.Queue.Command, other.Queue.Command = []string{"go:mail"}, []string{"go:mail"}
	puts := func(queue string, params ...job.Param) manifest.Object {
		return object("d", func(o *manifest.Object) {
			o.Spec.Command, o.Spec.Dispatch, o.Spec.Params = nil, &job.QueueDispatch{Queue: queue}, params
		})
	}
	to, subject := job.Param{Name: "to", Default: "ada"}, job.Param{Name: "subject", Default: "hello"}
	const input = "handler mail does not take it: "
	for _, c := range []struct {
		name    string
		objects []manifest.Object
		// refused are the problems, warned is in the warnings.
		refused []string
		warned  string
	}{
		{"what it takes", []manifest.Object{calls("w1", `{"to":"ada","subject":"hello"}`)}, nil, ""},
		{"what it does not", []manifest.Object{calls("w1", `{"to":1,"cc":"bob"}`)}, []string{
			"spec.command[1]: " + input + "subject: is missing", "spec.command[1]: " + input + "cc: is not known", "spec.command[1]: " + input + "to: is number; want string",
		}, ""},
		{"a text", []manifest.Object{calls("w1", `ada`)}, []string{"spec.command[1]: " + input + "is string; want object"}, ""},
		{"nothing", []manifest.Object{calls("w1")}, []string{"spec.command: " + input + "to: is missing", "spec.command: " + input + "subject: is missing"}, ""},
		{"where another takes anything", []manifest.Object{calls("", `{}`)}, nil, ""},
		{"where nobody has it", []manifest.Object{calls("w9", `{}`)}, nil, "spec.command: no minion that the target matches has handler mail now"},
		{"into a queue", []manifest.Object{mail, puts("mail", to, subject)}, nil, ""},
		{"into a queue of the file, which does not", []manifest.Object{mail, puts("mail", to)}, []string{"spec.params: make a payload that queue ops/mail does not take: subject: is missing (no worker"}, ""},
		{"what a run says", []manifest.Object{mail, object("d", func(o *manifest.Object) {
			o.Spec.Schedules, o.Spec.Command, o.Spec.Dispatch, o.Spec.Params = nil, nil, &job.QueueDispatch{Queue: "mail"}, []job.Param{{Name: "to"}}
		})}, nil, ""},
		{"into a queue that nobody works on", []manifest.Object{other, puts("other", to)}, nil, "spec.dispatch.queue: no worker of the queue has handler mail now"},
	} {
		results, err := e.Apply(t.Context(), "jobs.json", encode(t, c.objects...), false)
		var invalid *job.InvalidError
		if c.refused == nil && err != nil || c.refused != nil && !errors.As(err, &invalid) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.refused {
			if len(invalid.Problems) != len(c.refused) || !slices.ContainsFunc(invalid.Problems, func(p job.Problem) bool { return strings.HasPrefix(p.Path+": "+p.Message, want) }) {
				t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, want)
			}
		}
		var warnings []string
		for i := range results {
			warnings = append(warnings, results[i].Warnings...)
		}
		if all := strings.Join(warnings, "\n"); c.warned == "" && strings.Contains(all, "handler") || !strings.Contains(all, c.warned) {
			t.Errorf("%s: warned %q, want %q", c.name, all, c.warned)
		}
	}

	e.apply(t, mail, calls("w1", `{"to":"ada","subject":"hello"}`), puts("mail", to, subject))
	fleet[0].Facts[job.FactHandler+"mail"] = `{"type":"array"}`
	if got := e.apply(t, calls("w1", `{"to":"ada","subject":"hello"}`), puts("mail", to, subject)); got["j"] != api.ActionUnchanged || got["d"] != api.ActionUnchanged {
		t.Errorf("what is stored, applied once more: %v", got)
	}
	for _, name := range []string{"j", "d"} {
		if _, err := e.SetEnabled(t.Context(), job.Key{Namespace: "ops", Name: name}, false, api.Order{}); err != nil {
			t.Errorf("switch %s off: %v", name, err)
		}
	}
}

// TestInputsOfPlans: a plan is refused for a task that no worker of its queue takes, with its
// line.
func TestInputsOfPlans(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "w1", Facts: map[string]string{job.FactQueues: "ops/mail:1", job.FactHandler + "mail": `{"type":"object","required":["to"]}`}}}
	})
	mail := queued("mail")
	mail.Queue.Command = []string{"go:mail"}
	e.apply(t, mail)
	send := func(task string) error {
		_, err := e.SendPlan(t.Context(), plans.Sending{Namespace: "ops", Format: plan.XML, Body: strings.NewReader("<plan id=\"p\" upstream=\"erp\">\n" + task + "</plan>")}, api.Order{By: "ann"})
		return err
	}
	var invalid *job.InvalidError
	if err := send(`<task id="a" type="mail"/>`); !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Line != 2 || !strings.Contains(invalid.Problems[0].Message, "no worker of queue mail takes them: to: is missing") {
		t.Errorf("got %v", err)
	}
	if err := send(`<task id="a" type="mail"><parameter name="to">ada</parameter></task>`); err != nil {
		t.Error(err)
	}
}
