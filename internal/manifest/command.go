package manifest

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// commands reads rules for commands, each as one text: what it says is read where it is
// used, by the grammar of minions' own lists.
func (r *reader) commands(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "%s is not a list; write one entry per line, each with a dash before it", shown(n))
		return
	}
	out := make([]job.CommandRule, len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		r.lines[at] = placeOf(item)
		var b strings.Builder
		if r.command(&b, item, at) {
			out[i] = job.CommandRule(b.String())
		}
	}
	v.Set(reflect.ValueOf(out))
}

// command writes a node as JSON: fields in the order of their names, and scalars as they
// are written.
func (r *reader) command(b *strings.Builder, n *yaml.Node, path string) bool {
	n, ok := r.resolve(n, path)
	if !ok {
		return false
	}
	switch n.Kind {
	case yaml.MappingNode:
		type field struct{ key, value *yaml.Node }
		var fields []field
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, ok := r.resolve(n.Content[i], path)
			if !ok {
				return false
			}
			if k.Kind != yaml.ScalarNode {
				r.fail(k, path, "%s cannot be a key; write a word", shown(k))
				return false
			}
			fields = append(fields, field{k, n.Content[i+1]})
		}
		slices.SortStableFunc(fields, func(x, y field) int { return cmp.Compare(x.key.Value, y.key.Value) })
		b.WriteByte('{')
		for i, f := range fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quotedJSON(f.key.Value) + ":")
			if !r.command(b, f.value, join(path, f.key.Value)) {
				return false
			}
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if !r.command(b, item, path+"["+strconv.Itoa(i)+"]") {
				return false
			}
		}
		b.WriteByte(']')
	default:
		if n.ShortTag() == nullTag {
			b.WriteString("null")
			return true
		}
		b.WriteString(quotedJSON(n.Value))
	}
	return true
}

func quotedJSON(text string) string {
	b, _ := json.Marshal(text) // text can always be written
	return string(b)
}

// commandNode builds the YAML form of a rule for commands, in one line.
func commandNode(rule job.CommandRule) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(rule), &doc); err != nil || len(doc.Content) == 0 {
		return textNode(string(rule))
	}
	n := doc.Content[0]
	plain(n)
	return n
}

// plain takes away the quotes that YAML does not need.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	} else if n.ShortTag() == "!!str" {
		*n = *textNode(n.Value)
	}
	for _, c := range n.Content {
		plain(c)
	}
}
