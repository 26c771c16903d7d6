package job

import (
	"strings"
	"testing"
)

// What a sensitive parameter may not be: a thing that people read, or that is too short
// to be masked.
func TestSensitiveParamsAreKeptOutOfWhatPeopleRead(t *testing.T) {
	t.Parallel()
	secret := Param{Name: "pw", Sensitive: true, Required: true}
	step := func(st Step) *Spec { return &Spec{Params: []Param{secret}, Steps: []Step{st}} }
	for name, c := range map[string]struct {
		spec *Spec
		want string
	}{
		"a default":   {&Spec{Params: []Param{{Name: "pw", Sensitive: true, Default: "hunter22"}}, Command: []string{"a"}}, "spec.params[0].default: is read by whoever"},
		"a number":    {&Spec{Params: []Param{{Name: "pw", Sensitive: true, Type: ParamInt}}, Command: []string{"a"}}, "spec.params[0].sensitive"},
		"too short":   {&Spec{Params: []Param{{Name: "pw", Sensitive: true, MaxLength: 3}}, Command: []string{"a"}}, "spec.params[0].maxLength: 3 is less than the 4 bytes"},
		"an argument": {step(Step{Command: []string{"psql", "-p", "{{PW}}"}}), "spec.steps[0].command[2]: {{PW}} is sensitive"},
		"a shell's":   {step(Step{Shell: "a", Args: []string{"{{pw}}"}}), "spec.steps[0].args[0]: {{pw}} is sensitive"},
		"another":     {step(Step{Script: "s", Params: map[string]string{"x": "a{{pw}}"}}), "spec.steps[0].params.x: {{pw}} is sensitive"},
		"good":        {step(Step{Script: "s"}), ""},
	} {
		j := Job{Metadata: Metadata{Namespace: "default", Name: "j"}, Spec: *c.spec}
		var told []string
		for _, p := range j.Spec.Validate() {
			told = append(told, p.Path+": "+p.Message)
		}
		if all := strings.Join(told, "\n"); c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", name, all, c.want)
		}
	}
	script := ScriptSpec{Source: "x", Params: []Param{secret}, Args: []string{"{{pw}}"}}
	if p := script.Validate(); len(p) != 1 || p[0].Path != "spec.args[0]" {
		t.Errorf("an argument of a script: %v", p)
	}
	for value, want := range map[string]string{"abc": "fewer than 4 bytes", "": "fewer than 4 bytes", "sesame-1": "the value does not match the pattern", "sesame": ""} {
		d := Param{Name: "pw", Sensitive: true, Pattern: "[a-z]+"}
		err := d.Accepts(value)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || value != "" && strings.Contains(err.Error(), value)) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
}

// The values of sensitive parameters are apart from all that a plan tells, and what
// scripts and jobs say of one parameter agrees.
func TestPlanHasSensitiveValuesApart(t *testing.T) {
	t.Parallel()
	script := func(d ...Param) *SavedScript {
		return &SavedScript{Metadata: Metadata{Namespace: "default", Name: "vacuum"}, Version: 1, SHA256: "x", Spec: ScriptSpec{Source: "true", Params: d}}
	}
	secret := Param{Name: "pw", Sensitive: true}
	for name, c := range map[string]struct {
		job    []Param
		script *SavedScript
		params map[string]string
		want   string
	}{
		"the script's": {nil, script(secret), nil, ""},
		"both":         {[]Param{secret}, script(secret), nil, ""},
		"the job's, and the script takes no such": {[]Param{secret}, script(), nil, ""},
		"not the job's":    {[]Param{{Name: "PW"}}, script(secret), nil, `spec.params[0].sensitive: "PW" is sensitive in a script`},
		"not the script's": {[]Param{secret}, script(Param{Name: "pw"}), nil, `spec.steps[0].script: script default/vacuum takes "pw", which is sensitive`},
		"written":          {nil, script(secret), map[string]string{"pw": "sesame-1"}, "spec.steps[0].params.pw: is sensitive: who starts"},
	} {
		s := Spec{Params: c.job, Steps: []Step{{Script: "vacuum", Params: c.params}}}
		plan, problems := s.Plan("default", map[string]string{"pw": "sesame-2"}, library(c.script))
		var told []string
		for _, p := range problems {
			told = append(told, p.Path+": "+p.Message)
		}
		if all := strings.Join(told, "\n"); (all == "") != (c.want == "") || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", name, all, c.want)
			continue
		}
		if c.want == "" && (plan.Sensitive["pw"] != "sesame-2" || len(plan.Params) > 0 || len(plan.Steps[0].Env) > 0) {
			t.Errorf("%s: %+v", name, plan)
		}
	}
	if got := MaskedParams(map[string]string{"a": "1"}, map[string]string{"pw": "x"}); got["pw"] != Masked || got["a"] != "1" {
		t.Errorf("masked: %v", got)
	}
}
