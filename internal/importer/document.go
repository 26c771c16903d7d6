package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// field is a value of a document, or none: what is asked of none is empty.
type field struct {
	n *yaml.Node
	// file is where it is from, and line the nearest that is known.
	file string
	line int
}

// at returns where the value stands.
func (f field) at() place { return place{f.file, f.line} }

// given reports whether there is a value, and not null.
func (f field) given() bool {
	n := f.node()
	return n != nil && n.Kind != 0 && n.ShortTag() != "!!null"
}

// node is the value behind an alias.
func (f field) node() *yaml.Node {
	n := f.n
	for range 8 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

// of returns a value behind another, at its line.
func (f field) of(n *yaml.Node) field {
	line := f.line
	if n != nil && n.Line > 0 {
		line = n.Line
	}
	return field{n: n, file: f.file, line: line}
}

// get returns a value of an object by its name, and of those in it by a path.
func (f field) get(path ...string) field {
	for _, name := range path {
		f = f.one(name)
	}
	return f
}

func (f field) one(name string) field {
	n := f.node()
	if n == nil || n.Kind != yaml.MappingNode {
		return f.of(nil)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return f.pair(n, i)
		}
	}
	return f.of(nil)
}

// pair returns the value of an object whose name is at a place, at that's line.
func (f field) pair(n *yaml.Node, i int) field {
	got := f.of(n.Content[i+1])
	if n.Content[i].Line > 0 {
		got.line = n.Content[i].Line
	}
	return got
}

// entries returns the names and values of an object, in their order. To walk them costs
// what they are, unlike get of each key.
func (f field) entries() iter.Seq2[string, field] {
	return func(yield func(string, field) bool) {
		n := f.node()
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, f.pair(n, i)) {
				return
			}
		}
	}
}

// keys returns the names of an object's values, in their order.
func (f field) keys() []string {
	n := f.node()
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	out := make([]string, 0, len(n.Content)/2)
	for key := range f.entries() {
		out = append(out, key)
	}
	return out
}

// items returns the values of a list; of another value, that.
func (f field) items() []field {
	n := f.node()
	switch {
	case !f.given():
		return nil
	case n.Kind != yaml.SequenceNode:
		return []field{f}
	}
	out := make([]field, len(n.Content))
	for i, c := range n.Content {
		out[i] = f.of(c)
	}
	return out
}

// isObject reports whether the value is one.
func (f field) isObject() bool {
	n := f.node()
	return n != nil && n.Kind == yaml.MappingNode
}

// isList reports whether the value is a list.
func (f field) isList() bool {
	n := f.node()
	return n != nil && n.Kind == yaml.SequenceNode
}

// text returns a value that is no object and no list.
func (f field) text() string {
	n := f.node()
	if !f.given() || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// truth returns a value that is true or false, or otherwise.
func (f field) truth(otherwise bool) bool {
	switch strings.ToLower(f.text()) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	return otherwise
}

// number returns a whole number; false: it is none.
func (f field) number() (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(f.text()), 10, 64)
	return n, err == nil
}

// texts returns a list of texts.
func (f field) texts() []string {
	var out []string
	for _, item := range f.items() {
		out = append(out, item.text())
	}
	return out
}

const (
	// maxDepth bounds how deep values may lie in one another.
	maxDepth = 100
	// maxAliasBytes is what the aliases of a source may add to it, as each is read where it
	// stands.
	maxAliasBytes = 256 << 10
	// nodeBytes is what a value counts besides its text.
	nodeBytes = 16
)

// yamlDocuments reads the documents of a source, in YAML or JSON.
func yamlDocuments(s Source) ([]field, error) {
	if trimmed := bytes.TrimSpace(s.Data); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if docs, err := jsonDocuments(s); err == nil {
			return docs, nil
		}
	}
	var out []field
	dec := yaml.NewDecoder(bytes.NewReader(s.Data))
	left := room(maxAliasBytes)
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if len(doc.Content) == 0 {
			continue
		}
		if err := left.take(doc.Content[0], maxDepth, false); err != nil {
			return out, err
		}
		out = append(out, field{n: doc.Content[0], file: s.Name, line: max(doc.Content[0].Line, 1)})
	}
}

// room is what the aliases of a source may still add to it.
type room int

// take refuses a document that is too deep, or whose aliases add too much. To find out
// costs what the document is, and what there is room for.
func (left *room) take(n *yaml.Node, depth int, added bool) error {
	if depth == 0 {
		return fmt.Errorf("values lie more than %d deep in one another", maxDepth)
	}
	if added {
		if *left -= room(nodeBytes + len(n.Value)); *left < 0 {
			return fmt.Errorf("line %d: aliases make it larger than is allowed (%d bytes): write the values out", n.Line, maxAliasBytes)
		}
	}
	if n.Kind == yaml.AliasNode {
		return left.take(n.Alias, depth-1, true)
	}
	for _, c := range n.Content {
		if err := left.take(c, depth-1, added); err != nil {
			return err
		}
	}
	return nil
}

// jsonDocuments reads the values of a source in JSON.
func jsonDocuments(s Source) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(s.Data))
	dec.UseNumber()
	r := jsonReader{dec: dec, data: s.Data, line: 1}
	var out []field
	for {
		n, err := r.value(maxDepth)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("line %d: %w", r.here(), err)
		}
		out = append(out, field{n: n, file: s.Name, line: max(n.Line, 1)})
	}
}

// jsonReader builds the nodes of a document in JSON, with their lines.
type jsonReader struct {
	dec  *json.Decoder
	data []byte
	// line is that of seen, up to where lines were counted.
	line, seen int
}

// here returns the line up to which was read.
func (r *jsonReader) here() int {
	end := min(int(r.dec.InputOffset()), len(r.data))
	r.line += bytes.Count(r.data[r.seen:end], []byte("\n"))
	r.seen = end
	return r.line
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	if depth == 0 {
		return nil, fmt.Errorf("values lie more than %d deep in one another", maxDepth)
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.here()}
	switch v := t.(type) {
	case json.Delim:
		n.Kind = yaml.SequenceNode
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for r.dec.More() {
			if n.Kind == yaml.MappingNode {
				key, err := r.value(depth - 1)
				if err != nil {
					return nil, err
				}
				n.Content = append(n.Content, key)
			}
			item, err := r.value(depth - 1)
			if err != nil {
				return nil, unexpected(err)
			}
			n.Content = append(n.Content, item)
		}
		if _, err := r.dec.Token(); err != nil {
			return nil, unexpected(err)
		}
	case string:
		n.Tag, n.Value = "!!str", v
	case json.Number:
		n.Tag, n.Value = "!!float", v.String()
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	default:
		n.Tag = "!!null"
	}
	return n, nil
}

// unexpected is the end of a document within a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
