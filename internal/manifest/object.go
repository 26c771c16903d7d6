package manifest

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/internal/payload"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// spec is what a user writes of a kind.
type spec interface {
	job.Spec | job.GroupSpec | job.HostGroupSpec | job.CalendarSpec | job.ScriptSpec | job.QueueSpec | job.SecretSpec | job.NotifierSpec | job.DefaultsSpec | job.RoleSpec | job.RoleBindingSpec
}

// document is a document's outermost fields, in the order they are written. S
// is the spec of its kind.
type document[S spec] struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   job.Metadata `json:"metadata"`
	Spec       S            `json:"spec"`
}

// Kinds lists the kinds of objects, each before those that it may name.
func Kinds() []string {
	return []string{job.KindJob, job.KindGroup, job.KindHostGroup, job.KindCalendar, job.KindQueue, job.KindScript, job.KindSecret, job.KindNotifier, job.KindDefaults, job.KindRoleBinding, job.KindRole}
}

// object reads and checks one document. It is false when there is no telling
// which object was meant.
func (r *reader) object(n *yaml.Node) (Object, bool) {
	r.lines, r.zeros, r.bad, r.meant, r.expanded = map[string]place{}, nil, map[string]bool{}, map[string]bool{}, 0
	if !r.isObject(n) {
		return Object{}, false
	}
	kind, ok := r.known(n)
	if !ok {
		return Object{}, false
	}
	o := Object{Kind: kind, File: r.file, Line: n.Line}
	switch kind {
	case job.KindGroup:
		o.Metadata, o.Group = read[job.GroupSpec](r, n)
	case job.KindCalendar:
		o.Metadata, o.Calendar = read[job.CalendarSpec](r, n)
	case job.KindScript:
		o.Metadata, o.Script = read[job.ScriptSpec](r, n)
	case job.KindQueue:
		o.Metadata, o.Queue = read[job.QueueSpec](r, n)
	case job.KindSecret:
		o.Metadata, o.Secret = read[job.SecretSpec](r, n)
	case job.KindNotifier:
		o.Metadata, o.Notifier = read[job.NotifierSpec](r, n)
	case job.KindDefaults:
		o.Metadata, o.Defaults = read[job.DefaultsSpec](r, n)
	case job.KindHostGroup:
		o.Metadata, o.HostGroup = read[job.HostGroupSpec](r, n)
	case job.KindRole:
		o.Metadata, o.Role = read[job.RoleSpec](r, n)
	case job.KindRoleBinding:
		o.Metadata, o.RoleBinding = read[job.RoleBindingSpec](r, n)
	default:
		o.Metadata, o.Spec = read[job.Spec](r, n)
	}
	if o.Metadata.Namespace == "" {
		o.Metadata.Namespace = job.DefaultNamespace
	}
	if r.bad["*"] {
		return o, false
	}
	o.places = r.lines
	told := map[string]bool{}
	for _, p := range validate(&o, r.schedules) {
		if !r.told(p.Path) {
			told[p.Path] = true
			at := r.at(p.Path, placeOf(n))
			p.File, p.Line, p.Column = r.file, at.line, at.column
			r.problems = append(r.problems, p)
		}
	}
	r.tellZeros(kind, told)
	return o, !r.told("metadata.name") && !r.told("metadata.namespace")
}

// isObject refuses a document that holds no object.
func (r *reader) isObject(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode:
		return true
	case yaml.SequenceNode:
		r.problem(placeOf(n), "", "is a list of other things than objects; write one object per document, with a line --- between them")
	default:
		r.problem(placeOf(n), "", "is not an object; write apiVersion, kind, metadata and spec")
	}
	return false
}

// names reads the kind, the name and the namespace of one document.
func (r *reader) names(n *yaml.Node) (Object, bool) {
	r.lines = map[string]place{}
	if !r.isObject(n) {
		return Object{}, false
	}
	if v, ok := lookup(n, "apiVersion"); !ok || !newerVersion.MatchString(v.Value) {
		r.word(n, "apiVersion", job.APIVersion)
	}
	kind, ok := r.word(n, "kind", Kinds()...)
	if !ok {
		return Object{}, false
	}
	o := Object{Kind: kind, File: r.file, Line: n.Line}
	if meta, ok := lookup(n, "metadata"); ok {
		r.lines["metadata"] = placeOf(meta)
		o.Metadata.Name, o.Metadata.Namespace = r.nameIn(meta, "name"), r.nameIn(meta, "namespace")
	}
	if o.Metadata.Namespace == "" {
		o.Metadata.Namespace = job.DefaultNamespace
	}
	problems := o.Metadata.Validate()
	for _, p := range problems {
		r.problem(r.at(p.Path, placeOf(n)), p.Path, "%s", p.Message)
	}
	return o, len(problems) == 0
}

// nameIn returns a field of metadata that is a text.
func (r *reader) nameIn(meta *yaml.Node, field string) string {
	if meta.Kind == yaml.AliasNode {
		meta = meta.Alias
	}
	v, ok := lookup(meta, field)
	if !ok {
		return ""
	}
	r.lines["metadata."+field] = placeOf(v)
	if v.Kind == yaml.AliasNode {
		v = v.Alias
	}
	if v.ShortTag() == nullTag {
		return ""
	}
	return v.Value
}

// read reads a document whose kind has the spec S.
func read[S spec](r *reader, n *yaml.Node) (job.Metadata, S) {
	var doc document[S]
	r.fields(n, reflect.ValueOf(&doc).Elem(), "")
	return doc.Metadata, doc.Spec
}

// known checks the version and returns the kind. It is false when there is no
// such kind, as all other fields depend on it.
func (r *reader) known(n *yaml.Node) (string, bool) {
	if v, ok := lookup(n, "apiVersion"); ok && newerVersion.MatchString(v.Value) && v.Value != job.APIVersion {
		r.problem(placeOf(v), "apiVersion", "%q is newer than this release, which reads %s; use a newer release, or write %[2]s and leave out what is new", v.Value, job.APIVersion)
	} else {
		r.word(n, "apiVersion", job.APIVersion)
	}
	return r.word(n, "kind", Kinds()...)
}

// newerVersion is a version of manifests that this release, the first, does not know.
var newerVersion = regexp.MustCompile(`^carillon/v[0-9]+((alpha|beta)[0-9]+)?$`)

// word returns a field that has one of few values.
func (r *reader) word(n *yaml.Node, field string, allowed ...string) (string, bool) {
	v, ok := lookup(n, field)
	switch {
	case !ok || v.Value == "":
		r.problem(placeOf(n), field, "is missing; write %s: %s", field, strings.Join(allowed, " or "))
		return "", false
	case !slices.Contains(allowed, v.Value):
		hint := ""
		if near, ok := job.Nearest(v.Value, allowed); ok {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		r.problem(placeOf(v), field, "%q is unknown%s (allowed: %s)", v.Value, hint, strings.Join(allowed, ", "))
		return "", false
	}
	return v.Value, true
}

func lookup(n *yaml.Node, key string) (*yaml.Node, bool) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1], true
		}
	}
	return nil, false
}

// told reports whether a problem with the value at path, or with one that
// holds it, is noted already; or that it is missing but for a misspelling.
func (r *reader) told(path string) bool {
	if r.meant[path] && !r.has(path) {
		return true
	}
	for ; path != ""; path = parent(path) {
		if r.bad[path] {
			return true
		}
	}
	return false
}

// tellZeros tells what to write instead of values that are zero or empty, where
// that could be taken for the default, or for no bound. What else is told of them
// already is not told again.
func (r *reader) tellZeros(kind string, told map[string]bool) {
	if len(r.zeros) == 0 {
		return
	}
	instead := map[string]string{}
	for _, f := range job.Fields(kind) {
		instead[f.Path] = f.Zero
	}
	for _, z := range r.zeros {
		text := instead[withoutIndexes(z.path)]
		if text == "" || told[z.path] || r.told(z.path) {
			continue
		}
		what := "empty"
		if z.text != "" {
			what = z.text
		}
		r.problem(z.at, z.path, "is %s; %s", what, text)
	}
}

// withoutIndexes writes spec.steps[3].args as spec.steps[].args.
func withoutIndexes(path string) string { return indexes.ReplaceAllString(path, "[]") }

var indexes = regexp.MustCompile(`\[[0-9]+\]`)

// at returns where the value at path was read, or where the nearest value around
// it was.
func (r *reader) at(path string, otherwise place) place {
	return placeIn(r.lines, path, otherwise)
}

func placeIn(places map[string]place, path string, otherwise place) place {
	for ; path != ""; path = parent(path) {
		if at, ok := places[path]; ok {
			return at
		}
	}
	return otherwise
}

// parent cuts the last step off a path.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// checkSecret tells what is wrong with a secret. It needs no key to see whether the value
// is sealed, and repeats no part of it.
func checkSecret(s *job.SecretSpec) []job.Problem {
	problems := s.Validate()
	add := func(path, text string) { problems = append(problems, job.Problem{Path: path, Message: text}) }
	for i, r := range s.Recipients {
		if err := agesecret.CheckRecipient(r); err != nil {
			add("spec.recipients["+strconv.Itoa(i)+"]", err.Error())
		}
	}
	switch n, err := agesecret.Check(s.Sealed); {
	case err != nil:
		add("spec.sealed", err.Error())
	case n != len(s.Recipients) && len(s.Recipients) > 0:
		add("spec.recipients", fmt.Sprintf("has %d entries, and the value is sealed to %d keys", len(s.Recipients), n))
	}
	return problems
}

// Validate returns all that is wrong with an object, without File and Line.
func Validate(o *Object) []job.Problem { return validate(o, schedule.NewCache()) }

func validate(o *Object, schedules *schedule.Cache) []job.Problem {
	problems := o.Metadata.Validate()
	switch o.Kind {
	case job.KindGroup:
		return append(append(problems, o.Group.Validate()...), mode.Check(&o.Group)...)
	case job.KindHostGroup:
		return append(problems, checkHostGroup(o)...)
	case job.KindCalendar:
		_, wrong := calendar.New(o.Metadata.Name, &o.Calendar)
		if err := schedule.CheckZone(o.Calendar.TimeZone); err != nil && !slices.ContainsFunc(wrong, func(p job.Problem) bool { return p.Path == "spec.timeZone" }) {
			wrong = append(wrong, job.Problem{Path: "spec.timeZone", Message: err.Error()})
		}
		return append(append(problems, wrong...), o.Calendar.CheckEffects()...)
	case job.KindScript:
		return append(problems, o.Script.Validate()...)
	case job.KindQueue:
		problems = append(problems, o.Queue.Validate()...)
		if o.Queue.Target.Match != "" {
			problems = append(problems, checkMatch("spec.target.match", o.Queue.Target.Match)...)
		}
		if o.Queue.PayloadSchema != "" {
			if _, err := payload.Parse(o.Queue.PayloadSchema); err != nil {
				problems = append(problems, job.Problem{Path: "spec.payloadSchema", Message: err.Error()})
			}
		}
		return problems
	case job.KindSecret:
		return append(problems, checkSecret(&o.Secret)...)
	case job.KindNotifier:
		return append(append(problems, o.Notifier.Validate()...), message.Check(&job.Notifier{Metadata: o.Metadata, Spec: o.Notifier})...)
	case job.KindDefaults:
		return append(problems, checkDefaults(o)...)
	case job.KindRole:
		return append(append(problems, wholeCluster(o, "a role")...), rights.RoleOf(o.Metadata.Name, &o.Role).Validate()...)
	case job.KindRoleBinding:
		return append(append(problems, wholeCluster(o, "a role binding")...), rights.BindingOf(o.Metadata.Name, &o.RoleBinding).Validate()...)
	}
	problems = append(problems, o.Spec.Validate()...)
	if canary := o.Spec.Rollout.Canary; canary != "" {
		problems = append(problems, checkMatch("spec.rollout.canary", canary)...)
	}
	if o.Spec.Target.Match != "" {
		problems = append(problems, checkMatch("spec.target.match", o.Spec.Target.Match)...)
	}
	if o.Spec.Target.Prefer != "" {
		problems = append(problems, checkMatch("spec.target.prefer", o.Spec.Target.Prefer)...)
	}
	opts := schedule.OptionsOf(o.Metadata.Key(), &o.Spec)
	opts.Strict = true
	if !slices.Contains(job.Dialects(), opts.Dialect) {
		opts.Dialect = "" // told above
	}
	opts.DST = job.DST{} // as above; it does not matter here
	if err := schedule.CheckZone(opts.Zone); err != nil {
		problems = append(problems, job.Problem{Path: "spec.timeZone", Message: err.Error()})
		opts.Zone = "" // tell what else is wrong with the schedules
	}
	var set schedule.Set
	for i, expr := range o.Spec.Schedules {
		if i == job.MaxSchedules {
			break
		}
		s, err := schedules.Parse(expr, opts)
		if err != nil {
			problems = append(problems, job.Problem{Path: "spec.schedules[" + strconv.Itoa(i) + "]", Message: err.Error()})
			continue
		}
		set = append(set, s)
	}
	if len(set) == len(o.Spec.Schedules) { // else there is no telling
		problems = o.Spec.CheckTiming(timingOf(set, &o.Spec), problems)
	}
	if o.Spec.OnExcluded == job.ExcludedNext && len(set.Between(sampleWeek, sampleWeek.AddDate(0, 0, 7), maxMovedWeekly+1)) > maxMovedWeekly {
		problems = append(problems, job.Problem{
			Path: "spec.onExcluded", Message: fmt.Sprintf("%q is for schedules that are due at most %d times a week; use %q", job.ExcludedNext, maxMovedWeekly, job.ExcludedSkip),
		})
	}
	return problems
}

// timingOf tells what the schedules of a job have to do with its zone and dialect.
func timingOf(set schedule.Set, spec *job.Spec) job.Timing {
	t := job.Timing{Zoned: spec.OnExcluded == job.ExcludedNext} // to another day of that zone
	named, jumping, endless := false, false, false
	for _, s := range set {
		endless = endless || !s.Once()
		t.Fields = t.Fields || s.OnClock() && !s.Named()
		t.Zoned = t.Zoned || s.OnClock() && !s.OwnZone()
		named = named || s.OnClock() && s.Named()
		jumping = jumping || s.Jumps()
		if t.InZone == "" && !s.OnClock() {
			t.InZone = s.InZone(spec.TimeZone)
		}
	}
	if !endless {
		t.Most = len(set)
	}
	// The dialects differ in what they do by default when clocks jump.
	t.Fields, t.Jumping = t.Fields || named && jumping, jumping
	return t
}

// maxMovedWeekly bounds how often a job may be due whose occurrences calendars
// move: all that may be moved to one day are looked at. sampleWeek begins the week
// that is counted.
const maxMovedWeekly = 700

var sampleWeek = time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)

// wholeCluster returns a problem when an object has a namespace that has none.
func wholeCluster(o *Object, what string) []job.Problem {
	if ns := o.Metadata.Namespace; ns != "" && ns != job.DefaultNamespace {
		return []job.Problem{{
			Path: "metadata.namespace", Message: fmt.Sprintf("%q: %s belongs to the whole cluster; leave the namespace out", ns, what),
		}}
	}
	return nil
}

// checkHostGroup returns what is wrong with a group of hosts in itself. Which
// groups there are is known only where it is applied.
func checkHostGroup(o *Object) []job.Problem {
	problems := wholeCluster(o, "a group of hosts")
	if o.HostGroup.Match == "" {
		return append(problems, job.Problem{Path: "spec.match", Message: "is empty; write a target such as web[1-20] or os == \"linux\""})
	}
	return append(problems, checkMatch("spec.match", o.HostGroup.Match)...)
}

// checkMatch returns what is wrong with the target expression at path.
func checkMatch(path, match string) []job.Problem {
	if _, err := target.Parse(match); err != nil {
		return target.Problems(path, err)
	}
	return nil
}
