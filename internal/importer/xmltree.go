package importer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxElements bounds the elements of a source in XML, and their attributes.
const maxElements = 500_000

// textOf is the name of an element's own text, where it has attributes or elements, too.
const textOf = "#text"

// xmlDocument reads a source in XML as a document: an element is an object with its
// attributes and elements, those of a name together as a list; one that has neither is
// its text. Document types are refused, and with them entities.
func xmlDocument(s Source) (field, error) {
	dec := xml.NewDecoder(bytes.NewReader(s.Data))
	dec.Strict = true
	type element struct {
		node *yaml.Node
		text strings.Builder
	}
	root := &element{node: &yaml.Node{Kind: yaml.MappingNode, Line: 1}}
	open := []*element{root}
	count, line, seen := 0, 1, 0
	for {
		offset := min(int(dec.InputOffset()), len(s.Data))
		line += bytes.Count(s.Data[seen:offset], []byte("\n"))
		seen = offset
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			if len(open) != 1 {
				return field{}, io.ErrUnexpectedEOF
			}
			return field{n: root.node, file: s.Name, line: 1}, nil
		}
		if err != nil {
			return field{}, err
		}
		last := open[len(open)-1]
		switch v := t.(type) {
		case xml.Directive:
			return field{}, errors.New("has a document type or another declaration, which is refused: take it out")
		case xml.StartElement:
			if count += 1 + len(v.Attr); count > maxElements {
				return field{}, fmt.Errorf("has more than %d elements and attributes", maxElements)
			}
			if len(open) > maxDepth {
				return field{}, fmt.Errorf("elements lie more than %d deep in one another", maxDepth)
			}
			e := &element{node: &yaml.Node{Kind: yaml.MappingNode, Line: line}}
			for _, a := range v.Attr {
				e.node.Content = append(e.node.Content, textNode(a.Name.Local, line), textNode(a.Value, line))
			}
			last.node.Content = append(last.node.Content, textNode(v.Name.Local, line), e.node)
			open = append(open, e)
		case xml.CharData:
			last.text.Write(v)
		case xml.EndElement:
			text := last.text.String()
			switch {
			case len(last.node.Content) == 0:
				*last.node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: last.node.Line}
			case strings.TrimSpace(text) != "":
				last.node.Content = append(last.node.Content, textNode(textOf, line), textNode(text, line))
			}
			open = open[:len(open)-1]
		}
	}
}

func textNode(s string, line int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: line}
}

// all returns the values of an object that have a name, and those of lists of that name.
func (f field) all(name string) []field {
	n := f.node()
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var out []field
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			out = append(out, f.of(n.Content[i+1]).items()...)
		}
	}
	return out
}
