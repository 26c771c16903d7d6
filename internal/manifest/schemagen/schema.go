package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

const namePattern = `^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`

// document describes one document of a job file. The kind says which spec it has.
func document(c comments) schema {
	return schema{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"title":                "Carillon job, group, calendar, queue, script, secret, notifier, defaults of a namespace, role, role binding, or group of hosts",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []string{"apiVersion", "kind", "metadata", "spec"},
		"properties": schema{
			"apiVersion": schema{"const": job.APIVersion, "description": "The version of the file's form."},
			"kind":       schema{"enum": manifest.Kinds(), "description": "What the document describes."},
			"metadata":   c.object(reflect.TypeFor[job.Metadata](), "metadata"),
			"spec":       schema{"type": "object", "description": "What is wanted of it."},
		},
		"allOf": []schema{
			specOf(job.KindJob, c.object(reflect.TypeFor[job.Spec](), "spec")),
			specOf(job.KindGroup, c.object(reflect.TypeFor[job.GroupSpec](), "group")),
			specOf(job.KindHostGroup, c.object(reflect.TypeFor[job.HostGroupSpec](), "hostGroup")),
			specOf(job.KindCalendar, c.object(reflect.TypeFor[job.CalendarSpec](), "calendar")),
			specOf(job.KindQueue, c.object(reflect.TypeFor[job.QueueSpec](), "queue")),
			specOf(job.KindScript, c.object(reflect.TypeFor[job.ScriptSpec](), "script")),
			specOf(job.KindSecret, c.object(reflect.TypeFor[job.SecretSpec](), "secret")),
			specOf(job.KindNotifier, c.object(reflect.TypeFor[job.NotifierSpec](), "notifier")),
			specOf(job.KindDefaults, c.object(reflect.TypeFor[job.DefaultsSpec](), "defaults")),
			specOf(job.KindRole, c.object(reflect.TypeFor[job.RoleSpec](), "role")),
			specOf(job.KindRoleBinding, c.object(reflect.TypeFor[job.RoleBindingSpec](), "roleBinding")),
		},
	}
}

// specOf says what the spec of a kind is.
func specOf(kind string, spec schema) schema {
	return schema{
		"if":   schema{"properties": schema{"kind": schema{"const": kind}}, "required": []string{"kind"}},
		"then": schema{"properties": schema{"spec": spec}},
	}
}

// object describes a struct by its fields.
func (c comments) object(t reflect.Type, path string) schema {
	properties, required := schema{}, []string{}
	for f := range t.Fields() {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue // it stands for the whole
		}
		at := path + "." + name
		s := c.value(f.Type, at)
		if t == reflect.TypeFor[job.Param]() && (name == "default" || name == "min" || name == "max") {
			s = text() // may be written as a number
		}
		maps.Copy(s, details[at])
		if d := c.describe(t.Name(), f.Name, name); d != "" && s["description"] == nil {
			s["description"] = d
		}
		rule(s, at)
		properties[name] = s
		if !strings.Contains(rest, "omit") {
			required = append(required, name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if path == "queue" {
		s["oneOf"] = []schema{{"required": []string{"command"}}, {"required": []string{"script"}}}
	}
	if path == "notifier" {
		one := []schema{}
		for _, r := range job.Receivers() {
			one = append(one, schema{"required": []string{r}})
		}
		s["oneOf"] = one
	}
	if path == "spec" {
		properties["schedule"] = schema{"type": "string", "minLength": 1, "description": "schedule is short for schedules with one entry.", "examples": samples}
		s["oneOf"] = []schema{{"required": []string{"command"}}, {"required": []string{"script"}}, {"required": []string{"steps"}}, {"required": []string{"dispatch"}}}
		s["not"] = schema{"required": []string{"schedule", "schedules"}}
	}
	return s
}

// prefixes are how paths of the fields of a kind begin here, and how in problems.
var prefixes = map[string]string{
	job.KindJob: "spec", job.KindGroup: "group", job.KindHostGroup: "hostGroup", job.KindCalendar: "calendar", job.KindScript: "script", job.KindQueue: "queue", job.KindSecret: "secret",
	job.KindNotifier: "notifier", job.KindDefaults: "defaults", job.KindRole: "role", job.KindRoleBinding: "roleBinding",
}

// rules are what the tables of fields say, by the paths used here.
func rules() map[string]job.Field {
	out := map[string]job.Field{}
	for kind, prefix := range prefixes {
		for _, f := range job.Fields(kind) {
			path := strings.ReplaceAll(f.Path, "[]", "")
			if rest, ok := strings.CutPrefix(path, "spec."); ok {
				path = prefix + "." + rest
			}
			if kind == job.KindGroup {
				f.Needs = modesOf(strings.TrimPrefix(f.Path, "spec."))
			}
			out[path] = f
		}
	}
	return out
}

// modesOf tells which modes of a group read a field; empty: all do.
func modesOf(field string) string {
	var names []string
	for _, m := range mode.All() {
		if slices.Contains(m.Reads, field) {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "mode: " + strings.Join(names, ", ")
}

// zeroText is what of a duration, or of a size, means zero.
const zeroText = `^(0+(\.0*)?(ms|s|m|h|%|[kMGT]i?)?)*$`

// rule adds to a field when it has an effect, and that zero is refused.
func rule(s schema, at string) {
	f, ok := rules()[at]
	if !ok {
		return
	}
	if d, _ := s["description"].(string); f.Needs != "" {
		s["description"] = d + " Has an effect only with " + f.Needs + "."
	}
	if f.Zero == "" || s["enum"] != nil {
		return
	}
	types, _ := s["type"].([]string)
	if one, ok := s["type"].(string); ok {
		types = []string{one}
	}
	for _, t := range types {
		switch t {
		case "integer", "number":
			s["minimum"] = max(asInt(s["minimum"]), 1)
		case "array":
			s["minItems"] = 1
		case "object":
			s["minProperties"] = 1
		case "string":
			if s["pattern"] != nil && !strings.Contains(at, "name") && s["not"] == nil {
				s["not"] = schema{"pattern": zeroText}
			} else {
				s["minLength"] = 1
			}
		}
	}
	if at == "spec.limits.cpu" {
		delete(s, "minimum") // 0.5 is allowed
	}
}

func asInt(v any) int {
	n, _ := v.(int)
	return n
}

// value describes a field's value by its type.
func (c comments) value(t reflect.Type, path string) schema {
	switch t {
	case reflect.TypeFor[job.Duration]():
		return schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`, "examples": []string{"90s", "1h30m"}}
	case reflect.TypeFor[job.Size]():
		return schema{"type": []string{"string", "integer"}, "pattern": "^[0-9]+([kMGT]|[KMGT]i)?$", "examples": []string{"512Mi", "2G"}}
	case reflect.TypeFor[job.Cores]():
		return schema{"type": []string{"string", "number"}, "pattern": `^([0-9]+(\.[0-9]{1,3})?|[0-9]+m)$`, "examples": []string{"1.5", "250m"}}
	case reflect.TypeFor[[]job.CommandRule]():
		return schema{"type": "array", "items": schema{"type": "object"}, "examples": []any{[]any{map[string]any{"program": "/usr/bin/systemctl", "args": []any{"restart", map[string]any{"glob": "app-*"}}}}}}
	case reflect.TypeFor[job.Overlap]():
		return schema{"enum": job.Overlaps(), "default": job.Overlaps()[0]}
	case reflect.TypeFor[job.Misfire]():
		return schema{"enum": job.Misfires(), "default": job.Misfires()[0]}
	case reflect.TypeFor[job.Dialect]():
		return schema{"enum": job.Dialects(), "default": job.Dialects()[0]}
	case reflect.TypeFor[job.Gap]():
		return schema{"enum": job.Gaps()}
	case reflect.TypeFor[job.Fold]():
		return schema{"enum": job.Folds()}
	case reflect.TypeFor[job.OnExcluded]():
		return schema{"enum": job.OnExcludeds(), "default": job.OnExcludeds()[0]}
	case reflect.TypeFor[job.OnDeadline]():
		return schema{"enum": job.OnDeadlines(), "default": job.OnDeadlines()[0]}
	case reflect.TypeFor[job.Outcome]():
		return schema{"enum": job.Outcomes(), "default": job.Outcomes()[0]}
	case reflect.TypeFor[job.Match]():
		return schema{"enum": job.Matches(), "default": job.Matches()[0]}
	case reflect.TypeFor[job.Spread]():
		return schema{"enum": job.Spreads(), "default": job.Spreads()[0]}
	case reflect.TypeFor[job.Promote]():
		return schema{"enum": job.Promotes(), "default": job.Promotes()[0]}
	case reflect.TypeFor[job.StartOrder]():
		return schema{"enum": job.StartOrders(), "default": job.StartOrders()[0]}
	case reflect.TypeFor[job.ParamType]():
		return schema{"enum": job.ParamTypes(), "default": job.ParamTypes()[0]}
	case reflect.TypeFor[job.StepIf]():
		return schema{"enum": job.StepIfs(), "default": job.StepIfs()[0]}
	case reflect.TypeFor[job.Amount]():
		return schema{"type": []string{"string", "integer"}, "pattern": `^[0-9]+(\.[0-9]+)?%?$`, "examples": []string{"20", "10%"}}
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time", "examples": []string{"2027-01-31T09:00:00Z"}}
	case reflect.TypeFor[job.Loss]():
		return schema{"enum": []job.Loss{job.LossTakeover, job.LossSkip}, "default": job.LossTakeover}
	case reflect.TypeFor[job.Start]():
		return schema{"enum": []job.Start{job.StartAsync, job.StartSync}, "default": job.StartAsync}
	case reflect.TypeFor[job.EnvValue]():
		return schema{"anyOf": []schema{text(), with(c.object(t, path), "required", []string{"secret"})}}
	case reflect.TypeFor[job.SecretRef]():
		return with(with(c.object(t, path), "minProperties", 1), "maxProperties", 1)
	case reflect.TypeFor[*job.Script]():
		return schema{"oneOf": []schema{{"type": "string", "minLength": 1}, c.object(t.Elem(), path)}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return c.value(t.Elem(), path)
	case reflect.Struct:
		return c.object(t, path)
	case reflect.Map:
		if t.Elem().Kind() != reflect.String {
			return schema{"type": "object", "additionalProperties": c.value(t.Elem(), path)}
		}
		return schema{"type": "object", "additionalProperties": text()}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Int {
			return schema{"type": "array", "items": schema{"type": "integer"}}
		}
		if t.Elem().Kind() == reflect.Struct {
			return schema{"type": "array", "items": c.object(t.Elem(), path)}
		}
		return schema{"type": "array", "items": text()}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int:
		return schema{"type": "integer"}
	case reflect.String:
		return schema{"type": "string"}
	}
	panic("schemagen: no rule for a field of type " + t.String())
}

// text describes what is read as it is written.
func text() schema { return schema{"type": []string{"string", "number", "boolean"}} }

// oneOrMore describes a list for which a single text may stand.
func oneOrMore(limit int) schema {
	one := schema{"type": "string", "minLength": 1}
	return schema{"type": []string{"array", "string"}, "items": one, "minLength": 1, "maxItems": limit}
}

var (
	samples = []string{"*/5 * * * *", "30 2 * * MON-FRI", "@daily", "@every 90s", "@at 2027-01-01T09:00:00Z"}

	// details are what the types do not say about a field. A group's spec is
	// under "group".
	details = map[string]schema{
		"metadata.namespace":        {"pattern": namePattern, "maxLength": job.MaxNameLen, "default": job.DefaultNamespace},
		"metadata.name":             {"pattern": namePattern, "maxLength": job.MaxNameLen},
		"metadata.labels":           {"maxProperties": job.MaxLabels},
		"spec.schedules":            with(oneOrMore(job.MaxSchedules), "examples", [][]string{samples[:1], samples[1:3]}),
		"spec.calendars":            with(oneOrMore(job.MaxCalendars), "examples", [][]string{{"holidays"}}),
		"calendar.timeZone":         {"default": "UTC", "examples": []string{"Europe/Berlin"}},
		"calendar.weekdays":         with(oneOrMore(7), "examples", [][]string{{"MON-FRI"}}),
		"calendar.closed":           with(oneOrMore(job.MaxCalendarDays), "examples", [][]string{{"12-25 Christmas", "2027-08-02..2027-08-13 Works holidays"}}),
		"calendar.open":             oneOrMore(job.MaxCalendarDays),
		"calendar.windows":          with(oneOrMore(job.MaxCalendarDays), "examples", [][]string{{"0 2 * * SUN for 2h: weekly patching"}}),
		"spec.count":                {"minimum": 0, "maximum": job.MaxCount},
		"spec.pauseAfterFailures":   {"minimum": 0, "maximum": job.MaxPauseAfter},
		"spec.after.jobs":           with(oneOrMore(job.MaxAfterJobs), "examples", [][]string{{"extract", "etl/load"}}),
		"spec.watch.key":            {"minLength": 1, "maxLength": job.MaxWatchKey},
		"spec.webhook.tokenSha256":  {"pattern": "^[0-9a-fA-F]{64}$"},
		"spec.webhook.maxPerMinute": {"minimum": 1, "maximum": job.MaxHooksPerMinute},
		"spec.timeZone":             {"default": "UTC", "examples": []string{"Europe/Berlin", "America/New_York"}},
		"spec.enabled":              {"default": true},
		"spec.command":              {"minItems": 1, "maxItems": job.MaxArgs, "examples": [][]string{{"echo", "hello"}}},
		"spec.script.interpreter":   oneOrMore(job.MaxArgs),
		"spec.script.source":        {"minLength": 1},
		"script.source":             {"minLength": 1},
		"script.interpreter":        oneOrMore(job.MaxArgs),
		"script.user":               {"type": []string{"string", "integer"}},
		"spec.env":                  {"propertyNames": schema{"pattern": `^[A-Za-z_][A-Za-z0-9_]*$`, "not": schema{"pattern": "^" + job.EnvPrefix}}, "maxProperties": job.MaxEnv},
		"spec.workingDir":           {"pattern": "^/"},
		"spec.user":                 {"type": []string{"string", "integer"}, "examples": []string{"www-data", "1000"}},
		"spec.limits.pids":          {"minimum": 0, "maximum": job.MaxLimitPids},
		"spec.target.names":         oneOrMore(job.MaxTargetNames),
		"spec.target.labels":        {"maxProperties": job.MaxLabels},
		"spec.target.count":         {"minimum": 0},
		"spec.rollout.canaryCount":  {"minimum": 0},
		"spec.rollout.maxPer":       {"maxProperties": job.MaxMaxPer},
		"spec.rollout.clusterMaxPer": {
			"maxProperties": job.MaxMaxPer, "additionalProperties": schema{"type": "integer", "minimum": 1, "maximum": job.MaxClusterBound},
		},
		"queue.command":                     {"minItems": 1, "maxItems": job.MaxArgs, "examples": [][]string{{"make-report"}}},
		"queue.script.interpreter":          oneOrMore(job.MaxArgs),
		"queue.script.source":               {"minLength": 1},
		"queue.env":                         {"propertyNames": schema{"pattern": `^[A-Za-z_][A-Za-z0-9_]*$`, "not": schema{"pattern": "^" + job.EnvPrefix}}, "maxProperties": job.MaxEnv},
		"queue.workingDir":                  {"pattern": "^/"},
		"queue.user":                        {"type": []string{"string", "integer"}, "examples": []string{"www-data", "1000"}},
		"queue.limits.pids":                 {"minimum": 0, "maximum": job.MaxLimitPids},
		"queue.retry.attempts":              {"minimum": 0, "maximum": job.MaxAttempts},
		"queue.retry.exitCodes":             {"type": []string{"array", "integer"}},
		"queue.retry.permanentExitCodes":    {"type": []string{"array", "integer"}},
		"queue.maxItems":                    {"minimum": 0, "maximum": job.MaxQueueItems},
		"spec.retry.attempts":               {"minimum": 0, "maximum": job.MaxAttempts},
		"spec.group":                        {"pattern": namePattern, "maxLength": job.MaxNameLen},
		"notifier.on":                       with(oneOrMore(len(job.AlertEvents())), "items", schema{"enum": job.AlertEvents()}),
		"notifier.namespaces":               oneOrMore(job.MaxNotifierPatterns),
		"notifier.jobs":                     oneOrMore(job.MaxNotifierPatterns),
		"notifier.quiet":                    oneOrMore(job.MaxCalendars),
		"notifier.labels":                   {"maxProperties": job.MaxLabels},
		"notifier.skippedRuns":              {"minimum": 0, "maximum": job.MaxSkippedRuns},
		"notifier.maxPerHour":               {"minimum": 0, "maximum": job.MaxMaxPerHour},
		"notifier.subject":                  {"maxLength": job.MaxTemplateBytes},
		"notifier.text":                     {"maxLength": job.MaxTemplateBytes},
		"notifier.email.to":                 oneOrMore(job.MaxNotifierMails),
		"notifier.email.tls":                {"enum": []string{job.TLSStart, job.TLSDirect, job.TLSNone}},
		"notifier.pagerDuty.severity":       {"enum": job.AlertSeverities(), "default": job.DefaultAlertSeverity},
		"defaults.env":                      {"propertyNames": schema{"pattern": `^[A-Za-z_][A-Za-z0-9_]*$`, "not": schema{"pattern": "^" + job.EnvPrefix}}, "maxProperties": job.MaxEnv},
		"defaults.user":                     {"type": []string{"string", "integer"}, "examples": []string{"www-data", "1000"}},
		"defaults.retry.attempts":           {"minimum": 0, "maximum": job.MaxAttempts},
		"defaults.retry.exitCodes":          {"type": []string{"array", "integer"}},
		"defaults.pauseAfterFailures":       {"minimum": 0, "maximum": job.MaxPauseAfter},
		"defaults.retry.permanentExitCodes": {"type": []string{"array", "integer"}},
		"role.rules":                        {"maxItems": job.MaxRoleRules},
		"roleBinding.role":                  {"pattern": namePattern, "maxLength": job.MaxNameLen},
		"roleBinding.subjects":              {"maxItems": job.MaxRoleSubjects},
		"group.mode":                        {"enum": mode.Names(), "default": job.DefaultMode, "description": modes()},
		"group.nodes":                       with(oneOrMore(job.MaxGroupNodes), "minItems", 1),
		"group.sites":                       {"type": []string{"array", "string"}},
		"group.spread":                      {"minLength": 1},
		"group.pin":                         {"maxProperties": job.MaxLabels},
		"group.mutex":                       {"pattern": namePattern, "maxLength": job.MaxNameLen},
		"group.maxConcurrent":               {"minimum": 0},
		"group.slice":                       {"examples": []string{"10m", "24h"}},
		"spec.retry.exitCodes":              {"type": []string{"array", "integer"}},
		"spec.retry.permanentExitCodes":     {"type": []string{"array", "integer"}},
		"spec.overlapLimit":                 {"minimum": 0, "maximum": job.MaxOverlapLimit, "default": job.DefaultOverlapLimit},
	}
)

// modes describes the field mode: what each one does.
func modes() string {
	text := "mode says how the lock of the group is passed on between the nodes. Not given: " + job.DefaultMode + "."
	for _, m := range mode.All() {
		text += "\n" + m.Name + ": " + m.Words + "."
	}
	return text
}

func with(s schema, key string, value any) schema {
	s[key] = value
	return s
}
