package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// value reads a node into what target points at.
func (r *reader) value(n *yaml.Node, path string, target any) {
	r.into(n, path, reflect.ValueOf(target).Elem())
}

func (r *reader) into(n *yaml.Node, path string, v reflect.Value) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.lines[path] = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if d, ok := v.Addr().Interface().(*job.Duration); ok {
		r.duration(n, path, d)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		r.into(n, path, p.Elem())
		v.Set(p)
	case reflect.Struct:
		r.fields(n, path, v)
	case reflect.Map:
		r.entries(n, path, v)
	case reflect.Slice:
		r.items(n, path, v)
	case reflect.String, reflect.Bool, reflect.Int:
		r.scalar(n, path, v)
	default:
		panic("manifest: no way to read " + v.Type().String())
	}
}

func (r *reader) duration(n *yaml.Node, path string, d *job.Duration) {
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.problem(n.Line, path, "%s is not a duration; give a number with a unit, such as 90s or 1h30m", show(n))
		return
	}
	*d = job.Duration(v)
}

// show quotes a scalar, and names what is none.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}

// fieldOf finds a struct's field by its JSON name.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous && jsonName(f) == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func fieldNames(t reflect.Type) []string {
	var out []string
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous {
			out = append(out, jsonName(f))
		}
	}
	return out
}

func (r *reader) fields(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, path, "is %s; a mapping with %s is expected", show(n), strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		f, ok := fieldOf(v.Type(), key.Value)
		switch {
		case !ok:
			r.problem(key.Line, under(path, key.Value), "is not a known field; %s are allowed%s",
				strings.Join(fieldNames(v.Type()), ", "), didYouMean(key.Value, fieldNames(v.Type())))
		case seen[key.Value]:
			r.problem(key.Line, under(path, key.Value), "stands here twice")
		default:
			r.into(val, under(path, key.Value), v.FieldByIndex(f.Index))
		}
		seen[key.Value] = true
	}
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (r *reader) entries(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, path, "is %s; a mapping of names to texts is expected", show(n))
		return
	}
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		for val.Kind == yaml.AliasNode {
			val = val.Alias
		}
		where := under(path, key.Value)
		r.lines[where] = key.Line
		switch {
		case val.Kind != yaml.ScalarNode:
			r.problem(val.Line, where, "is %s; a text is expected", show(val))
			continue
		case m.MapIndex(reflect.ValueOf(key.Value)).IsValid():
			r.problem(key.Line, where, "stands here twice")
		}
		text := val.Value
		if val.Tag == "!!null" {
			text = ""
		}
		m.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(text))
	}
	v.Set(m)
}

func (r *reader) items(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			parts := strings.Fields(n.Value)
			for i, p := range parts {
				parts[i] = fmt.Sprintf("%q", p)
			}
			hint = ", such as [" + strings.Join(parts, ", ") + "]"
			if path == "spec.command" {
				hint += "; for a line of shell use script: {source: ...}"
			}
			if path == "spec.schedules" {
				hint = fmt.Sprintf(", such as [%q], or use schedule", n.Value)
			}
		}
		r.problem(n.Line, path, "is %s; a list is expected%s", show(n), hint)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		r.into(c, fmt.Sprintf("%s[%d]", path, i), out.Index(i))
	}
	v.Set(out)
}

func (r *reader) scalar(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		r.problem(n.Line, path, "is %s; a single value is expected", show(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
		if allowed := choices(v.Interface()); allowed != nil && !slices.Contains(allowed, n.Value) {
			r.problem(n.Line, path, "%q is not known; one of %s is allowed%s",
				n.Value, strings.Join(allowed, ", "), didYouMean(n.Value, allowed))
			v.SetString("")
		}
	case reflect.Bool:
		var b bool
		if n.Tag != "!!bool" || n.Decode(&b) != nil {
			r.problem(n.Line, path, "%q is not true or false", n.Value)
			return
		}
		v.SetBool(b)
	default:
		var i int
		if n.Tag != "!!int" || n.Decode(&i) != nil {
			r.problem(n.Line, path, "%q is not a whole number", n.Value)
			return
		}
		v.SetInt(int64(i))
	}
}

// choices lists what a value of this type may be; nil means any text.
func choices(v any) []string {
	switch v.(type) {
	case job.Overlap:
		return texts(job.Overlaps())
	case job.Misfire:
		return texts(job.Misfires())
	case job.Spread:
		return texts(job.Spreads())
	}
	return nil
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

// didYouMean suggests the allowed word that is nearest to what was given.
func didYouMean(got string, allowed []string) string {
	if best, ok := job.Nearest(got, allowed); ok {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}
