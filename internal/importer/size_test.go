package importer

import (
	"fmt"
	"strings"
	"testing"
)

// Aliases add no more to a source than there is room for, over all its documents, and none
// has itself in it: each is read where it stands, and so costs what it adds.
func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	// Ten values, ten times in the next, and so on.
	blown := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 20 {
		blown += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	job := "- &job {name: j, description: " + strings.Repeat("x", 4000) + ", sequence: {commands: [{exec: 'true'}]}}\n"
	large := "kind: List\nx: &x " + strings.Repeat("x", 100<<10) + "\nitems: [*x, *x]\n---\n"
	for name, c := range map[string]struct {
		format Format
		text   string
		jobs   int
		want   string
	}{
		"one that doubles":     {Kubernetes, "kind: List\n" + blown + "items: *a20\n", 0, "aliases make it larger than is allowed (262144 bytes)"},
		"many of a large one":  {Rundeck, job + strings.Repeat("- *job\n", 1000), 0, "aliases make it larger than is allowed"},
		"over many documents":  {Kubernetes, strings.Repeat(large, 10), 0, "aliases make it larger than is allowed"},
		"one that has itself":  {Kubernetes, "kind: List\nitems: &a [*a, *a]\n", 0, "deep in one another"},
		"those that are right": {Rundeck, job + strings.Repeat("- *job\n", 20), 21, ""},
	} {
		got, err := Import(c.format, []Source{{Name: "f", Data: []byte(c.text)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprint(got.Notes)
		if len(got.Objects) != c.jobs || c.want != "" && !strings.Contains(said, c.want) || c.want == "" && strings.Contains(said, "aliases") {
			t.Errorf("%s: %d jobs, %.300s; want %d and %q", name, len(got.Objects), said, c.jobs, c.want)
		}
	}
}

// Variables that have one another's values do not grow without bound.
func TestVariablesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("kind: CronJob\nmetadata: {name: j}\nspec:\n  schedule: '@daily'\n  jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i, command: [echo, $(V63)], env: [{name: V0, value: xxxxxxxxxxxxxxxx}")
	for i := range 63 {
		fmt.Fprintf(&b, ", {name: V%d, value: $(V%d)$(V%d)}", i+1, i, i)
	}
	b.WriteString("]}]}}}}\n")
	got, err := Import(Kubernetes, []Source{{Name: "f", Data: []byte(b.String())}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Notes {
		if n := len(got.Notes[i].Text); n > 1<<20 {
			t.Errorf("a note of %d bytes", n)
		}
	}
}

// What is read costs what it is: objects with very many names, in each format that walks
// them, and very many jobs that are left out. With a search for each name, or each job, it
// takes many times as long.
func TestManyNamesAreReadOnce(t *testing.T) {
	t.Parallel()
	const names = 40_000
	many := func(form string) string {
		var b strings.Builder
		for i := range names {
			fmt.Fprintf(&b, form, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		format Format
		text   string
	}{
		"rundeck":    {Rundeck, `[{"name": "j", ` + many(`"k%d": "v", `) + `"sequence": {"commands": [{"exec": "true"}]}}]`},
		"dkron":      {Dkron, `[{"name": "j", "schedule": "@daily", "executor": "shell", "executor_config": {"command": "true"}, "metadata": {` + many(`"k %d": "v", `) + `"z": "v"}, ` + many(`"k%d": "v", `) + `"x": 1}]`},
		"kubernetes": {Kubernetes, `{"kind": "CronJob", "metadata": {"name": "j", "labels": {` + many(`"k %d": "v", `) + `"z": "v"}}, "spec": {` + many(`"k%d": "v", `) + `"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "command": ["true"]}]}}}}}}`},
		"xxl-job":    {XXLJob, `[{` + many(`"k%d": "v", `) + `"job_desc": "j"}]`},
		"left out":   {Rundeck, `[` + many(`{"name": "j%d", "sequence": {"commands": [{"x": "y"}]}}, `) + `{"name": "z", "sequence": {"commands": [{"exec": "true"}]}}]`},
	} {
		got, err := Import(c.format, []Source{{Name: "f", Data: []byte(c.text)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if name != "xxl-job" && len(got.Notes) < names {
			t.Errorf("%s: %d notes of %d names", name, len(got.Notes), names)
		}
	}
}
