package control

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
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
