package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// pathTemplate is a text with paths in braces, as kubectl's jsonpath has them: the common
// part of that language.
//
//	{.a.b}  {.a[0]}  {.a[-1]}  {.a['key']}  {.a[*].b}  {@}  {"text"}  {range PATH}...{end}
//
// A path without braces is one as a whole.
type pathTemplate []pathPart

// pathPart is a literal text, a path to be printed, or what is done for each of a path's
// values.
type pathPart struct {
	text  string
	path  jsonPath
	print bool
	each  pathTemplate
}

// jsonPath leads from a value to others below it.
type jsonPath []pathStep

// pathStep goes to a field, to an element of a list, or to all of either.
type pathStep struct {
	field string
	index int
	kind  stepKind
}

type stepKind int

const (
	stepField stepKind = iota
	stepIndex
	stepAll
)

// parsePathTemplate reads a template.
func parsePathTemplate(text string) (pathTemplate, error) {
	if !strings.Contains(text, "{") {
		text = "{" + text + "}"
	}
	parts, rest, err := pathParts(text, false)
	if err == nil && rest != "" {
		err = errors.New("{end} without {range}")
	}
	return parts, err
}

// pathParts reads parts up to the end of the text or, within a range, up to {end}.
func pathParts(text string, within bool) (parts pathTemplate, rest string, err error) {
	for text != "" {
		before, after, found := strings.Cut(text, "{")
		if before != "" {
			parts = append(parts, pathPart{text: before})
		}
		if !found {
			break
		}
		inside, after, err := braced(after)
		if err != nil {
			return nil, "", err
		}
		text = after
		switch over, isRange := strings.CutPrefix(inside, "range "); {
		case inside == "end":
			if within {
				return parts, text, nil
			}
			return nil, "", errors.New("{end} without {range}")
		case isRange:
			path, err := parsePath(strings.TrimSpace(over))
			if err != nil {
				return nil, "", err
			}
			var each pathTemplate
			if each, text, err = pathParts(text, true); err != nil {
				return nil, "", err
			}
			parts = append(parts, pathPart{path: path, each: each})
		case strings.HasPrefix(inside, `"`) || strings.HasPrefix(inside, "'"):
			literal, err := unquoted(inside)
			if err != nil {
				return nil, "", err
			}
			parts = append(parts, pathPart{text: literal})
		default:
			path, err := parsePath(inside)
			if err != nil {
				return nil, "", err
			}
			parts = append(parts, pathPart{path: path, print: true})
		}
	}
	if within {
		return nil, "", errors.New("{range ...} without {end}")
	}
	return parts, "", nil
}

// braced cuts at the closing brace, which may stand in quotes before.
func braced(text string) (inside, after string, err error) {
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '}':
			return strings.TrimSpace(text[:i]), text[i+1:], nil
		}
	}
	return "", "", errors.New("a { has no }")
}

func unquoted(text string) (string, error) {
	if strings.HasPrefix(text, "'") {
		text = `"` + strings.ReplaceAll(strings.Trim(text, "'"), `"`, `\"`) + `"`
	}
	literal, err := strconv.Unquote(text)
	if err != nil {
		return "", fmt.Errorf("%s is no text in quotes", text)
	}
	return literal, nil
}

// parsePath reads a path such as .spec.schedules[0].
func parsePath(text string) (jsonPath, error) {
	bad := func(why string) (jsonPath, error) { return nil, fmt.Errorf("path %q: %s", text, why) }
	rest := strings.TrimPrefix(strings.TrimPrefix(text, "$"), "@")
	if rest != "" && rest[0] != '.' && rest[0] != '[' {
		rest = "." + rest
	}
	var path jsonPath
	for rest != "" {
		if rest[0] == '[' {
			in, after, found := strings.Cut(rest[1:], "]")
			if !found {
				return bad("a [ has no ]")
			}
			rest = after
			in = strings.TrimSpace(in)
			switch n, err := strconv.Atoi(in); {
			case in == "*":
				path = append(path, pathStep{kind: stepAll})
			case err == nil:
				path = append(path, pathStep{kind: stepIndex, index: n})
			case len(in) > 1 && (in[0] == '\'' || in[0] == '"') && in[len(in)-1] == in[0]:
				path = append(path, pathStep{field: in[1 : len(in)-1]})
			default:
				return bad(fmt.Sprintf("[%s] is neither a number, * nor a key in quotes; -o go-template or jq can do more", in))
			}
			continue
		}
		rest = rest[1:]
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		name := rest[:end]
		rest = rest[end:]
		switch {
		case name == "" && rest == "":
			// "." is the value itself.
		case name == "" && rest[0] == '[':
		case name == "":
			return bad(".. is not known; -o go-template or jq can do more")
		case name == "*":
			path = append(path, pathStep{kind: stepAll})
		default:
			path = append(path, pathStep{field: name})
		}
	}
	return path, nil
}

// find returns the values to which the path leads. Where there is none there is no value.
func (p jsonPath) find(v any) []any {
	found := []any{v}
	for _, s := range p {
		var next []any
		for _, v := range found {
			next = append(next, s.find(v)...)
		}
		found = next
	}
	return found
}

func (s pathStep) find(v any) []any {
	switch v := v.(type) {
	case map[string]any:
		switch s.kind {
		case stepAll:
			var all []any
			for _, k := range sortedKeys(v) {
				all = append(all, v[k])
			}
			return all
		case stepField:
			if value, ok := v[s.field]; ok {
				return []any{value}
			}
		case stepIndex:
		}
	case []any:
		switch s.kind {
		case stepAll:
			return v
		case stepIndex:
			i := s.index
			if i < 0 {
				i += len(v)
			}
			if i >= 0 && i < len(v) {
				return v[i : i+1]
			}
		case stepField:
			if s.field == "items" { // as kubectl calls the elements of what it lists
				return []any{v}
			}
		}
	}
	return nil
}

// write writes the template for a value.
func (t pathTemplate) write(b *bytes.Buffer, v any) {
	for _, part := range t {
		b.WriteString(part.text)
		switch {
		case part.print:
			for i, found := range part.path.find(v) {
				if i > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(shownValue(found))
			}
		case part.each != nil || part.path != nil:
			found := part.path.find(v)
			if len(found) == 1 { // a list stands for its elements
				if list, ok := found[0].([]any); ok {
					found = list
				}
			}
			for _, one := range found {
				part.each.write(b, one)
			}
		}
	}
}

// templated is a form of output that the user has written.
type templated interface {
	render(v any) ([]byte, error)
}

func (t pathTemplate) render(v any) ([]byte, error) {
	var b bytes.Buffer
	t.write(&b, v)
	return b.Bytes(), nil
}

type goTemplate struct{ t *template.Template }

func (g goTemplate) render(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := g.t.Execute(&b, v); err != nil {
		return nil, usagef("--output: %w", err)
	}
	return b.Bytes(), nil
}

// The forms that are followed by a template.
const (
	formatJSONPath   = "jsonpath"
	formatGoTemplate = "go-template"
)

// readTemplate reads the template behind such a form. It is false where the form is
// another one.
func readTemplate(output string) (form string, t templated, err error) {
	form, text, given := strings.Cut(output, "=")
	if form != formatJSONPath && form != formatGoTemplate {
		return "", nil, nil
	}
	if !given || text == "" {
		return "", nil, usagef("--output %s: add the template, as in %s", form, map[string]string{
			formatJSONPath: "-o jsonpath='{.name}'", formatGoTemplate: "-o go-template='{{.name}}'",
		}[form])
	}
	if form == formatGoTemplate {
		parsed, err := template.New("output").Option("missingkey=zero").Parse(text)
		if err != nil {
			return "", nil, usagef("--output: %w", err)
		}
		return form, goTemplate{parsed}, nil
	}
	parsed, err := parsePathTemplate(text)
	if err != nil {
		return "", nil, usagef("--output jsonpath: %w", err)
	}
	return form, parsed, nil
}

// asJSON is a value as programs see it.
func asJSON(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	var plain any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&plain); err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	return plain, nil
}

// sortedBy sorts items by a field of theirs as -o json prints it; a minus before it turns
// the order around. Those that lack it come last.
func sortedBy[T any](items []T, by string) ([]T, error) {
	by, down := strings.CutPrefix(by, "-")
	path, err := parsePath(strings.Trim(by, "{}"))
	if err != nil {
		return nil, usagef("--sort-by: %w", err)
	}
	type entry struct {
		item  T
		value any
	}
	entries := make([]entry, len(items))
	fields := map[string]bool{}
	known := len(items) == 0
	for i, item := range items {
		v, err := asJSON(item)
		if err != nil {
			return nil, err
		}
		entries[i].item = item
		if found := path.find(v); len(found) > 0 {
			entries[i].value, known = found[0], true
		}
		if m, ok := v.(map[string]any); ok {
			for name := range m {
				fields[name] = true
			}
		}
	}
	if !known {
		names := sortedKeys(fields)
		return nil, usagef("--sort-by %q: none of these has it%s; -o json shows the fields, such as %s", by, didYouMean(strings.TrimPrefix(by, "."), names), strings.Join(names, ", "))
	}
	slices.SortStableFunc(entries, func(x, y entry) int {
		if x.value == nil || y.value == nil {
			return btoi(x.value == nil) - btoi(y.value == nil)
		}
		if down {
			return compareJSON(y.value, x.value)
		}
		return compareJSON(x.value, y.value)
	})
	sorted := make([]T, len(items))
	for i := range entries {
		sorted[i] = entries[i].item
	}
	return sorted, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
