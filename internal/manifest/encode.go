package manifest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// Encode writes objects as YAML documents. Fields come in the order of
// their struct, entries of mappings by name, and what is empty is left out.
func Encode(objs ...Object) ([]byte, error) {
	var b bytes.Buffer
	if len(objs) == 0 {
		return b.Bytes(), nil // the encoder cannot end what it has not begun
	}
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for i := range objs {
		o := &objs[i]
		if err := enc.Encode(documentNode(o)); err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", o.Kind, o.Metadata.Key(), err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b.Bytes(), nil
}

// documentNode builds the YAML form of an object.
func documentNode(o *Object) *yaml.Node {
	switch o.Kind {
	case job.KindGroup:
		return node(reflect.ValueOf(document[job.GroupSpec]{job.APIVersion, o.Kind, o.Metadata, o.Group}))
	case job.KindCalendar:
		return node(reflect.ValueOf(document[job.CalendarSpec]{job.APIVersion, o.Kind, o.Metadata, o.Calendar}))
	case job.KindQueue:
		return node(reflect.ValueOf(document[job.QueueSpec]{job.APIVersion, o.Kind, o.Metadata, o.Queue}))
	case job.KindNotifier:
		return node(reflect.ValueOf(document[job.NotifierSpec]{job.APIVersion, o.Kind, o.Metadata, o.Notifier}))
	case job.KindDefaults:
		return node(reflect.ValueOf(document[job.DefaultsSpec]{job.APIVersion, o.Kind, o.Metadata, o.Defaults}))
	case job.KindSecret:
		return node(reflect.ValueOf(document[job.SecretSpec]{job.APIVersion, o.Kind, o.Metadata, o.Secret}))
	case job.KindScript:
		return node(reflect.ValueOf(document[job.ScriptSpec]{job.APIVersion, o.Kind, o.Metadata, o.Script}))
	case job.KindRole:
		return node(reflect.ValueOf(document[job.RoleSpec]{job.APIVersion, o.Kind, o.Metadata, o.Role}))
	case job.KindRoleBinding:
		return node(reflect.ValueOf(document[job.RoleBindingSpec]{job.APIVersion, o.Kind, o.Metadata, o.RoleBinding}))
	case job.KindHostGroup:
		return node(reflect.ValueOf(document[job.HostGroupSpec]{job.APIVersion, o.Kind, o.Metadata, o.HostGroup}))
	}
	return node(reflect.ValueOf(document[job.Spec]{job.APIVersion, o.Kind, o.Metadata, o.Spec}))
}

// node builds the YAML form of a value; nil when it is empty.
func node(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case job.Duration:
		return textNode(x.String())
	case job.Size:
		return textNode(x.String())
	case job.Cores:
		return textNode(x.String())
	case job.EnvValue:
		if x.Secret == nil {
			return textNode(x.Text)
		}
	case job.CommandRule:
		return commandNode(x)
	case time.Time:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: x.UTC().Format(time.RFC3339Nano)}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return node(v.Elem())
	case reflect.Struct:
		return structNode(v)
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			value := node(v.MapIndex(k))
			if value == nil {
				value = textNode("")
			}
			n.Content = append(n.Content, textNode(k.String()), value)
		}
		return n
	case reflect.Slice:
		return listNode(v)
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	default:
		return textNode(v.String())
	}
}

func structNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name, optional := fieldTag(v.Type().Field(i))
		f := v.Field(i)
		if name == unwritten {
			continue
		}
		if optional && (f.IsZero() || (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() == 0) {
			continue
		}
		value := node(f)
		if optional && value.Kind == yaml.MappingNode && len(value.Content) == 0 {
			continue
		}
		n.Content = append(n.Content, textNode(name), value)
	}
	return n
}

// listNode writes short lists in one line.
func listNode(items reflect.Value) *yaml.Node {
	const widest = 72
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	width := 0
	for i := range items.Len() {
		item := node(items.Index(i))
		if width += widthOf(item); width > widest || hasLines(item) {
			n.Style = 0
		}
		n.Content = append(n.Content, item)
	}
	return n
}

// widthOf is about how wide a value is in one line.
func widthOf(n *yaml.Node) int {
	width := len(n.Value) + 4
	for _, c := range n.Content {
		width += widthOf(c)
	}
	return width
}

// hasLines reports whether a value has a text of several lines.
func hasLines(n *yaml.Node) bool {
	return strings.Contains(n.Value, "\n") || slices.ContainsFunc(n.Content, hasLines)
}

// textNode writes several lines as a block, and text that a reader could take
// for something else in quotes.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case strings.Contains(s, "\n") && plainLines(s):
		n.Style = yaml.LiteralStyle
	case strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) >= 0, oldBool(s):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plainLines reports whether a block keeps every character of s.
func plainLines(s string) bool {
	if strings.TrimSpace(s) == "" || unicode.IsSpace(rune(s[0])) {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.IndexFunc(line, func(c rune) bool { return c != '\t' && !unicode.IsPrint(c) }) >= 0 {
			return false
		}
	}
	return true
}

// oldBool reports whether older readers of YAML take s for true or false.
func oldBool(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}
