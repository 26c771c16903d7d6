package command

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// own are values that Carillon gives to its own variables.
func own() map[string]string {
	fire := job.FireID{Job: job.UID{1}, At: 1, Trigger: job.TriggerManual}
	return map[string]string{
		"CARILLON_SHARE": "web1", "CARILLON_QUEUE": "mail", "CARILLON_ITEM": fire.Job.String() + ".7", "CARILLON_ITEM_TOKEN": "1.4711",
		"CARILLON_ITEM_JOB": "ops/nightly", "CARILLON_ITEM_FIRE_ID": fire.String(), "CARILLON_ITEM_PLAN": "erp/close", "CARILLON_ITEM_TASK": "totals",
		"CARILLON_CHECKPOINT": `{"page":41}`, "CARILLON_AFTER_RUN_ID": string(fire.RunID()), "CARILLON_AFTER_JOB": "ops/first",
		"CARILLON_AFTER_STATE": string(job.StateSucceeded),
	}
}

// What Carillon sets itself is never what keeps a rule from admitting a start, as long as it
// has the form that Carillon gives it (6).
func TestOwnVariablesNeedNoName(t *testing.T) {
	t.Parallel()
	rule := func(text job.CommandRule) *Rule {
		r, problems := ParseRule("rule", text)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return &r
	}
	named := rule(`{"env":{"TZ":"UTC"},"program":"/bin/tool"}`)
	differs := func(r *Rule, env map[string]string) string {
		s := Start{Program: "/bin/tool", Own: true, Env: env}
		all, _ := r.Differs(&s, s.AsSpelled)
		return strings.Join(all, "; ")
	}
	if got := differs(named, own()); got != "" {
		t.Errorf("all of Carillon's own: %s", got)
	}
	for name := range own() {
		for _, evil := range []string{"() { :; }; id", "a\nb", "$(id) x"} {
			if got := differs(named, map[string]string{name: evil}); !strings.Contains(got, "it sets the variable "+name) {
				t.Errorf("%s=%q: %q; nobody but Carillon gives it such a value", name, evil, got)
			}
		}
	}
	for name, value := range map[string]string{"CARILLON_SERVER": "x", "CARILLON_PAYLOAD": `{"to":"ada"}`} {
		if got := differs(named, map[string]string{name: value}); !strings.Contains(got, "it sets the variable "+name) {
			t.Errorf("%s, which others say: %q", name, got)
		}
	}
	if got := differs(named, map[string]string{"CARILLON_PAYLOAD": ""}); got != "" {
		t.Errorf("no payload: %s", got)
	}
	// A rule that names one bounds it.
	if got := differs(rule(`{"env":{"CARILLON_QUEUE":"report"},"program":"/bin/tool"}`), own()); !strings.Contains(got, `the variable CARILLON_QUEUE is "mail", and the rule has "report"`) {
		t.Errorf("one that the rule names: %q", got)
	}
}

// Each variable that the packages of orders name is known here, or left out on purpose.
func TestOwnVariablesAreAll(t *testing.T) {
	t.Parallel()
	others := map[string]bool{payloadVariable: true, job.ParamVariable: true, job.EnvPrefix: true}
	for _, dir := range []string{"../../job", "../../scheduler", "../queues"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				sum, ok := n.(*ast.BinaryExpr) // as in EnvPrefix + "QUEUE"
				if !ok || !isPrefix(sum.X) {
					return true
				}
				if lit, ok := sum.Y.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					name, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					if name = job.EnvPrefix + name; !others[name] && ownForm(name) == nil {
						t.Errorf("%s sets %s: say in ownForm what its values look like", file, name)
					}
				}
				return true
			})
		}
	}
	for name := range own() {
		if ownForm(name) == nil {
			t.Errorf("%s has no form", name)
		}
	}
}

func isPrefix(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "EnvPrefix"
	case *ast.SelectorExpr:
		return x.Sel.Name == "EnvPrefix"
	}
	return false
}
