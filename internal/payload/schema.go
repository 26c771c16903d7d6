package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of schemas.
const (
	MaxBytes = 32 << 10
	MaxDepth = 32
)

// Schema is what payloads have to be. Use Parse.
type Schema struct {
	types      []string
	enum       []any
	properties map[string]*Schema
	required   []string
	// closed: properties that are not named are refused; else others says what they
	// have to be, unless it is nil.
	closed bool
	others *Schema
	items  *Schema

	minimum, maximum, above, below           *big.Rat
	minLength, maxLength, minItems, maxItems *int
	pattern                                  *regexp.Regexp
}

// Parse reads a schema.
func Parse(text string) (*Schema, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", len(text), MaxBytes)
	}
	v, err := decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	return read(v, "", 0)
}

// decode reads one JSON value, with numbers as they are written.
func decode(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the first value")
	}
	return v, nil
}

var typeNames = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

// read reads a schema at a place.
func read(v any, at string, depth int) (*Schema, error) {
	where := orRoot(at)
	if depth > MaxDepth {
		return nil, fmt.Errorf("%s: schemas are in one another more than %d deep", where, MaxDepth)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: must be an object with keywords", where)
	}
	s := &Schema{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		known, err := s.keyword(k, m[k], at, depth)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("%s: keyword %q is none that queues look at; leave it out (they look at: type, enum, const, properties, required, additionalProperties, items, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern, minItems, maxItems)", where, k)
		}
	}
	return s, nil
}

func orRoot(at string) string {
	if at == "" {
		return "the schema"
	}
	return at
}

// keyword takes one keyword in; false: there is none of this name.
func (s *Schema) keyword(k string, v any, at string, depth int) (bool, error) {
	wrong := func(want string) (bool, error) { return true, fmt.Errorf("%s: %s must be %s", orRoot(at), k, want) }
	var err error
	switch k {
	case "title", "description", "$schema":
		if _, ok := v.(string); !ok {
			return wrong("a text")
		}
	case "type":
		if s.types, err = texts(v); err != nil || len(s.types) == 0 {
			return wrong("one of " + strings.Join(typeNames, ", ") + ", or a list of them")
		}
		for _, t := range s.types {
			if !slices.Contains(typeNames, t) {
				return wrong("one of " + strings.Join(typeNames, ", ") + ", or a list of them")
			}
		}
	case "enum":
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return wrong("a list of values")
		}
		s.enum = list
	case "const":
		s.enum = []any{v}
	case "properties":
		m, ok := v.(map[string]any)
		if !ok {
			return wrong("an object with a schema for each property")
		}
		s.properties = map[string]*Schema{}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if s.properties[name], err = read(m[name], join(at, name), depth+1); err != nil {
				return true, err
			}
		}
	case "required":
		if s.required, err = texts(v); err != nil {
			return wrong("a list of names")
		}
	case "additionalProperties":
		if open, is := v.(bool); is {
			s.closed = !open
			break
		}
		s.others, err = read(v, join(at, k), depth+1)
	case "items":
		s.items, err = read(v, join(at, k), depth+1)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		n, ok := number(v)
		if !ok {
			return wrong("a number")
		}
		*map[string]**big.Rat{"minimum": &s.minimum, "maximum": &s.maximum, "exclusiveMinimum": &s.above, "exclusiveMaximum": &s.below}[k] = n
	case "minLength", "maxLength", "minItems", "maxItems":
		n, ok := number(v)
		if !ok || !n.IsInt() || n.Sign() < 0 || !n.Num().IsInt64() || n.Num().Int64() > 1<<31 {
			return wrong("a whole number from 0")
		}
		i := int(n.Num().Int64())
		*map[string]**int{"minLength": &s.minLength, "maxLength": &s.maxLength, "minItems": &s.minItems, "maxItems": &s.maxItems}[k] = &i
	case "pattern":
		text, ok := v.(string)
		if !ok {
			return wrong("a regular expression")
		}
		if s.pattern, err = regexp.Compile(text); err != nil {
			return wrong("a regular expression (RE2): " + err.Error())
		}
	default:
		return false, nil
	}
	return true, err
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// texts reads a text, or a list of them.
func texts(v any) ([]string, error) {
	if one, ok := v.(string); ok {
		return []string{one}, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("not a list")
	}
	var out []string
	for _, x := range list {
		t, ok := x.(string)
		if !ok {
			return nil, errors.New("not a text")
		}
		out = append(out, t)
	}
	return out, nil
}

// maxExponent bounds what a number may cost that is written with an exponent.
const maxExponent = 400

func number(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok || len(n) > maxExponent {
		return nil, false
	}
	if _, exponent, is := strings.Cut(strings.ToLower(n.String()), "e"); is && len(strings.TrimLeft(exponent, "+-0")) > 3 {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// Check returns what is wrong with a payload, each with its place; nil: nothing.
func (s *Schema) Check(payload []byte) []string {
	v, err := decode(payload)
	if err != nil {
		return []string{"is not JSON: " + err.Error()}
	}
	var c check
	c.value(s, v, "")
	return c.wrong
}

// CheckNone returns what is wrong with there being no payload at all: what an object without
// members would lack. Nil: nothing, or the schema is that of no object.
func (s *Schema) CheckNone() []string {
	if len(s.types) > 0 && !slices.Contains(s.types, "object") || slices.Contains(s.types, "null") {
		return nil
	}
	var c check
	c.value(s, map[string]any{}, "")
	return c.wrong
}

// maxWrong is how many problems are told.
const maxWrong = 20

type check struct{ wrong []string }

func (c *check) add(at, format string, args ...any) {
	if len(c.wrong) >= maxWrong {
		return
	}
	text := fmt.Sprintf(format, args...)
	if at != "" {
		text = at + ": " + text
	}
	c.wrong = append(c.wrong, text)
}

func (c *check) value(s *Schema, v any, at string) {
	if len(s.types) > 0 && !slices.ContainsFunc(s.types, func(t string) bool { return isOf(t, v) }) {
		c.add(at, "is %s; want %s", kindOf(v), strings.Join(s.types, " or "))
		return
	}
	if s.enum != nil && !slices.ContainsFunc(s.enum, func(x any) bool { return equal(x, v) }) {
		words, _ := json.Marshal(s.enum)
		c.add(at, "is none of %s", words)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		c.object(s, v, at)
	case []any:
		c.within(at, "items", len(v), s.minItems, s.maxItems)
		for i, x := range v {
			if s.items != nil {
				c.value(s.items, x, fmt.Sprintf("%s[%d]", at, i))
			}
		}
	case string:
		c.within(at, "characters", utf8.RuneCountInString(v), s.minLength, s.maxLength)
		if s.pattern != nil && !s.pattern.MatchString(v) {
			c.add(at, "does not match %s", s.pattern)
		}
	case json.Number:
		c.number(s, v, at)
	}
}

func (c *check) object(s *Schema, m map[string]any, at string) {
	for _, name := range s.required {
		if _, ok := m[name]; !ok {
			c.add(join(at, name), "is missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch p := s.properties[name]; {
		case p != nil:
			c.value(p, m[name], join(at, name))
		case s.closed:
			c.add(join(at, name), "is not known")
		case s.others != nil:
			c.value(s.others, m[name], join(at, name))
		}
	}
}

func (c *check) within(at, what string, n int, least, most *int) {
	switch {
	case least != nil && n < *least:
		c.add(at, "has %d %s; at least %d are wanted", n, what, *least)
	case most != nil && n > *most:
		c.add(at, "has %d %s; at most %d are allowed", n, what, *most)
	}
}

func (c *check) number(s *Schema, v json.Number, at string) {
	n, ok := number(v)
	if !ok {
		c.add(at, "%s is too long a number", v)
		return
	}
	switch {
	case s.minimum != nil && n.Cmp(s.minimum) < 0:
		c.add(at, "%s is less than %s", v, s.minimum.RatString())
	case s.maximum != nil && n.Cmp(s.maximum) > 0:
		c.add(at, "%s is more than %s", v, s.maximum.RatString())
	case s.above != nil && n.Cmp(s.above) <= 0:
		c.add(at, "%s is not more than %s", v, s.above.RatString())
	case s.below != nil && n.Cmp(s.below) >= 0:
		c.add(at, "%s is not less than %s", v, s.below.RatString())
	}
}

func isOf(t string, v any) bool {
	kind := kindOf(v)
	if t == "integer" {
		n, ok := number(v)
		return ok && n.IsInt()
	}
	return t == kind
}

func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "boolean"
	}
	return "null"
}

// equal compares values as JSON Schema does: numbers by what they are.
func equal(a, b any) bool {
	x, isNumber := number(a)
	y, other := number(b)
	if isNumber && other {
		return x.Cmp(y) == 0
	}
	switch a := a.(type) {
	case []any:
		list, ok := b.([]any)
		return ok && slices.EqualFunc(a, list, equal)
	case map[string]any:
		m, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, m, equal)
	}
	return reflect.DeepEqual(a, b)
}
