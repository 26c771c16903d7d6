package job

import (
	"strings"
	"testing"
)

// A job's own command and script are no templates: a parameter that they name as if
// they were is refused, at apply and at the start of a command, with the way to write
// it. At apply, so is any other name in a command: what nothing replaces has no effect.
func TestOwnCommandTakesNoValues(t *testing.T) {
	t.Parallel()
	params := []Param{{Name: "table"}}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"command":         {Spec{Command: []string{"echo", "{{table}}"}}, "spec.command[1]"},
		"in a shell line": {Spec{Command: []string{"sh", "-c", "echo {{Table}}"}}, "spec.command[2]"},
		"script":          {Spec{Script: &Script{Source: "echo {{table}}"}}, "spec.script.source"},
		"another name":    {Spec{Command: []string{"docker", "inspect", "--format", "{{.State}} {{json .}}"}}, ""},
		"by its variable": {Spec{Command: []string{"sh", "-c", `echo "$CARILLON_PARAM_TABLE"`}}, ""},
	} {
		declared := c.spec
		declared.Params = params
		for how, problems := range map[string][]Problem{"apply": declared.Validate(), "start": c.spec.CheckStart(map[string]string{"table": "x"})} {
			var got []string
			for _, p := range problems {
				if strings.Contains(p.Message, "is not replaced") {
					got = append(got, p.Path)
					if !strings.Contains(p.Message, "CARILLON_PARAM_TABLE") {
						t.Errorf("%s, %s: no way to write it: %s", name, how, p.Message)
					}
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, %s: refused at %v, want %q", name, how, got, c.want)
			}
		}
	}
}
