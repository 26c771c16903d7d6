package agentpb

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// A minion of a release that knows no secrets reads the environment only: it finds a
// name there that no environment takes, and refuses the order.
func TestEarlierMinionsRefuseSecrets(t *testing.T) {
	t.Parallel()
	env := map[string]string{"A": "b"}
	w := FromOrder(&job.Order{Env: env, Secrets: map[string]job.OrderSecret{"P": {Secret: &job.SecretRef{Env: "V"}}}})
	refused := 0
	for name := range w.GetEnv() {
		if strings.Contains(name, "=") {
			refused++
		}
	}
	if refused != 1 || len(env) != 1 {
		t.Errorf("on the wire: %v; the job's: %v", w.GetEnv(), env)
	}
	w.Secrets = nil // lost on the way
	if o, err := ToOrder(w, ""); err == nil {
		if _, marked := o.Env[SecretsMark]; !marked {
			t.Errorf("an order that has lost its secrets is taken: %v", o.Env)
		}
	}
}
