package guarded

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Who writes what has a secret's value in its environment needs the right to use it: also
// where the job named it before, and where the secret is in the same file. To read, edit
// and run is not to use.
func TestSecretsAreNamedByWhoMayUseThem(t *testing.T) {
	t.Parallel()
	c := closed()
	all := []rights.Verb{rights.Read, rights.Edit, rights.Run, rights.Exec, rights.Delete}
	may := func(user string, more ...rights.Rule) {
		c.role(user, append(more, rights.Rule{Verbs: all, Kinds: []rights.Kind{rights.Jobs, rights.Queues, rights.Secrets, rights.Minions}})...)
	}
	use := func(labels map[string]string, namespaces ...string) rights.Rule {
		return rights.Rule{Verbs: []rights.Verb{rights.Use}, Kinds: []rights.Kind{rights.Secrets}, Namespaces: namespaces, Labels: labels}
	}
	may("ann", use(nil, "own"))
	may("bob")
	may("cas", use(nil, "foreign"))
	may("dan", use(map[string]string{"team": "own"}, "own"))
	may("eve", use(map[string]string{"team": "other"}, "own"))
	c.bind("fay", rights.Editor, "own")
	c.behind.labels = map[string]string{"team": "own"}
	c.serve(t)
	const naming = "command: [x], env: {PW: {secret: {name: x}}}"
	queue := strings.Replace(jobOf("new", naming), "kind: Job", "kind: Queue", 1)
	for user, want := range map[string]int{
		"ann": http.StatusConflict, "bob": http.StatusForbidden, "cas": http.StatusForbidden, "dan": http.StatusConflict, "eve": http.StatusForbidden, "fay": http.StatusConflict, "root": http.StatusConflict,
	} {
		for what, doc := range map[string]string{"a job": jobOf("new", naming), "a queue": queue, "a job that names it already": jobOf("x", naming+", workingDir: /other")} {
			c.behind.spec = job.Spec{Command: []string{"x"}, Env: map[string]job.EnvValue{"PW": {Secret: &job.SecretRef{Name: "x"}}}}
			status, text := c.ask(t, user, http.MethodPost, "/v1/apply", doc)
			if status != want || want == http.StatusForbidden && !strings.Contains(text, "names the secret own/x") {
				t.Errorf("%s, %s: %d, want %d: %s", user, what, status, want, text)
			}
		}
	}
	if status, text := c.ask(t, "bob", http.MethodPost, "/v1/exec", jobOf("new", naming)); status != http.StatusForbidden || !strings.Contains(text, "names the secret") {
		t.Errorf("exec: %d %s", status, text)
	}
	if status, text := c.ask(t, "bob", http.MethodPost, "/v1/apply", jobOf("x", naming)); status != http.StatusConflict {
		t.Errorf("a job that stays as it is: %d %s", status, text)
	}
}
