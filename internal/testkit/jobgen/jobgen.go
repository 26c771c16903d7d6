// Package jobgen makes job files for tests: valid ones, nearly valid ones and silly
// ones.
package jobgen

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// Doc is a document in the making.
type Doc map[string]any

// New returns a job with nothing in it.
func New() Doc {
	return Doc{"apiVersion": job.APIVersion, "kind": job.KindJob, "metadata": Doc{"name": "x"}, "spec": Doc{}}
}

// Set sets the field at a path, as in "spec.retry.attempts".
func (d Doc) Set(path string, v any) {
	for {
		name, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			d[name] = v
			return
		}
		if _, ok := d[name].(Doc); !ok {
			d[name] = Doc{}
		}
		d, path = d[name].(Doc), rest
	}
}

// Without returns the document without a field, and without what is empty then.
func (d Doc) Without(path string) Doc {
	out := maps.Clone(d)
	name, rest, deeper := strings.Cut(path, ".")
	if inner, ok := out[name].(Doc); ok && deeper {
		if inner = inner.Without(rest); len(inner) > 0 {
			out[name] = inner
			return out
		}
	}
	delete(out, name)
	return out
}

// JSON returns the document's text, which is YAML, too.
func (d Doc) JSON() []byte {
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		panic(err) // all that is put in can be encoded
	}
	return text
}

// Values are values of the fields of a job that are not their defaults.
func Values() map[string][]any {
	return map[string][]any{
		"timeZone": {"Europe/Berlin", "America/New_York"}, "dialect": {"kubernetes", "robfig"}, "dst.gap": {"skip", "shift"}, "dst.fold": {"second", "both"},
		"enabled": {false}, "group": {"g"}, "env": {Doc{"A": "b"}}, "workingDir": {"/tmp"}, "user": {"nobody"},
		"limits.memory": {"64Mi"}, "limits.pids": {5}, "limits.cpu": {"0.5"},
		"target.names": {"web*"}, "target.labels": {Doc{"a": "b"}}, "target.match": {"web*"}, "target.run": {"all", "any"}, "target.count": {3},
		"rollout.canary": {"web1"}, "rollout.canaryCount": {2}, "rollout.promote": {"manual"}, "rollout.batch": {5}, "rollout.pause": {"5s"},
		"rollout.maxFailures": {0, 3}, "rollout.order": {"shuffle", "label"}, "rollout.orderBy": {"site"}, "rollout.maxPer": {Doc{"rack": 2}}, "rollout.clusterMaxPer": {Doc{"rack": 2}},
		"timeout": {"30s"}, "lostAfter": {"30s"}, "retry.attempts": {2, 5}, "retry.backoff": {"3s"}, "retry.maxBackoff": {"2s", "1h"}, "retry.exitCodes": {[]int{3}}, "retry.permanentExitCodes": {[]int{64}},
		"overlap": {"allow", "queue-one", "queue-all", "replace", "replace-after-grace"}, "overlapLimit": {7}, "overlapGrace": {"7s"},
		"startAt": {"2027-03-28T00:00:00Z"}, "endAt": {"2027-04-02T00:00:00Z"}, "jitter": {"50s"}, "calendars": {"holidays"}, "onExcluded": {"next"},
		"misfire": {"skip", "all"}, "catchUp": {"3h"}, "catchUpEvery": {"3s"}, "count": {2}, "pauseAfterFailures": {3},
		"deadline": {"30s"}, "onDeadline": {"cancel"}, "lateAfter": {"3s"},
		"after.jobs": {"a", []string{"a", "b"}}, "after.on": {"failure", "always"}, "after.match": {"any"}, "watch.key": {"/k"}, "watch.prefix": {true},
		"webhook.tokenSha256": {strings.Repeat("a", 64)}, "webhook.signed": {true}, "webhook.maxPerMinute": {7}, "idempotent": {true},
	}
}

// Near draws a job with up to eight fields that are not their defaults, and tells
// which. Most are valid, or lack what a field needs.
func Near(rt *rapid.T) (d Doc, given []string) {
	schedules := []string{"", "", "0 9 * * *", "30 2 * * *", "30 1,2 */2 * MON-FRI", "*/5 * * * *", "@daily", "@hourly", "@every 24h", "@every 7h", "@at 2027-04-01T00:00:00Z", "CRON_TZ=Asia/Tokyo 0 9 * * *"}
	values := Values()
	d = New()
	given = rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(values))), 1, 8, rapid.ID).Draw(rt, "fields")
	if slices.Contains(given, "dst.gap") || slices.Contains(given, "dst.fold") {
		schedules = []string{"", "30 1,2 * * *", "30 1,2 * * SAT,SUN", "@every 24h", "*/5 * * * *"} // those that each jump of each zone moves, or none ever does
		// It lives to see one, and its dialect has no such rule of its own.
		given = slices.DeleteFunc(given, func(p string) bool { return p == "dialect" || p == "startAt" || p == "endAt" || p == "count" })
	}
	if slices.Contains(given, "endAt") && slices.Contains(given, "count") {
		given = slices.DeleteFunc(given, func(p string) bool { return p == "endAt" }) // which of them counts depends on the schedule
	}
	if s := rapid.SampledFrom(schedules).Draw(rt, "schedule"); s != "" {
		d.Set("spec.schedules", s)
	}
	d.Set("spec.command", rapid.SampledFrom([][]string{{"x"}, {"x"}, {"go:x"}}).Draw(rt, "command"))
	for _, path := range given {
		d.Set("spec."+path, rapid.SampledFrom(values[path]).Draw(rt, path))
	}
	return d, given
}

// silly are values that some field takes, and most do not.
func silly() []any {
	return []any{
		0, 1, -1, 3, 1 << 40, 0.5, "", "0", "0s", "-5s", "5s", "1ms", "99999h", "x", "a b", "a/b", "*", "@daily", "@every 1s", "0 9 * * *", "*/90 * * * *", "{{h}}", "null", "\x00", "ä",
		strings.Repeat("x", 3000), true, false, nil, []any{}, []any{"x"}, []any{1}, []any{""}, []any{"x", "x"}, []any{nil}, []any{Doc{}}, Doc{}, Doc{"a": "b"}, Doc{"name": "x"}, Doc{"a": 0}, Doc{"": ""},
		[]any{[]any{"x"}}, "2027-02-30T00:00:00Z", "2027-01-01T00:00:00Z", "Europe/Berlin", "localtime", "all", "any", "skip", "success", "512Mi", "10%", "go:x", "ls | wc",
	}
}

// Silly draws a document of one of the kinds with whatever values in its fields.
func Silly(rt *rapid.T, kinds []string) Doc {
	d := New()
	kind := rapid.SampledFrom(append([]string{job.KindJob, job.KindJob}, kinds...)).Draw(rt, "kind")
	d["kind"] = kind
	switch kind {
	case job.KindJob, job.KindQueue:
		d.Set("spec.command", []string{"x"})
	case job.KindRole:
		d.Set("spec.rules", []any{Doc{"verbs": []string{"read"}, "resources": []string{"jobs"}}})
	case job.KindRoleBinding:
		d.Set("spec.role", "viewer")
		d.Set("spec.subjects", []any{Doc{"kind": "user", "name": "x"}})
	case job.KindHostGroup:
		d.Set("spec.match", "web*")
	case job.KindScript:
		d.Set("spec.source", "x")
	case job.KindSecret:
		d.Set("spec.sealed", Sealed)
		d.Set("spec.recipients", []string{Recipient})
	}
	var fields []string
	for _, f := range job.Fields(kind) {
		fields = append(fields, f.Path)
	}
	values := Values()
	steps, params := Doc{"shell": "x"}, Doc{"name": "p"}
	rule, subject := Doc{"verbs": []string{"read"}, "resources": []string{"jobs"}}, Doc{"kind": "user", "name": "x"}
	for range rapid.IntRange(0, 5).Draw(rt, "fields") {
		path := rapid.SampledFrom(fields).Draw(rt, "field")
		v := rapid.SampledFrom(silly()).Draw(rt, "value")
		if good := values[strings.TrimPrefix(path, "spec.")]; len(good) > 0 && rapid.Bool().Draw(rt, "good") {
			v = rapid.SampledFrom(good).Draw(rt, "good value")
		}
		if rest, ok := strings.CutPrefix(path, "spec.steps[]."); ok {
			steps.Set(rest, v)
			d.Set("spec.steps", []any{steps})
		} else if rest, ok := strings.CutPrefix(path, "spec.params[]."); ok {
			params.Set(rest, v)
			d.Set("spec.params", []any{params})
		} else if rest, ok := strings.CutPrefix(path, "spec.rules[]."); ok {
			rule.Set(rest, v)
			d.Set("spec.rules", []any{rule})
		} else if rest, ok := strings.CutPrefix(path, "spec.subjects[]."); ok {
			subject.Set(rest, v)
			d.Set("spec.subjects", []any{subject})
		} else {
			d.Set(path, v)
		}
	}
	if rapid.IntRange(0, 5).Draw(rt, "unknown") == 0 {
		names := []string{"spec.x", "metadata.x", "x", "spec.retry.x", "spec.comand", "spec.Timeout"}
		d.Set(rapid.SampledFrom(names).Draw(rt, "unknown field"), rapid.SampledFrom(silly()).Draw(rt, "unknown value"))
	}
	return d
}

// Given lists the paths of the fields of a document that hold something: no null,
// no false, and nothing that means nothing.
func (d Doc) Given() []string {
	plain := map[string]any{}
	if err := json.Unmarshal(d.JSON(), &plain); err != nil {
		panic(err) // it was encoded just now
	}
	return given(plain, "")
}

func given(v map[string]any, at string) []string {
	var out []string
	for name, value := range v {
		path := strings.TrimPrefix(at+"."+name, ".")
		switch value := value.(type) {
		case nil:
		case bool:
			if value {
				out = append(out, path)
			}
		case float64:
			if value != 0 { // what means zero; all others are refused
				out = append(out, path)
			}
		case string:
			if value != "" && value != "0s" && value != "0" {
				out = append(out, path)
			}
		case map[string]any:
			if path != "spec.env" && path != "metadata.labels" && path != "metadata.annotations" {
				out = append(out, given(value, path)...)
			}
		case []any:
			if len(value) > 0 {
				out = append(out, path)
			}
		}
	}
	return out
}
