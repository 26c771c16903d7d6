package facts

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deep mappings may lie in one another.
const maxDepth = 8

// parseTree reads a mapping in YAML, of which JSON is a part.
func parseTree(b []byte) (map[string]string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	out := map[string]string{}
	if len(doc.Content) == 0 {
		return out, nil
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("is not a mapping of names to values")
	}
	return out, flatten(doc.Content[0], "", 0, out)
}

// flatten adds what is in a mapping, with dots between the names.
func flatten(n *yaml.Node, prefix string, depth int, out map[string]string) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: mappings lie more than %d deep", n.Line, maxDepth)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: a name is no word", k.Line)
		}
		name := prefix + k.Value
		switch v.Kind {
		case yaml.MappingNode:
			if err := flatten(v, name+".", depth+1, out); err != nil {
				return err
			}
			continue
		case yaml.SequenceNode:
			items := make([]string, len(v.Content))
			for i, item := range v.Content {
				if item.Kind != yaml.ScalarNode {
					return fmt.Errorf("line %d: the list %s has entries that are no words", item.Line, name)
				}
				items[i] = item.Value
			}
			out[name] = strings.Join(items, ",")
		case yaml.ScalarNode:
			if v.ShortTag() != "!!null" {
				out[name] = v.Value
			}
		default:
			return fmt.Errorf("line %d: aliases are not allowed", v.Line)
		}
	}
	return nil
}

// parseLines reads lines of key=value.
func parseLines(b []byte) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("line %d is not key=value", n)
		}
		out[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return out, nil
}
