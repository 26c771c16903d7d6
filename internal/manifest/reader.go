package manifest

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// reader turns YAML nodes into values and collects problems on the way.
type reader struct {
	file      string
	problems  []job.Problem
	schedules *schedule.Cache

	// Of the present document: where each path was read, which hold nothing
	// though they were given, which have a problem already, which were meant by
	// a misspelt one, and how much aliases have added.
	lines    map[string]place
	zeros    []zero
	bad      map[string]bool
	meant    map[string]bool
	expanded int
}

// place is where something was read; both count from 1, 0 is unknown.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// zero is a value that was given, and is zero or empty.
type zero struct {
	path string
	at   place
	// text is what was written.
	text string
}

const nullTag = "!!null"

// fail notes a problem with the value at path. What validation says about the
// same value is not told then.
func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	r.bad[path] = true
	r.problem(placeOf(n), path, format, args...)
}

// value reads a node into v.
func (r *reader) value(n *yaml.Node, v reflect.Value, path string) {
	r.lines[path] = placeOf(n)
	n, ok := r.resolve(n, path)
	if !ok || n.Kind == yaml.ScalarNode && n.ShortTag() == nullTag {
		return // a field without a value is a field that is not given
	}
	r.given(n, v, path)
	r.noteZero(n, v, path)
}

// noteZero notes a value that was read and is zero or empty.
func (r *reader) noteZero(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Bool, reflect.Pointer:
		return
	case reflect.Slice, reflect.Map:
		if v.Len() > 0 {
			return
		}
	default:
		if !v.IsZero() {
			return
		}
	}
	within := func(other string) bool {
		rest, ok := strings.CutPrefix(other, path)
		return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
	}
	for bad := range r.bad {
		if bad == path || within(bad) {
			return
		}
	}
	if slices.ContainsFunc(r.zeros, func(z zero) bool { return within(z.path) }) {
		return
	}
	r.zeros = append(r.zeros, zero{path, placeOf(n), n.Value})
}

// given reads a node that is not null into v.
func (r *reader) given(n *yaml.Node, v reflect.Value, path string) {
	switch v.Interface().(type) {
	case job.Duration:
		r.duration(n, v, path)
		return
	case job.Size, job.Cores, job.Amount:
		r.amount(n, v, path)
		return
	case time.Time:
		r.instant(n, v, path)
		return
	case []job.CommandRule:
		r.commands(n, v, path)
		return
	case job.Script:
		if n.Kind == yaml.ScalarNode {
			r.lines[path+".source"] = placeOf(n)
			r.text(n, v.FieldByName("Source"), path)
			return
		}
	}
	if v.Type() == envValueType && n.Kind == yaml.MappingNode && !slices.ContainsFunc(n.Content, func(k *yaml.Node) bool { return k.Value == "secret" }) {
		r.fail(n, path+".secret", "is missing; write {secret: {file: /a/path}}, or the value as text")
		return
	}
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode && tag != "!!map" && tag != "!!seq" {
		r.fail(n, path, "the tag %s is not allowed; leave it out", tag)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, v.Elem(), path)
	case reflect.Struct:
		r.fields(n, v, path)
	case reflect.Map:
		r.mapping(n, v, path)
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.Int:
			r.numbers(n, v, path)
		case reflect.Struct:
			r.objects(n, v, path)
		default:
			r.list(n, v, path)
		}
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			r.fail(n, path, "%s is not a truth value; write true or false", shown(n))
			return
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.ParseInt(n.Value, 10, 0)
		if err != nil || n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
			r.fail(n, path, "%s is not a whole number; write one, as in 3", shown(n))
			return
		}
		v.SetInt(i)
	case reflect.String:
		r.text(n, v, path)
	default:
		panic("manifest: no rule for a field of type " + v.Type().String())
	}
}

// resolve follows an alias, and refuses those that blow a document up.
func (r *reader) resolve(n *yaml.Node, path string) (*yaml.Node, bool) {
	if n.Kind != yaml.AliasNode {
		return n, true
	}
	at := placeOf(n)
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		r.expanded += len(n.Value)
	}
	r.expanded += len(n.Content)
	if r.expanded > MaxAliasBytes {
		if !r.bad["*"] {
			r.bad["*"] = true
			r.problem(at, path, "aliases make this document larger than is allowed (%d bytes); write the values out", MaxAliasBytes)
		}
		return n, false
	}
	return n, true
}

// text reads a scalar as it is written. Numbers, true and false are text here.
func (r *reader) text(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, path, "%s is not text; write a string", shown(n))
		return
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
		v.SetString(n.Value)
	case nullTag:
		r.fail(n, path, `has no value; give one, or write "" for empty text`)
	default:
		r.fail(n, path, "the tag %s is not allowed; write a string", n.ShortTag())
	}
}

func (r *reader) duration(n *yaml.Node, v reflect.Value, path string) {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.fail(n, path, `%s is not a duration; write a number with a unit (ms, s, m, h), as in 90s or 1h30m`, shown(n))
		return
	}
	v.SetInt(int64(d))
}

// amount reads a number with or without a unit, in the form of its type.
func (r *reader) amount(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, path, "%s is not an amount; write a number, as in 2, or one with a unit", shown(n))
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		r.fail(n, path, "%v", err)
	}
}

func (r *reader) instant(n *yaml.Node, v reflect.Value, path string) {
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.fail(n, path, "%s is not an instant; write it with its offset, as in 2027-01-31T09:00:00Z or 2027-01-31T09:00:00+01:00", shown(n))
		return
	}
	v.Set(reflect.ValueOf(t.UTC()))
}

// numbers reads a list of whole numbers; a single one stands for a list of one.
func (r *reader) numbers(n *yaml.Node, v reflect.Value, path string) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		r.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
}

// mapping reads a mapping of names to text, or to something else.
func (r *reader) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "%s is not a mapping; write one line per entry, as in NAME: value", shown(n))
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	r.pairs(n, path, func(key string, _ place, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		at := join(path, key)
		r.lines[at] = placeOf(value)
		if value, ok := r.resolve(value, at); ok {
			switch {
			case item.Kind() == reflect.String:
				r.text(value, item, at)
			case item.Type() == envValueType && value.Kind != yaml.MappingNode:
				r.text(value, item.FieldByName("Text"), at)
			default:
				r.value(value, item, at)
			}
		}
		m.SetMapIndex(reflect.ValueOf(key), item)
	})
	v.Set(m)
}

// objects reads a list of objects.
func (r *reader) objects(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "%s is not a list; write one entry per line, each with a dash before it", shown(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		r.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
}

// list reads a list of text. Where it cannot be misread, a single text stands
// for a list of one.
func (r *reader) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.ScalarNode {
		switch {
		case path == "spec.command":
			r.fail(n, path, "%s is a string; write the program and its arguments as a list, as in [%s], or use script for a shell line",
				shown(n), quoteWords(n.Value))
			return
		case strings.HasPrefix(path, "spec.steps[") && strings.HasSuffix(path, "].command"):
			r.fail(n, path, "%s is a string; write the program and its arguments as a list, as in [%s], or use shell for a shell line",
				shown(n), quoteWords(n.Value))
			return
		case (path == "spec.script.interpreter" || path == "spec.interpreter") && len(strings.Fields(n.Value)) != 1:
			r.fail(n, path, "%s is a string; write the program and its arguments as a list, as in [%s]", shown(n), quoteWords(n.Value))
			return
		}
		var text string
		r.lines[path+"[0]"] = placeOf(n)
		r.text(n, reflect.ValueOf(&text).Elem(), path)
		out := reflect.MakeSlice(v.Type(), 1, 1)
		out.Index(0).SetString(text)
		v.Set(out)
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "%s is not a list; write one, as in [a, b]", shown(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		r.lines[at] = placeOf(item)
		if item, ok := r.resolve(item, at); ok {
			r.text(item, out.Index(i), at)
		}
	}
	v.Set(out)
}

// quoteWords writes the words of a line as the entries of a list.
func quoteWords(line string) string {
	words := strings.Fields(line)
	if len(words) > 4 {
		return strings.Join(quoted(words[:4]), ", ") + ", ..."
	}
	if len(words) == 0 {
		return "program, argument"
	}
	return strings.Join(quoted(words), ", ")
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return out
}

// shown names a value in a message: short scalars as they are.
func shown(n *yaml.Node) string {
	const longest = 60
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	text := n.Value
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return strconv.Quote(text)
}

// pairs calls each with the keys of a mapping, the lines they stand in and
// their values, and tells of keys that are no words or come twice.
func (r *reader) pairs(n *yaml.Node, path string, each func(key string, at place, value *yaml.Node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch line, twice := seen[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			r.problem(placeOf(n.Content[i]), path, "%s cannot be a key; write a word", shown(k))
		case k.ShortTag() == "!!merge":
			r.problem(placeOf(n.Content[i]), join(path, "<<"), "merge keys are not supported; write the fields out")
		case twice:
			r.fail(n.Content[i], join(path, k.Value), "is given twice, first in line %d; give it once", line)
		default:
			seen[k.Value] = k.Line
			each(k.Value, placeOf(n.Content[i]), n.Content[i+1])
		}
	}
}

// fields reads a mapping into a struct, by the JSON names of its fields.
func (r *reader) fields(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "%s is not a mapping; allowed fields are %s", shown(n), strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	names := fieldNames(v.Type())
	if v.Type() == specType {
		names = append(names, "schedule")
	}
	shorthand := false
	r.pairs(n, path, func(key string, at place, value *yaml.Node) {
		f, ok := fieldByName(v, key)
		switch {
		case ok && key == "schedules" && shorthand, key == "schedule" && v.Type() == specType && r.has(path+".schedules"):
			r.fail(value, path+".schedules", "is given beside its short form schedule; give one of the two")
		case ok:
			r.value(value, f, join(path, key))
		case key == "schedule" && v.Type() == specType:
			shorthand = true
			f, _ := fieldByName(v, "schedules")
			r.value(value, f, path+".schedules")
		default:
			r.unknown(at, path, key, names)
		}
	})
}

func (r *reader) has(path string) bool { _, ok := r.lines[path]; return ok }

// synonyms are words that other schedulers use for our fields.
var synonyms = map[string]string{
	"cron": "schedule", "crontab": "schedule", "tz": "timeZone", "environment": "env", "cmd": "command", "args": "command",
	"shell": "script", "cwd": "workingDir", "workdir": "workingDir", "dir": "workingDir", "runAs": "user", "hosts": "target.names",
	"minions": "target.names", "nodes": "target.names", "tags": "target.labels", "retries": "retry.attempts", "attempts": "retry.attempts",
	"concurrencyPolicy": "overlap", "concurrency": "overlap", "suspend": "enabled", "disabled": "enabled", "run": "target.run",
}

// groupSynonyms are the same for groups.
var groupSynonyms = map[string]string{
	"policy": "mode", "strategy": "mode", "type": "mode", "ring": "nodes", "members": "nodes", "hosts": "nodes",
	"zones": "sites", "zone": "sites", "nodeSelector": "pin", "selector": "pin", "labels": "pin", "topologyKey": "spread",
	"serial": "ordered", "sequential": "ordered", "concurrency": "maxConcurrent", "parallelism": "maxConcurrent", "limit": "maxConcurrent",
	"lock": "mutex", "gracePeriod": "grace", "interval": "slice", "duration": "slice", "hysteresis": "holdOff",
}

// unknown reports a field that does not exist.
func (r *reader) unknown(at place, path, key string, names []string) {
	hint := ""
	near, ok := job.Nearest(key, names)
	words := synonyms
	if slices.Contains(names, "mode") {
		words = groupSynonyms
	}
	if s, known := words[key]; !ok && known && path == "spec" {
		near, ok = s, true
	}
	if ok {
		hint = fmt.Sprintf("; did you mean %q?", near)
		r.meant[join(path, near)] = true
	}
	if slices.Contains(names, "sealed") && path == "spec" && slices.Contains([]string{"value", "data", "stringData", "text", "secret"}, key) {
		hint = "; a secret has no value in the clear, and none is kept: seal it on your own host, by carillon secret seal NAME"
	}
	r.problem(at, join(path, key), "this field is unknown%s (allowed: %s)", hint, strings.Join(names, ", "))
}

var (
	specType     = reflect.TypeFor[job.Spec]()
	envValueType = reflect.TypeFor[job.EnvValue]()
)

// fieldNames returns the names of a struct's fields as they are written.
func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		if name, _ := fieldTag(t.Field(i)); name != unwritten {
			names = append(names, name)
		}
	}
	return names
}

// unwritten is the name of fields that are not written by a name.
const unwritten = "-"

func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	if name == unwritten {
		return reflect.Value{}, false
	}
	for i := range v.NumField() {
		if n, _ := fieldTag(v.Type().Field(i)); n == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldTag returns a field's JSON name, and whether it may be left out.
func fieldTag(f reflect.StructField) (name string, optional bool) {
	name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, strings.Contains(rest, "omit")
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}
