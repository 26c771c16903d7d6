package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/configs/examples"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

const (
	jobDir    = "../../../job"
	committed = "../../../configs/schema/job.schema.json"

	committedPage = "../../../docs/jobs.md"
)

func TestCommittedSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := write(&b, jobDir); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("run `make generate` (-committed +generated):\n%s", d)
	}
}

func TestCommittedPageIsCurrent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writePage(&b, jobDir); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(committedPage)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("run `make generate` (-committed +generated):\n%s", d)
	}
}

// Each field is in the tables that say when it has an effect and what its zero means,
// and these name no others.
func TestTablesHaveEachField(t *testing.T) {
	t.Parallel()
	c, err := readComments(jobDir)
	if err != nil {
		t.Fatal(err)
	}
	known := rules()
	left := maps.Clone(known)
	var walk func(s schema, at string)
	walk = func(s schema, at string) {
		properties, _ := s["properties"].(schema)
		for name, p := range properties {
			path := at + "." + name
			if _, ok := known[path]; !ok && path != "spec.schedule" {
				t.Errorf("%s is in no table: say in package job when it has an effect, and what its zero means", path)
			}
			delete(left, path)
			for _, inner := range inside(p.(schema)) {
				walk(inner, path)
			}
		}
	}
	for at, of := range map[string]reflect.Type{
		"metadata": reflect.TypeFor[job.Metadata](), "spec": reflect.TypeFor[job.Spec](), "group": reflect.TypeFor[job.GroupSpec](), "hostGroup": reflect.TypeFor[job.HostGroupSpec](),
		"calendar": reflect.TypeFor[job.CalendarSpec](), "script": reflect.TypeFor[job.ScriptSpec](), "queue": reflect.TypeFor[job.QueueSpec](), "secret": reflect.TypeFor[job.SecretSpec](), "notifier": reflect.TypeFor[job.NotifierSpec](), "defaults": reflect.TypeFor[job.DefaultsSpec](), "role": reflect.TypeFor[job.RoleSpec](), "roleBinding": reflect.TypeFor[job.RoleBindingSpec](),
	} {
		walk(c.object(of, at), at)
	}
	for path := range left {
		t.Errorf("a table names %s, which is no field", path)
	}
}

func TestNoCommentsIsAnError(t *testing.T) {
	t.Parallel()
	if err := write(&bytes.Buffer{}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "-job") {
		t.Errorf("write: %v", err)
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			field := p.(map[string]any)
			if path+name != "metadata" && !strings.HasSuffix(path, " then.") && field["description"] == nil {
				t.Errorf("%s%s has no description", path, name)
			}
			if d, _ := field["description"].(string); regexp.MustCompile(`\b(Default|Overlap|Misfire|Spread|Loss|Start)[A-Z]`).MatchString(d) {
				t.Errorf("%s%s is described by a name of the source: %s", path, name, d)
			}
			walk(path+name+".", field)
		}
	}
	walk("", load(t))
	for kind, s := range specs(t) {
		walk(kind+" then.", s)
	}
	kinds := map[string]string{"spec": job.KindJob, "group": job.KindGroup, "calendar": job.KindCalendar, "script": job.KindScript, "queue": job.KindQueue, "secret": job.KindSecret, "notifier": job.KindNotifier, "defaults": job.KindDefaults, "role": job.KindRole, "roleBinding": job.KindRoleBinding}
	for at := range details {
		s, way := load(t), strings.Split(at, ".")
		if kind, ok := kinds[way[0]]; ok {
			s, way[0] = specs(t)[kind], "spec"
		}
		if !reaches(s, way) {
			t.Errorf("details of %s, which is no field", at)
		}
	}
}

// specs returns what the schema says of the documents of each kind.
func specs(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, s := range load(t)["allOf"].([]any) {
		cond := s.(map[string]any)
		kind := cond["if"].(map[string]any)["properties"].(map[string]any)["kind"].(map[string]any)["const"].(string)
		out[kind] = cond["then"].(map[string]any)
	}
	if kinds := slices.Sorted(maps.Keys(out)); !slices.Equal(kinds, slices.Sorted(slices.Values(manifest.Kinds()))) {
		t.Fatalf("specs of %v", kinds)
	}
	return out
}

// reaches reports whether the schema has the field at a path.
func reaches(s map[string]any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	if options, ok := s["oneOf"].([]any); ok && s["properties"] == nil {
		return slices.ContainsFunc(options, func(o any) bool { return reaches(o.(map[string]any), path) })
	}
	properties, _ := s["properties"].(map[string]any)
	next, ok := properties[path[0]].(map[string]any)
	return ok && reaches(next, path[1:])
}

func load(t *testing.T) map[string]any {
	t.Helper()
	b, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExamplesMatchTheSchema(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(examples.FS(), "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("examples: %v %v", names, err)
	}
	for _, n := range names {
		b, err := fs.ReadFile(examples.FS(), n)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(t, string(b)); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestSchemaTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\n"
	for _, spec := range []string{
		"{command: [sleep, 10]}", "{script: echo}", "{script: {source: echo, interpreter: bash}, schedules: '@daily'}", "{command: [x], env: {A: 1}, user: 1000}",
		"{command: [x], schedule: '* * * * *', timeout: 1h30m, retry: {attempts: 3}, overlap: queue-one, target: {names: 'web-*', run: all}}",
	} {
		if err := check(t, head+"spec: "+spec); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	const group = "apiVersion: carillon/v1\nkind: Group\nmetadata: {name: x}\n"
	for _, spec := range []string{
		"{}", "{mode: failback, holdOff: 2m, nodes: [a, b], sites: a}", "{mode: timeslice, slice: 10m, onLoss: skip, spread: rack}",
		"{ordered: true, maxConcurrent: 3, mutex: m, pin: {disk: ssd}}", "{mode: parallel, start: sync}",
	} {
		if err := check(t, group+"spec: "+spec); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	hosts := strings.Replace(group, "Group", "HostGroup", 1)
	if err := check(t, hosts+"spec: {match: 'web[1-20] and not @canary'}"); err != nil {
		t.Error(err)
	}
	for doc, want := range map[string]string{
		hosts + "spec: {}":                                                             "match is missing",
		hosts + "spec: {match: x, mode: failover}":                                     "spec: mode is unknown",
		strings.Replace(group, "Group", "Grp", 1) + "spec: {command: [x]}":             "kind: is none of",
		group + "spec: {command: [x]}":                                                 "spec: command is unknown",
		group + "spec: {mode: raft}":                                                   "spec.mode: is none of",
		group + "spec: {nodes: []}":                                                    "spec.nodes: has too few",
		group + "spec: {slice: 10}":                                                    "spec.slice: is no string",
		group + "spec: {onLoss: forget}":                                               "spec.onLoss: is none of",
		group + "spec: {ordered: 1}":                                                   "spec.ordered: is no boolean",
		head + "spec: {command: [x], mode: failover}":                                  "spec: mode is unknown",
		"apiVersion: carillon/v1\nkind: Job\nspec: {command: [x]}":                     "metadata is missing",
		"apiVersion: v2\nkind: Job\nmetadata: {name: x}\nspec: {command: [x]}":         "apiVersion: is not carillon/v1",
		head + "spec: {}":                                                              "spec: matches 0 of oneOf",
		head + "spec: {command: [x], script: y}":                                       "spec: matches 2 of oneOf",
		head + "spec: {command: x}":                                                    "spec.command: is no array",
		head + "spec: {command: []}":                                                   "spec.command: has too few",
		head + "spec: {command: [[x]]}":                                                "spec.command[0]: is no string",
		head + "spec: {command: [x], comand: [y]}":                                     "spec: comand is unknown",
		head + "spec: {command: [x], timeout: 90}":                                     "spec.timeout: is no string",
		head + "spec: {command: [x], timeout: 90 s}":                                   "spec.timeout: does not match",
		head + "spec: {command: [x], overlap: never}":                                  "spec.overlap: is none of",
		head + "spec: {command: [x], env: {CARILLON_X: y}}":                            "spec.env: CARILLON_X: matches not",
		head + "spec: {command: [x], retry: {attempts: 101}}":                          "spec.retry.attempts: is too large",
		head + "spec: {command: [x], schedule: '@daily', schedules: ['@daily']}":       "spec: matches not",
		strings.Replace(head, "x}", "-x}", 1) + "spec: {command: [x]}":                 "metadata.name: does not match",
		strings.Replace(head, "x}", "x, labels: [a]}", 1) + "spec: {command: [\"x\"]}": "metadata.labels: is no object",
	} {
		if err := check(t, doc); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v; want %q", doc, err, want)
		}
	}
	if job.APIVersion != "carillon/v1" {
		t.Error("these documents have another version than the schema")
	}
}

// check holds a YAML document against the committed schema.
func check(t *testing.T, doc string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatal(err)
	}
	return validate(load(t), v, "")
}

// validate knows as much of JSON Schema as ours uses, and no more.
func validate(s map[string]any, v any, path string) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{strings.TrimPrefix(path, ".")}, args...)...)
	}
	if err := validateWord(s, v, fail); err != nil {
		return err
	}
	switch v := v.(type) {
	case map[string]any:
		return validateObject(s, v, path, fail)
	case []any:
		if least, ok := s["minItems"].(float64); ok && len(v) < int(least) {
			return fail("has too few entries")
		}
		if items, ok := s["items"].(map[string]any); ok {
			for i, item := range v {
				if err := validate(items, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func validateWord(s map[string]any, v any, fail func(string, ...any) error) error {
	if types, ok := s["type"]; ok {
		list, _ := types.([]any)
		if one, ok := types.(string); ok {
			list = []any{one}
		}
		if !slices.ContainsFunc(list, func(want any) bool { return hasType(want.(string), v) }) {
			return fail("is no %v", list[0])
		}
	}
	if want, ok := s["const"]; ok && v != want {
		return fail("is not %v", want)
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fail("is none of %v", enum)
	}
	if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(fmt.Sprint(v)) {
		return fail("does not match %s", pattern)
	}
	if most, ok := s["maximum"].(float64); ok && float64(v.(int)) > most {
		return fail("is too large")
	}
	if not, ok := s["not"].(map[string]any); ok && validate(not, v, "") == nil {
		return fail("matches not")
	}
	if cond, ok := s["if"].(map[string]any); ok {
		if validate(cond, v, "") == nil {
			return validate(s["then"].(map[string]any), v, "")
		}
	}
	all, _ := s["allOf"].([]any)
	for _, one := range all {
		if err := validate(one.(map[string]any), v, ""); err != nil {
			return err
		}
	}
	if options, ok := s["oneOf"].([]any); ok {
		matched := 0
		for _, o := range options {
			if validate(o.(map[string]any), v, "") == nil {
				matched++
			}
		}
		if matched != 1 {
			return fail("matches %d of oneOf", matched)
		}
	}
	return nil
}

func validateObject(s, v map[string]any, path string, fail func(string, ...any) error) error {
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, value := range v {
		if names, ok := s["propertyNames"].(map[string]any); ok {
			if err := validate(names, name, ""); err != nil {
				return fail("%s%v", name, err)
			}
		}
		p, known := properties[name].(map[string]any)
		if others, ok := s["additionalProperties"].(map[string]any); !known && ok {
			p, known = others, true
		}
		switch {
		case known:
			if err := validate(p, value, path+"."+name); err != nil {
				return err
			}
		case s["additionalProperties"] == false:
			return fail("%s is unknown", name)
		}
	}
	return nil
}

func hasType(want string, v any) bool {
	kind := reflect.ValueOf(v).Kind()
	switch want {
	case "object":
		return kind == reflect.Map
	case "array":
		return kind == reflect.Slice
	case "string":
		return kind == reflect.String
	case "boolean":
		return kind == reflect.Bool
	case "integer":
		return kind == reflect.Int
	case "number":
		return kind == reflect.Int || kind == reflect.Float64
	}
	return false
}
