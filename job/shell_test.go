package job

import (
	"bytes"
	"fmt"
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
		`printf '<%s>' {{name}}`:                                     "<V>",
		`printf '<%s>' "{{name}}" x`:                                 "<V><x>",
		`printf '<%s>' "it is {{ name }}, really"`:                   "<it is V, really>",
		`printf '<%s>' a{{name}}b`:                                   "<aVb>",
		`printf '<%s>' "$(printf %s {{name}}; echo .)"`:              "<V.>",
		`printf '<%s>' "$(printf %s "{{name}}"; echo .)"`:            "<V.>",
		`(printf '<%s>' {{name}})`:                                   "<V>",
		`x={{name}}; printf '<%s>' "$x"`:                             "<V>",
		`if [ {{name}} = {{name}} ]; then printf same; fi`:           "same",
		"# don't\nprintf '<%s>' {{name}} # isn't it":                 "<V>",
		`printf '<%s>' 'it''s' "\"" {{name}}`:                        `<its><"><V>`,
		"printf '<%s>' \"$(#\"\nprintf %s {{name}}; echo . #\"\n)\"": "<V.>",
		"printf '<%s>' \\\n#\"\nprintf '<%s>' {{name}} #\"":          "<><V>",
		"printf '<%s>' `printf '%s' 1` {{name}}":                     "<1><V>",
		`case x in x) printf '<%s>' {{name}};; esac`:                 "<V>",
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

// Whatever a line is made of, what it does with a value of several words and
// signs is what it does with a plain one.
func TestShellLineTreatsAllValuesAlike(t *testing.T) {
	t.Parallel()
	const plain, hard = "ZQX", "A  B*$(echo C);'\""
	part := rapid.SampledFrom([]string{
		"{{p}}", "{{p}}", "show ", " ", " ", "\n", "\"", "\"", "'", "`", "$(", "(", ")", "case x in x) ", ";; esac", "#", "\\", "${x:-", "${x#", "}", "a", "; ", " && ",
		`"$(case x in x) show `, `;; esac)"`, `)#"`, `"${x:-'}" '"'`, "`#\"`",
	})
	shells := [][]string{{"/bin/sh", "-c"}}
	if bash, err := exec.LookPath("bash"); err == nil {
		shells = append(shells, []string{bash, "--posix", "-c"})
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(part, 1, 16).Draw(t, "parts")
		line, err := quoteLine("exec 3>&1; show() { printf '<%s>' \"$@\" >&3; }; show " + strings.Join(parts, ""))
		if err != nil {
			return
		}
		for _, sh := range shells {
			does := func(value string) string {
				cmd := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], line)...)
				cmd.Env = []string{"PATH=/usr/bin:/bin", ParamEnv("p") + "=" + value}
				var said bytes.Buffer
				cmd.Stdout = &said
				if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 2 {
					return fmt.Sprint(err) // no shell line at all
				}
				return said.String()
			}
			want := strings.ReplaceAll(does(plain), plain, hard)
			if got := does(hard); got != want {
				t.Fatalf("%s: %s wrote %q, want %q", line, sh[0], got, want)
			}
		}
	})
}

func TestShellLineRefusesWhatCannotBeQuoted(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`echo '{{name}}'`, "echo `echo {{name}}`", `echo ${x:-{{name}} }`, "cat <<E\n{{name}}\nE", `echo $(( {{name}} + 1 ))`,
		`echo \{{name}}`, `echo ${{name}}`, `echo $'\t'{{name}}`, "echo # {{name}}", `echo "$(echo '{{name}}')"`,
		`echo $[{{name}}]`, `[[ {{name}} -eq 1 ]]`,
		// What closes here is not what one might think.
		`echo "$(case x in x) echo {{name}};; esac)"`, "(true)#\"\necho {{name}} #\"", `echo "${x:-'}" '"' {{name}} '"}"'`,
		"echo `#\"` x `echo {{name}} #\"`",
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
