package queues

import (
	"maps"

	"github.com/carillon-cron/carillon/job"
)

// OrderOf returns what an item of a queue has a minion start, which does work; token is
// that of the item's claim.
func OrderOf(work *job.Spec, queue job.Key, item, token, payload string) job.Order {
	texts, secrets := work.Variables()
	env := maps.Clone(texts)
	if env == nil {
		env = map[string]string{}
	}
	env[job.EnvQueue], env[job.EnvItem], env[job.EnvItemToken], env[job.EnvPayload] = queue.Name, item, token, payload
	return job.Order{
		Command: work.Command, Script: work.Script, Env: env, Secrets: secrets, WorkingDir: work.WorkingDir, User: work.User, Limits: work.Limits,
	}
}
