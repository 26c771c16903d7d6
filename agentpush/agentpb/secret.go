package agentpb

import (
	"maps"

	"github.com/carillon-cron/carillon/job"
)

// SecretsMark is an entry in the environment of orders with secrets. No environment
// takes a name with '=': minions of releases that know of no secrets refuse the
// order, and say so, instead of starting a command without them.
const SecretsMark = "=secrets: this minion's release finds out no secrets; update it"

// fromSecrets adds an order's secrets to its wire form.
func fromSecrets(w *Order, o *job.Order) {
	if len(o.Secrets) == 0 {
		return
	}
	w.Env = make(map[string]string, len(o.Env)+1)
	maps.Copy(w.Env, o.Env)
	w.Env[SecretsMark] = ""
	w.Secrets = make(map[string]*Secret, len(o.Secrets))
	for name, v := range o.Secrets {
		s := &Secret{Value: v.Value, Mask: v.Mask}
		if v.Secret != nil {
			s.File, s.Variable, s.Exec, s.Name, s.Sealed = v.Secret.File, v.Secret.Env, v.Secret.Exec, v.Secret.Name, v.Sealed
		}
		w.Secrets[name] = s
	}
}

// toSecrets reads the secrets of an order from its wire form. The mark of one that
// has lost them stays: it is refused as by an earlier release.
func toSecrets(o *job.Order, w *Order) {
	if len(w.GetSecrets()) == 0 {
		return
	}
	o.Env = maps.Clone(w.GetEnv())
	delete(o.Env, SecretsMark)
	o.Secrets = make(map[string]job.OrderSecret, len(w.GetSecrets()))
	for name, s := range w.GetSecrets() {
		v := job.OrderSecret{Value: s.GetValue(), Mask: s.GetMask()}
		if v.Value == "" {
			v.Secret = &job.SecretRef{File: s.GetFile(), Env: s.GetVariable(), Exec: s.GetExec(), Name: s.GetName()}
			v.Sealed = s.GetSealed()
		}
		o.Secrets[name] = v
	}
}
