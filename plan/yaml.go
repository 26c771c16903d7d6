package plan

import (
	"errors"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// readYAML reads a plan in YAML. It is held whole: see MaxYAMLBytes.
func readYAML(s *source, to sink) error {
	var text []byte
	for {
		s.begin()
		b, err := s.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return stop(s.at, "%v", err)
		}
		text = append(text, b)
	}
	root, err := yamlTree(text)
	if err != nil {
		return err
	}
	top, err := yamlNode(root, 0)
	if err != nil {
		return err
	}
	if top.kind != kindObject {
		return stop(top.at, "a plan in YAML is a mapping; this is %s", kindNames[top.kind])
	}
	for _, f := range top.fields {
		switch {
		case f.name != "tasks":
			err = to.member(f)
		case f.value.kind != kindList:
			to.problem(f.value.at, "tasks", "is %s; a list of tasks is needed", kindNames[f.value.kind])
		default:
			for _, n := range f.value.items {
				if err = to.task(n); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// yamlTree reads the one document of a text.
func yamlTree(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(&bytesReader{text})
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, stop(place{1, 1}, "there is no plan")
		}
		return nil, yamlWrong(err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlWrong(err)
		}
		return nil, stop(place{more.Line, more.Column}, "there is a second document; one plan is sent at a time")
	}
	if len(doc.Content) != 1 {
		return nil, stop(place{1, 1}, "there is no plan")
	}
	return doc.Content[0], nil
}

func yamlWrong(err error) error {
	message, at := err.Error(), place{1, 0}
	if m := yamlLine.FindStringSubmatchIndex(message); m != nil {
		at.line, _ = strconv.Atoi(message[m[2]:m[3]])
		message = message[m[1]:]
	}
	return stop(at, "is not YAML: %s", message)
}

// bytesReader is a reader of a text that is there.
type bytesReader struct{ rest []byte }

func (r *bytesReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// yamlNode returns a value as the other formats have it.
func yamlNode(y *yaml.Node, depth int) (*node, error) {
	n := &node{at: place{y.Line, y.Column}}
	switch {
	case depth > MaxDepth:
		return nil, stop(n.at, "values lie more than %d deep in one another", MaxDepth)
	case y.Kind == yaml.AliasNode:
		return nil, stop(n.at, "the alias *%s is refused: write out what it stands for", y.Value)
	case y.Anchor != "":
		return nil, stop(n.at, "the anchor &%s is refused: plans have no aliases", y.Anchor)
	case y.Style&yaml.TaggedStyle != 0:
		return nil, stop(n.at, "the tag %s is refused: take it out", y.Tag)
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = kindObject
		for i := 0; i+1 < len(y.Content); i += 2 {
			name, err := yamlNode(y.Content[i], depth+1)
			if err != nil {
				return nil, err
			}
			if name.kind == kindList || name.kind == kindObject {
				return nil, stop(name.at, "the name of a member is a text; this is %s", kindNames[name.kind])
			}
			v, err := yamlNode(y.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{name: y.Content[i].Value, at: name.at, value: v})
		}
	case yaml.SequenceNode:
		n.kind = kindList
		for _, item := range y.Content {
			v, err := yamlNode(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
	default:
		n.text = y.Value
		switch y.ShortTag() {
		case "!!int", "!!float":
			n.kind = kindNumber
			if !isNumber(n.text) {
				return nil, stop(n.at, "%s is no number as JSON writes it; put a text in quotes", n.text)
			}
		case "!!bool":
			n.kind = kindBool
			if n.text != "true" && n.text != "false" {
				return nil, stop(n.at, "%s is to be written as true or false; put a text in quotes", n.text)
			}
		case "!!null":
			n.kind, n.text = kindNull, "null"
		default:
			n.kind = kindText // times, too: they are read as texts
		}
	}
	return n, nil
}
