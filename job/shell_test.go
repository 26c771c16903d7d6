package job

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// hostile are values that a shell would read if they were part of its line, or
// that a place which evaluates a variable would run; X stands for a file that is
// made then.
func hostile() []string {
	return []string{
		"'; touch X #", `"; touch X; "`, "$(touch X)", "`touch X`", "a\ntouch X\n", "a[$(touch X)]", "a[`touch X`]", "x=1+a[$(touch X)]", "$((a[$(touch X)]))",
		"&& touch X", "a;b|c>d<e", "*", "~", "\\", `\"`, "${HOME}", "-n", "", "a  b", "!!", "é\u2028", "{{name}}", "\t",
	}
}

// planned returns the words that a step runs with a value; ok: the job would be
// taken.
func planned(st Step, value string) (words, env []string, ok bool) {
	s := Spec{Params: []Param{{Name: "name"}}, Steps: []Step{st}}
	if len(s.Validate()) > 0 {
		return nil, nil, false
	}
	plan, problems := s.Plan("default", map[string]string{"name": value}, library())
	if len(problems) > 0 {
		return nil, nil, false
	}
	return plan.Steps[0].Command, []string{ParamEnv("name") + "=" + value}, true
}

// The places that evaluate what they are given were reached by a quoted variable
// too: no list of what is to be refused is complete, so a line takes no value.
func TestShellLineTakesNoValues(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"echo {{name}}", `echo "{{name}}"`, `echo '{{ name }}'`, `let {{name}}`, `test -v {{name}} || true`, `read {{name}}`, `declare {{name}}=1`, `trap {{name}} EXIT`,
		`printf -v {{name}} x`, `unset {{name}}`, `eval {{name}}`, `[ {{name}} -eq 1 ]`, `echo $(( {{name}} + 1 ))`, `[[ {{name}} -eq 1 ]]`, "cat <<E\n{{name}}\nE", "# {{name}}",
		`x={{name}}; export "$x"`, `{{name}}`,
	} {
		s := Spec{Params: []Param{{Name: "name"}}, Steps: []Step{{Name: "s", Shell: line}}}
		var said []string
		for _, p := range s.Validate() {
			said = append(said, p.String())
		}
		if len(said) != 1 || !strings.Contains(said[0], `spec.steps[0].shell: {{name}}`) || !strings.Contains(said[0], `write "$CARILLON_PARAM_NAME", with the quotes, or args: ["{{name}}"] beside it and "$1"`) {
			t.Errorf("%s: %q", line, said)
		}
		// A job that was stored by an older release does not start.
		if _, problems := s.Plan("default", map[string]string{"name": "x"}, library()); len(problems) == 0 {
			t.Errorf("%s is planned", line)
		}
	}
	for _, line := range []string{`docker ps --format '{{.ID}}'`, "plain", `a << b`, `{{ }}`} {
		if words, _, ok := planned(Step{Name: "s", Shell: line}, "v"); !ok || !slices.Equal(words, []string{"/bin/sh", "-c", line}) {
			t.Errorf("%s became %q, %v", line, words, ok)
		}
	}
}

// A script's text is no template either, and what looks like one is told.
func TestScriptTextTakesNoValues(t *testing.T) {
	t.Parallel()
	script := ScriptSpec{Source: "echo {{name}} {{NAME}} {{other}}", Params: []Param{{Name: "name"}}}
	inline := Spec{Script: &Script{Source: "echo {{name}}"}, Params: []Param{{Name: "name"}}}
	for path, problems := range map[string][]Problem{"spec.source": script.Validate(), "spec.script.source": inline.Validate()} {
		if len(problems) != 1 || problems[0].Path != path || !strings.Contains(problems[0].Message, `"$CARILLON_PARAM_NAME"`) {
			t.Errorf("%s: %v", path, problems)
		}
	}
	for by, ok := range map[string]bool{"/bin/sh": true, "perl": true, "make -f": false, "/usr/bin/awk -f": true, "ssh": false} {
		s := ScriptSpec{Source: "x", Interpreter: strings.Fields(by), Args: []string{"{{name}}"}, Params: []Param{{Name: "name"}}}
		if problems := s.Validate(); (len(problems) == 0) != ok {
			t.Errorf("%s: %v", by, problems)
		}
	}
}

// No value says which program a command runs, or is code of an interpreter.
func TestCommandsGiveNoCode(t *testing.T) {
	t.Parallel()
	for line, ok := range map[string]bool{
		"echo {{name}}":                        true,
		"/opt/app --name={{name}} -- {{name}}": true,
		"{{name}} x":                           false,
		"/opt/{{name}}/run":                    false,
		"sh -c CODE sh {{name}}":               true,
		"sh -c CODE sh --for {{name}}":         true,
		"sh -c {{name}}":                       false,
		"sh -c CODE-{{name}}":                  false,
		"/bin/bash -euc {{name}}":              false,
		"bash -o pipefail -c {{name}}":         false,
		"bash -c -o pipefail {{name}}":         true, // the line is "pipefail"; the value is $0
		"bash {{name}}":                        false,
		"bash -x {{name}}":                     false,
		"bash -x /opt/x.sh {{name}}":           true,
		"env A=b sudo -u x bash -c {{name}}":   false,
		"docker exec c sh -lc {{name}}":        false,
		"find . -exec sh -c {{name}} ;":        false,
		"python3 -c CODE {{name}}":             true,
		"python3.11 -W ignore -c {{name}}":     false,
		"python3 -W ignore {{name}}":           false,
		"python3 /opt/x.py {{name}}":           true,
		"perl -e CODE {{name}}":                false, // -e may be given again
		"perl -e CODE -- {{name}}":             false, // it is a file to perl, but the code to others
		"perl /opt/x.pl {{name}}":              true,
		"perl -ne {{name}}":                    false,
		"node --eval={{name}}":                 false,
		"awk {{name}} /etc/passwd":             false,
		"sed -n {{name}} /etc/passwd":          false,
		"ssh host {{name}}":                    false,
		"su postgres -c {{name}}":              false,
		"make -C /src {{name}}":                false,
		"watch {{name}}":                       false,
		"busybox sh -c {{name}}":               false,
	} {
		if _, _, taken := planned(Step{Name: "s", Command: strings.Fields(line)}, "v"); taken != ok {
			t.Errorf("%s: taken is %v", line, taken)
		}
	}
}

// What reaches a shell by a variable or as a positional parameter is one word
// and is not read, in both ways that the refusal tells of.
func TestValuesReachAShellAsData(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "made")
	for _, st := range []Step{
		{Name: "s", Shell: `printf '<%s>' "$CARILLON_PARAM_NAME"`},
		{Name: "s", Shell: `printf '<%s>' "$1"`, Args: []string{"{{name}}"}},
		{Name: "s", Shell: `x=$1; [ "$x" = "$CARILLON_PARAM_NAME" ] && printf '<%s>' "$x"`, Args: []string{"{{name}}"}},
		{Name: "s", Command: []string{"sh", "-c", `printf '<%s>' "$1"`, "sh", "{{name}}"}},
		{Name: "s", Command: []string{"printf", "<%s>", "{{name}}"}},
	} {
		for _, v := range hostile() {
			v = strings.ReplaceAll(v, "X", marker)
			words, env, ok := planned(st, v)
			if !ok {
				t.Fatalf("%+v is not taken", st)
			}
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Env = append(env, "PATH=/usr/bin:/bin")
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Run(); err != nil || said.String() != "<"+v+">" {
				t.Errorf("%q with %q: %v, %q", words, v, err, said.String())
			}
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a value was run")
	}
}

// FuzzShellStep: what a shell reads as its line is what was written, whatever
// the value is.
func FuzzShellStep(f *testing.F) {
	for _, v := range hostile() {
		f.Add("echo {{name}}", v)
		f.Add(`echo "$1"`, v)
	}
	f.Add("echo {{ NAME }}", "x")
	f.Add("echo {{na{{name}}me}}", "name")
	fuzzed.Run(f, func(t *testing.T, line, value string) {
		words, _, ok := planned(Step{Name: "s", Shell: line, Args: []string{"{{name}}", "a{{name}}"}}, value)
		if !ok {
			return
		}
		if want := []string{"/bin/sh", "-c", line, "sh", value, "a" + value}; !slices.Equal(words, want) {
			t.Errorf("got %q, want %q", words, want)
		}
		if reference.MatchString(line) {
			t.Errorf("%q was taken", line)
		}
	})
}

// FuzzCommandStep: which program runs, and what an interpreter may read as code,
// is the same whatever the value is.
func FuzzCommandStep(f *testing.F) {
	for _, line := range []string{"echo {{name}}", "sh -c {{name}}", "sh -c x sh {{name}}", "env bash -o pipefail -c x {{name}}", "perl -e x {{name}}", "ssh a {{name}}", "{{name}}", "sh -- {{name}} x"} {
		f.Add(line, "-c")
		f.Add(line, "bash")
	}
	fuzzed.Run(f, func(t *testing.T, line, value string) {
		written := strings.Fields(line)
		words, _, ok := planned(Step{Name: "s", Command: written}, value)
		if !ok {
			return
		}
		code := readAsCode(written)
		for i, w := range words {
			if code[i] && w != written[i] {
				t.Errorf("word %d of %q became %q", i, written, w)
			}
		}
		// A value that is an option, or the name of an interpreter, is none.
		for k, w := range written {
			if k+2 < len(written) && interpreterOf(w) == readsUpToCode && written[k+1] == "-c" && reference.MatchString(written[k+2]) {
				t.Errorf("%q was taken", written)
			}
		}
	})
}
