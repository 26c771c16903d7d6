package job

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// hostile are values that a shell would read if they were part of its line.
func hostile() []string {
	return []string{
		"'; rm -rf / #", `"; exit 9; "`, "$(exit 9)", "`exit 9`", "a\nexit 9\n", "a  b", "*", "~", "\\", `\"`, "$HOME", "${HOME}", "-n", "", "&& exit 9", "a;b|c>d<e",
		"'", `"`, "#", "!!", "é\u2028", "{{name}}", "\t", "a'b\"c`d$e\\f",
	}
}

// shell runs a line as a minion does, and returns what it wrote.
func shell(t rapid.TB, line string, env ...string) string {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env = append(env, "PATH=/usr/bin:/bin")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, errs.String())
	}
	return string(out)
}

// Wherever a line may name a parameter, its value is one word and is not read.
func TestShellLineNeverReadsAValue(t *testing.T) {
	t.Parallel()
	lines := map[string]string{
		`printf '<%s>' {{name}}`:                           "<V>",
		`printf '<%s>' "{{name}}" x`:                       "<V><x>",
		`printf '<%s>' "it is {{ name }}, really"`:         "<it is V, really>",
		`printf '<%s>' a{{name}}b`:                         "<aVb>",
		`printf '<%s>' "$(printf %s {{name}}; echo .)"`:    "<V.>",
		`printf '<%s>' "$(printf %s "{{name}}"; echo .)"`:  "<V.>",
		`(printf '<%s>' {{name}})`:                         "<V>",
		`x={{name}}; printf '<%s>' "$x"`:                   "<V>",
		`if [ {{name}} = {{name}} ]; then printf same; fi`: "same",
		"# don't\nprintf '<%s>' {{name}} # isn't it":       "<V>",
		`printf '<%s>' 'it''s' "\"" {{name}}`:              `<its><"><V>`,
	}
	for line, want := range lines {
		quoted, err := quoteLine(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for _, v := range hostile() {
			if got, want := shell(t, quoted, ParamEnv("name")+"="+v), strings.ReplaceAll(want, "V", v); got != want {
				t.Errorf("%s with %q: got %q, want %q", line, v, got, want)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`[ -~\n]{0,20}`).Draw(t, "value")
		quoted, err := quoteLine(`printf %s {{v}}"{{v}}"`)
		if err != nil {
			t.Fatal(err)
		}
		if got := shell(t, quoted, ParamEnv("v")+"="+v); got != v+v {
			t.Fatalf("got %q, want %q twice", got, v)
		}
	})
}

func TestShellLineRefusesWhatCannotBeQuoted(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`echo '{{name}}'`, "echo `echo {{name}}`", `echo ${x:-{{name}} }`, "cat <<E\n{{name}}\nE", `echo $(( {{name}} + 1 ))`,
		`echo \{{name}}`, `echo ${{name}}`, `echo $'\t'{{name}}`, "echo # {{name}}", `echo "$(echo '{{name}}')"`,
	} {
		if quoted, err := quoteLine(line); err == nil {
			t.Errorf("%s became %s", line, quoted)
		}
	}
	for _, line := range []string{`docker ps --format '{{.ID}}'`, "plain", `a << b`, `{{ }}`} {
		if quoted, err := quoteLine(line); err != nil || quoted != line {
			t.Errorf("%s became %q, %v", line, quoted, err)
		}
	}
}
