package attack

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// document is the OpenAPI document that a node serves, as far as it is used here.
type document struct {
	Paths      map[string]map[string]*operation
	Components struct{ Schemas map[string]*schema }
}

// operation is a method of a path.
type operation struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   *schema
	}
	RequestBody *struct {
		Content map[string]struct{ Schema *schema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema }
	}

	method, path string
}

// schema is the part of JSON schema that the document uses.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Format               string
	Enum                 []any
	Properties           map[string]*schema
	Required             []string
	Items                *schema
	AdditionalProperties json.RawMessage
	Minimum, Maximum     *float64
	MinLength, MaxLength *int
	MaxItems             *int
}

// readDocument asks a node for its document.
func readDocument(t testing.TB, n *node) *document {
	t.Helper()
	res, err := n.get("/openapi.json")
	if err != nil || res.code != http.StatusOK {
		t.Fatalf("%d %v", res.code, err)
	}
	var d document
	if err := json.Unmarshal([]byte(res.body), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// operations are all of them, in an order that is always the same.
func (d *document) operations() []*operation {
	var all []*operation
	for path, methods := range d.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func (d *document) resolve(s *schema) *schema {
	if s == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name]
	}
	return s
}

// types are the types that a schema allows. None: any.
func (s *schema) types() []string {
	switch v := s.Type.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			name, _ := one.(string) // it is one
			all = append(all, name)
		}
		return all
	}
	return nil
}

// rest is the schema of members that have none of their own; nil and true: any.
func (s *schema) rest() (of *schema, open bool) {
	switch string(s.AdditionalProperties) {
	case "", "true":
		return nil, true
	case "false":
		return nil, false
	}
	var v schema
	return &v, json.Unmarshal(s.AdditionalProperties, &v) == nil
}

// check returns what about a value is not as its schema says; empty: nothing.
func (d *document) check(s *schema, v any, at string) string {
	if s == nil {
		return "" // it says nothing of the form
	}
	if s = d.resolve(s); s == nil {
		return at + ": its schema is not in the document"
	}
	if kinds := s.types(); len(kinds) > 0 && !slices.Contains(kinds, typeOf(v)) && (typeOf(v) != "integer" || !slices.Contains(kinds, "number")) {
		return fmt.Sprintf("%s is %s, want %v", at, typeOf(v), kinds)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return fmt.Sprintf("%s is %v, want one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Sprintf("%s is %v, out of its range", at, v)
		}
	case string:
		if n := utf8.RuneCountInString(v); s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength {
			return fmt.Sprintf("%s has %d characters", at, n)
		}
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
				return fmt.Sprintf("%s: %v", at, err)
			}
		}
	case []any:
		for i := range v {
			if s.Items == nil {
				break
			}
			if wrong := d.check(s.Items, v[i], fmt.Sprintf("%s[%d]", at, i)); wrong != "" {
				return wrong
			}
		}
	case map[string]any:
		return d.checkMembers(s, v, at)
	}
	return ""
}

func (d *document) checkMembers(s *schema, v map[string]any, at string) string {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return at + " has no " + name
		}
	}
	rest, more := s.rest()
	for name, value := range v {
		of, ok := s.Properties[name]
		switch {
		case ok:
		case !more:
			return fmt.Sprintf("%s has a member %q", at, name)
		case rest == nil:
			continue
		default:
			of = rest
		}
		if wrong := d.check(of, value, at+"."+name); wrong != "" {
			return wrong
		}
	}
	return ""
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// make returns a value that is mostly as its schema says.
func (d *document) make(r *rand.Rand, s *schema, name string, depth int) any {
	s = d.resolve(s)
	if s == nil || depth > 6 || r.IntN(15) == 0 {
		return odd(r)
	}
	if len(s.Enum) > 0 && r.IntN(5) > 0 {
		return s.Enum[r.IntN(len(s.Enum))]
	}
	kinds := s.types()
	if len(kinds) == 0 {
		return odd(r)
	}
	switch kinds[r.IntN(len(kinds))] {
	case "boolean":
		return r.IntN(2) == 0
	case "integer":
		return number(r)
	case "number":
		return r.NormFloat64() * 1e6
	case "array":
		list := make([]any, 0, 3)
		for range r.IntN(4) {
			list = append(list, d.make(r, s.Items, name, depth+1))
		}
		return list
	case "object":
		object := map[string]any{}
		for member, of := range sorted(s.Properties) {
			if slices.Contains(s.Required, member) && r.IntN(10) > 0 || r.IntN(2) == 0 {
				object[member] = d.make(r, of, member, depth+1)
			}
		}
		if rest, _ := s.rest(); rest != nil {
			object[word(r, "name")] = d.make(r, rest, "value", depth+1)
		}
		if r.IntN(15) == 0 {
			object[word(r, "name")] = odd(r)
		}
		return object
	case "null":
		return nil
	}
	if s.Format == "date-time" && r.IntN(5) > 0 {
		return instant(r)
	}
	return word(r, name)
}

// sorted goes over a map in an order that is always the same.
func sorted(m map[string]*schema) func(func(string, *schema) bool) {
	return func(yield func(string, *schema) bool) {
		names := make([]string, 0, len(m))
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

func number(r *rand.Rand) int64 {
	all := []int64{0, 1, -1, 5, 60, 100, 1 << 31, -1 << 31, 1 << 53, 1<<63 - 1, -1 << 63, r.Int64N(1000)}
	return all[r.IntN(len(all))]
}

func instant(r *rand.Rand) string {
	all := []string{
		time.Now().UTC().Add(time.Duration(r.Int64N(int64(72*time.Hour))) - 36*time.Hour).Format(time.RFC3339), "2027-01-31T09:00:00Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59-14:00", "2027-03-28T02:30:00+02:00",
	}
	return all[r.IntN(len(all))]
}

// odd is a value of any type.
func odd(r *rand.Rand) any {
	all := []any{
		nil, true, "", 0, -1, 1e300, []any{}, map[string]any{}, []any{nil, []any{[]any{}}}, map[string]any{"": map[string]any{"a": nil}},
		number(r), word(r, ""), strings.Repeat("x", 1+r.IntN(5000)),
	}
	return all[r.IntN(len(all))]
}

// word is a text that may be right where it has a name, or that may not be right anywhere.
func word(r *rand.Rand, name string) string {
	right := map[string][]string{
		"ns": {"default", "default", "default", "ops", "none"}, "namespace": {"default", "", "ops"},
		"name": {"plain", "signed", "tick", "hosts", "lib", "cal", "grp", "none", "generated"}, "job": {"plain", "tick", "none"},
		"at": {instant(r)}, "after": {instant(r), ""}, "since": {instant(r), "1h"}, "until": {instant(r)}, "from": {instant(r)}, "to": {instant(r)},
		"ref": {"1", "grp", "default/grp", "65536", "4294967295", "-1"}, "node": {"n2", "none"}, "id": {"web1", "none"}, "runId": {"x", "9x2k-0c4g6q8m2s4v6x8z"},
		"state": {"failed", "running", "pending", "closed2", "open"}, "limit": {"1", "100", "1000", "0", "-1"}, "count": {"1", "10000", "10001"},
		"target": {"*", "web*", "a and b", "@hosts", "G@os:linux and not ("}, "every": {"1s", "5m", "-1s", "9999999h", "1e9s"}, "label": {"a=b", "a", "=", "a=b=c"},
		"verb": {"read", "run", "fly"}, "resource": {"jobs", "minions", "x"}, "scope": {"all", "job", "namespace", "group"}, "token": {"1.1", "x", ""},
		"cursor": {"x", "", "~", "01890a5d-ac96-774b-bcce-b302099a8057~1"}, "dryRun": {"true", "false", "x"}, "session": {"x", "0000000000000001"},
		"ttl": {"5", "0"}, "segment": {"1", "0", "x"}, "version": {"1", "0", "-1"}, "params": {"x"},
	}
	if all := right[name]; len(all) > 0 && r.IntN(4) > 0 {
		return all[r.IntN(len(all))]
	}
	all := []string{
		"a", "..", ".", "%", "a/b", "../../etc/passwd", "\x00", "\x1b[31m", "\u202e", "é", "日本", "\xff\xfe", "' or 1=1", "{{x}}", "$(id)", "-1", "1e9", "NaN", "null", "[]", "{}",
		"0001-01-01T00:00:00Z", strings.Repeat("a", 300), "*", "**", "(", "\\", "a b", "A", "_", "~", "=", ",", ";", "&", "#", "?", " ", "\t", "\n",
	}
	return all[r.IntN(len(all))]
}
