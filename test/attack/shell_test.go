package attack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The values of parameters are of whoever starts a job, and run nothing: a line
// that would take one is refused, and what the refusal advises keeps them data.
func TestValuesRunNothing(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	startMinion(t, n, "m1")
	marker := filepath.Join(openDir(t), "made")
	value := "a[$(touch " + marker + ")]"

	job := func(name, step string) string {
		return "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: " + name + "}\nspec:\n  params: [{name: v}, {name: n, type: int, default: 1}]\n  steps:\n    - " + step + "\n"
	}
	for name, step := range map[string]string{
		"arith": `{name: s, shell: "x=$((1)); let {{v}}"}`, "testv": `{name: s, shell: "bash -c 'test -v \"$1\"' sh {{v}}"}`, "line": `{name: s, shell: "echo {{v}}"}`,
		"eq": `{name: s, shell: "x={{v}}; echo $((x))"}`, "read": `{name: s, shell: "echo 1 | read {{v}}"}`, "trap": `{name: s, shell: "trap {{v}} EXIT"}`,
		"words": `{name: s, command: [bash, -c, "echo $(( {{v}} ))"]}`, "eval": `{name: s, command: [perl, -e, "print {{v}}"]}`,
	} {
		r := n.apply(t, job(name, step))
		if r.code == 0 {
			n.carillon(t, "run", name, "--param", "v="+value, "--wait") // what it does is seen below
		}
		if r.code != 2 || !strings.Contains(r.stderr, "$CARILLON_PARAM_V") {
			t.Errorf("%s is taken: %d %s", name, r.code, r.stderr)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a value was run by a line that takes it")
	}
	n.apply(t, job("good", `{name: s, shell: "printf '<%s>' \"$CARILLON_PARAM_V\" \"$1\"; test $((CARILLON_PARAM_N + 1)) = 2", args: ["{{v}}"]}`)).must(t)
	n.carillon(t, "run", "good", "--param", "v="+value, "--wait").must(t)
	runs := n.carillon(t, "runs", "good", "-o", "name").must(t)
	if out := n.carillon(t, "logs", strings.Fields(runs)[0]).must(t); out != "<"+value+"><"+value+">" {
		t.Errorf("the line has got %q", out)
	}
	// An int may stand where a shell evaluates, as it is one.
	if r := n.carillon(t, "run", "good", "--param", "n="+value, "--wait"); r.code != 2 || !strings.Contains(r.stderr, "is not a whole number") {
		t.Errorf("a number is taken: %d %s", r.code, r.stderr)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a value was run")
	}
}
