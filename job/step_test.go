package job

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func vacuum() *SavedScript {
	return &SavedScript{
		Metadata: Metadata{Namespace: "default", Name: "vacuum"}, Version: 2, SHA256: ScriptSum("x"),
		Spec: ScriptSpec{
			Source: "x", Interpreter: []string{"bash"}, Args: []string{"--limit={{n}}", "{{table}}"}, User: "postgres", Env: map[string]string{"A": "script", "B": "script"},
			Params: []Param{
				{Name: "table", Required: true, Pattern: "[a-z_;' ]+"}, {Name: "n", Type: ParamInt, Default: "10", Min: "1", Max: "99"},
				{Name: "mode", Type: ParamEnum, Values: []string{"full", "quick"}},
			},
		},
	}
}

func library(scripts ...*SavedScript) ScriptFinder {
	return func(ref ScriptRef) (*SavedScript, bool) {
		for _, s := range scripts {
			if s.Key() == ref.Key && (ref.Version == 0 || ref.Version == s.Version) {
				return s, true
			}
		}
		return nil, false
	}
}

func TestPlanGivesArgumentsAndVariables(t *testing.T) {
	t.Parallel()
	s := Spec{
		Env:    map[string]EnvValue{"A": Text("job")},
		Params: []Param{{Name: "who", Default: "x"}, {Name: "other"}},
		Steps: []Step{
			{Script: "vacuum@2", Params: map[string]string{"table": "t_{{who}}", "mode": "{{other}}"}, If: IfAlways},
			{Shell: `echo "$CARILLON_PARAM_WHO"`, Timeout: Duration(5)},
			{Name: "args", Shell: `echo "$1" "$2"`, Args: []string{"{{who}}", "-{{other}}{{extra}}"}, Params: map[string]string{"extra": "{{who}}!"}},
			{Name: "last", Command: []string{"echo", "{{who}}", "{{other}}", "{{extra}}"}, Params: map[string]string{"extra": "{{who}}!"}, ContinueOnFailure: true},
		},
	}
	const hostile = "'; rm"
	got, problems := s.Plan("default", map[string]string{"WHO": hostile, "n": "7"}, library(vacuum()))
	if problems != nil {
		t.Fatal(problems)
	}
	want := Plan{
		Params: map[string]string{"WHO": hostile, "n": "7"}, User: "postgres",
		Steps: []OrderStep{
			{
				Name: "vacuum", Command: []string{"bash"}, Script: &OrderScript{SHA256: ScriptSum("x"), Source: "x"}, Args: []string{"--limit=7", "t_" + hostile}, If: IfAlways,
				Env: map[string]string{"B": "script", "CARILLON_PARAM_TABLE": "t_" + hostile, "CARILLON_PARAM_N": "7"},
			},
			{Name: "step-2", Command: []string{"/bin/sh", "-c", `echo "$CARILLON_PARAM_WHO"`}, Timeout: 5, Env: map[string]string{}},
			{Name: "args", Command: []string{"/bin/sh", "-c", `echo "$1" "$2"`, "sh", hostile, "-" + hostile + "!"}, Env: map[string]string{"CARILLON_PARAM_EXTRA": hostile + "!"}},
			{Name: "last", Command: []string{"echo", hostile, "", hostile + "!"}, ContinueOnFailure: true, Env: map[string]string{"CARILLON_PARAM_EXTRA": hostile + "!"}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPlanTellsAllProblems(t *testing.T) {
	t.Parallel()
	s := Spec{
		User: "root", Params: []Param{{Name: "keep", Type: ParamInt, Required: true}},
		Steps: []Step{{Script: "vacuum", Params: map[string]string{"n": "100", "tabel": "x"}}, {Script: "vacuum@9"}, {Script: "gone", Params: map[string]string{"a": "{{keep}}"}}},
	}
	_, problems := s.Plan("default", map[string]string{"mode": "ful", "kep": "3"}, library(vacuum()))
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	for _, want := range []string{
		`spec.steps[1].script: there is no script "vacuum@9"`, `spec.steps[2].script: there is no script "gone"`, `params.kep: there is no parameter "kep"; did you mean "keep"?`,
		"params.keep: is missing", `spec.steps[0].params.tabel: there is no parameter "tabel"; did you mean "table"?`, "params.table: is missing; script default/vacuum requires it",
		"spec.steps[0].params.n: 100 is more than 99", `params.mode: "ful" is not allowed; did you mean "full"?`, `spec.steps[0].script: runs as "postgres", and the job as "root"`,
	} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("missing: %s\n%s", want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 9 {
		t.Errorf("%d problems:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// A job that starts by itself must not lack a parameter; one that people start may.
func TestCheckStepsKnowsWhoStarts(t *testing.T) {
	t.Parallel()
	s := Spec{Steps: []Step{{Script: "vacuum"}}}
	if problems := s.CheckSteps("default", library(vacuum())); problems != nil {
		t.Errorf("started by people: %v", problems)
	}
	s.Schedules = []string{"@daily"}
	problems := s.CheckSteps("default", library(vacuum()))
	if len(problems) != 1 || problems[0].Path != "spec.params" || !strings.Contains(problems[0].Message, "table") {
		t.Errorf("started by its schedule: %v", problems)
	}
	s.Steps[0].Params = map[string]string{"table": "users"}
	if problems := s.CheckSteps("default", library(vacuum())); problems != nil {
		t.Errorf("complete: %v", problems)
	}
}

func TestParamAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		param     Param
		good, bad []string
	}{
		{Param{Type: ParamInt, Min: "-2", Max: "5"}, []string{"-2", "0", "5"}, []string{"", "6", "-3", "1.5", "0x1", "1_0", "99999999999999999999", "+1", "01", "-0", " 1", "1\n", "a[$(id)]"}},
		{Param{Type: ParamInt, Min: "9007199254740993", Max: "9007199254740995"}, []string{"9007199254740993"}, []string{"9007199254740992", "9007199254740996"}},
		{Param{Type: ParamNumber, Max: "1.5"}, []string{"1.5", "-3", "1e-3"}, []string{"", "1.6", "inf", "NaN", "0x1p-2", "1_0"}},
		{Param{Type: ParamBool}, []string{"true", "false"}, []string{"", "yes", "1", "TRUE"}},
		{Param{Type: ParamEnum, Values: []string{"a", "b"}}, []string{"a", "b"}, []string{"", "A", "a "}},
		{Param{Type: ParamPath}, []string{"/", "/a/b..c"}, []string{"", "a", "/a/../b", "/..", "a\x00"}},
		{Param{Pattern: "[a-z]+|x1", MaxLength: 3}, []string{"a", "x1", "abc"}, []string{"", "a1", "abcd", "a\n", "x1x1"}},
		{Param{}, []string{"", "'; rm -rf /", "a\nb"}, []string{"\x00"}},
	} {
		for _, v := range c.good {
			if err := c.param.Accepts(v); err != nil {
				t.Errorf("%+v: %q: %v", c.param, v, err)
			}
		}
		for _, v := range c.bad {
			if c.param.Accepts(v) == nil {
				t.Errorf("%+v accepts %q", c.param, v)
			}
		}
	}
}

func TestValidateTellsWhatIsWrongWithSteps(t *testing.T) {
	t.Parallel()
	s := Spec{
		Params: []Param{{Name: "a", Type: "in"}, {Name: "A"}, {Name: "b", Type: ParamEnum}, {Name: "c", Type: ParamInt, Default: "x"}, {Name: "d", Min: "1", Pattern: "("}},
		Steps: []Step{
			{Name: "x", Shell: "a", Command: []string{"b"}}, {Name: "x", Shell: "echo '{{a}}'"}, {Script: "s@0"}, {Command: []string{"go:x"}}, {Shell: "echo {{z}}", If: "succeeded"},
			{Command: []string{"sh", "-c", "echo {{a}}"}}, {Command: []string{"echo", "{{z}}"}, Args: []string{"x"}}, {Shell: "true", Args: []string{"{{z}}"}},
			{Shell: "true", Params: map[string]string{"q": "{{nope}}"}, Timeout: 1}, {},
		},
	}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Path)
	}
	want := []string{
		"spec.params[0].type", "spec.params[1].name", "spec.params[2].values", "spec.params[3].default", "spec.params[4].min", "spec.params[4].pattern",
		"spec.steps[0]", "spec.steps[1].shell", "spec.steps[1].name", "spec.steps[2].script", "spec.steps[3].command",
		"spec.steps[4].shell", "spec.steps[4].if", "spec.steps[5].command[2]", "spec.steps[6].args", "spec.steps[6].command[1]", "spec.steps[7].args[0]",
		"spec.steps[8].timeout", "spec.steps[8].params.q", "spec.steps[9]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What cannot be reached is refused: a condition on a failure where no step before can
// fail, and a timeout that the job's ends before.
func TestStepsThatAreNeverReached(t *testing.T) {
	t.Parallel()
	fails, continued := Step{Shell: "false"}, Step{Shell: "false", ContinueOnFailure: true}
	when := func(w StepIf) Step { return Step{Shell: "true", If: w} }
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"the first, on failure":    {Spec{Steps: []Step{when(IfFailure)}}, "spec.steps[0].if: the step would never run"},
		"the first, always":        {Spec{Steps: []Step{when(IfAlways), fails}}, "spec.steps[0].if: changes nothing"},
		"the first, on success":    {Spec{Steps: []Step{when(IfSuccess), fails}}, ""},
		"behind continued ones":    {Spec{Steps: []Step{continued, continued, when(IfFailure)}}, "spec.steps[2].if: the step would never run"},
		"always, behind continued": {Spec{Steps: []Step{continued, when(IfAlways)}}, "spec.steps[1].if: changes nothing"},
		"behind one that can fail": {Spec{Steps: []Step{continued, fails, continued, when(IfFailure), when(IfAlways)}}, ""},
		"a timeout beyond the job's": {Spec{Timeout: Duration(time.Minute), Steps: []Step{{Shell: "x", Timeout: Duration(61 * time.Second)}}},
			"spec.steps[0].timeout: 1m1s is longer than the timeout of the job, 1m, which ends the step before; give the job a longer one, or leave it out"},
		"a timeout beyond the default": {Spec{Steps: []Step{{Shell: "x", Timeout: Duration(DefaultTimeout + 1e9)}}}, "spec.steps[0].timeout: 1h0m1s is longer than the timeout of the job, 1h"},
		"continued after a failure":    {Spec{Steps: []Step{fails, {Shell: "x", If: IfFailure, ContinueOnFailure: true}}}, "spec.steps[1].continueOnFailure: changes nothing"},
		"the job's timeout":            {Spec{Timeout: Duration(time.Minute), Steps: []Step{{Shell: "x", Timeout: Duration(time.Minute)}}}, ""},
	} {
		var got []string
		for _, p := range c.spec.Validate() {
			got = append(got, p.Path+": "+p.Message)
		}
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
