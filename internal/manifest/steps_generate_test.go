package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/jobgen"
	"github.com/carillon-cron/carillon/job"
)

// stepValues are values of fields of steps that are not their defaults.
func stepValues() map[string][]any {
	return map[string][]any{
		"name": {"n"}, "script": {"lib", "lib@1"}, "command": {[]string{"x"}, []string{"x", "{{p}}"}}, "shell": {"x", "echo $CARILLON_PARAM_P"},
		"args": {[]string{"a"}, []string{"{{p}}"}}, "params": {jobgen.Doc{"q": "1"}, jobgen.Doc{"q": "{{p}}"}},
		"if": {"failure", "always"}, "continueOnFailure": {true}, "timeout": {"5s", "2m"},
	}
}

// paramValues are those of fields of parameters.
func paramValues() map[string][]any {
	return map[string][]any{
		"type": {"int", "number", "bool", "enum", "path"}, "default": {"3", "true", "a", "/x"}, "required": {true},
		"values": {[]string{"a"}, []string{"3", "b"}}, "pattern": {"[a-z/]+", "[0-9/]*"}, "min": {"2"}, "max": {"4"}, "maxLength": {3}, "sensitive": {true},
	}
}

// drawn draws some fields of a document, and tells which.
func drawn(rt *rapid.T, what string, values map[string][]any, d jobgen.Doc) []string {
	fields := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(values))), 0, 4, rapid.ID).Draw(rt, what)
	for _, f := range fields {
		d.Set(f, rapid.SampledFrom(values[f]).Draw(rt, what+" "+f))
	}
	return fields
}

// libraryOf knows two versions of the script lib.
func libraryOf(ref job.ScriptRef) (*job.SavedScript, bool) {
	version := ref.Version
	if version == 0 {
		version = 2
	}
	if ref.Key.Name != "lib" || version > 2 {
		return nil, false
	}
	text := strconv.Itoa(version)
	return &job.SavedScript{
		Metadata: job.Metadata{Namespace: "default", Name: "lib"}, Version: version, SHA256: job.ScriptSum(text),
		Spec: job.ScriptSpec{Source: text, Params: []job.Param{{Name: "q"}}},
	}, true
}

// starts tells what a job of steps does when it is started with some values of its
// parameter, and its steps succeed or fail.
func starts(s *job.Spec) []string {
	given := []map[string]string{nil}
	for _, v := range []string{"", "a", "b", "ab", "3", "1", "9", "0.5", "33", "true", "/x", "/3", "A B", "abcd", "3333", "/xyz", "/333", "/A"} {
		given = append(given, map[string]string{"p": v})
	}
	var out []string
	for _, g := range given {
		plan, problems := s.Plan("default", g, libraryOf)
		if len(problems) > 0 {
			out = append(out, fmt.Sprint("refused: ", len(problems)))
			continue
		}
		for fail := range 1 << len(plan.Steps) { // a bit for each step: it fails if it runs
			ran, failed, code := []any{plan.Params, plan.Sensitive, plan.User}, false, 0
			for i := range plan.Steps {
				st := plan.Steps[i]
				if st.If == job.IfFailure && !failed || (st.If == "" || st.If == job.IfSuccess) && failed {
					continue
				}
				if fail>>i&1 == 1 && !st.ContinueOnFailure {
					if failed = true; code == 0 {
						code = i + 1
					}
				}
				st.If, st.ContinueOnFailure, st.Timeout = "", false, min(st.Timeout, s.EffectiveTimeout()) // what they do is seen
				ran = append(ran, st)
			}
			text, err := json.Marshal(append(ran, code))
			if err != nil {
				panic(err)
			}
			out = append(out, string(text))
		}
	}
	return out
}

// TestM2_LeavingOutOfAStepOrParameter: of a job that is taken, each field of a step and
// of a parameter does something for some start and some end of its steps.
func TestM2_LeavingOutOfAStepOrParameter(t *testing.T) {
	t.Parallel()
	for _, f := range job.Fields(job.KindJob) {
		step, isStep := strings.CutPrefix(f.Path, "spec.steps[].")
		param, isParam := strings.CutPrefix(f.Path, "spec.params[].")
		if isStep && stepValues()[step] == nil || isParam && paramValues()[param] == nil && param != "name" && param != "description" { // these are for people
			t.Errorf("%s is not tried", f.Path)
		}
	}
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := jobgen.New()
		d.Set("spec.timeout", rapid.SampledFrom([]string{"1m", "1h"}).Draw(rt, "timeout"))
		param := jobgen.Doc{"name": "p"}
		inParam := drawn(rt, "param", paramValues(), param)
		d.Set("spec.params", []any{param})
		var steps []any
		var inSteps [][]string
		for i := range rapid.IntRange(1, 3).Draw(rt, "steps") {
			st := jobgen.Doc{}
			values := stepValues()
			way := rapid.SampledFrom([]string{"shell", "shell", "script", "command"}).Draw(rt, "way")
			st.Set(way, rapid.SampledFrom(values[way]).Draw(rt, "what it runs"))
			for _, other := range []string{"shell", "script", "command"} {
				delete(values, other)
			}
			inSteps = append(inSteps, drawn(rt, fmt.Sprint("step ", i), values, st))
			steps = append(steps, st)
		}
		d.Set("spec.steps", steps)
		o, err := decodeDoc(d)
		if err != nil {
			tellsWhere(rt, err, d)
			return
		}
		taken++
		does := starts(&o.Spec)
		without := func(field, list string, all []any, i int, f string) {
			all = slices.Clone(all)
			all[i] = all[i].(jobgen.Doc).Without(f)
			less := d.Without("spec." + list)
			less.Set("spec."+list, all)
			if other, err := decodeDoc(less); err == nil && reflect.DeepEqual(does, starts(&other.Spec)) {
				rt.Fatalf("%s has no effect in %s", field, d.JSON())
			}
		}
		for _, f := range inParam {
			without("params[0]."+f, "params", []any{param}, 0, f)
		}
		for i, fields := range inSteps {
			for _, f := range fields {
				without(fmt.Sprintf("steps[%d].%s", i, f), "steps", steps, i, f)
			}
		}
	})
	if taken == 0 {
		t.Error("no job was taken at all")
	}
}
