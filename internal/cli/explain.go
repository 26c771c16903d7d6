package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/configs/schema"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// fieldSchema is the part of the JSON Schema of job files that says what one field is.
type fieldSchema struct {
	Type        oneOrMany               `json:"type,omitempty"`
	Description string                  `json:"description,omitempty"`
	Default     any                     `json:"default,omitempty"`
	Const       any                     `json:"const,omitempty"`
	Enum        []any                   `json:"enum,omitempty"`
	Examples    []any                   `json:"examples,omitempty"`
	Pattern     string                  `json:"pattern,omitempty"`
	Format      string                  `json:"format,omitempty"`
	Minimum     *json.Number            `json:"minimum,omitempty"`
	Maximum     *json.Number            `json:"maximum,omitempty"`
	MaxItems    *json.Number            `json:"maxItems,omitempty"`
	MaxLength   *json.Number            `json:"maxLength,omitempty"`
	Required    []string                `json:"required,omitempty"`
	Properties  map[string]*fieldSchema `json:"properties,omitempty"`
	Items       *fieldSchema            `json:"items,omitempty"`
	OneOf       []*fieldSchema          `json:"oneOf,omitempty"`
	AnyOf       []*fieldSchema          `json:"anyOf,omitempty"`
	// Others is what the entries of a mapping are; nil: it is none. In the schema it may
	// be false, too: there are no fields but those that are named.
	Others othersSchema `json:"additionalProperties,omitzero"`
	// If and Then say what the spec of a kind is.
	AllOf []struct {
		If   *fieldSchema `json:"if"`
		Then *fieldSchema `json:"then"`
	} `json:"allOf,omitempty"`
}

// oneOrMany is a word or a list of words.
type oneOrMany []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMany) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

type othersSchema struct{ *fieldSchema }

// UnmarshalJSON implements json.Unmarshaler.
func (o *othersSchema) UnmarshalJSON(text []byte) error {
	var none bool
	if json.Unmarshal(text, &none) == nil {
		return nil
	}
	return json.Unmarshal(text, &o.fieldSchema)
}

// MarshalJSON implements json.Marshaler.
func (o othersSchema) MarshalJSON() ([]byte, error) { return json.Marshal(o.fieldSchema) }

// IsZero reports whether there are no others.
func (o othersSchema) IsZero() bool { return o.fieldSchema == nil }

// kindSchema returns what a document of a kind is.
func kindSchema(kind string) (*fieldSchema, error) {
	var whole fieldSchema
	if err := json.Unmarshal(schema.Job(), &whole); err != nil {
		return nil, fmt.Errorf("read the schema of job files: %w", err)
	}
	for _, a := range whole.AllOf {
		if a.If == nil || a.If.Properties["kind"] == nil || a.If.Properties["kind"].Const != kind || a.Then == nil {
			continue
		}
		spec := a.Then.Properties["spec"]
		if spec == nil {
			break
		}
		spec.Description = orText(spec.Description, whole.Properties["spec"].Description)
		return &fieldSchema{
			Type: oneOrMany{"object"}, Required: whole.Required, Description: "What a document of the kind " + kind + " holds.",
			Properties: map[string]*fieldSchema{
				"apiVersion": whole.Properties["apiVersion"], "metadata": whole.Properties["metadata"], "spec": spec,
				"kind": {Type: oneOrMany{"string"}, Const: kind, Description: whole.Properties["kind"].Description},
			},
		}, nil
	}
	return nil, fmt.Errorf("the schema does not tell what the kind %s is", kind)
}

func (a *app) explainCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use: "explain KIND[.FIELD...]", GroupID: groupJobs, Args: exactlyOne("kind or field"),
		ValidArgsFunction: completeFields,
		Short:             "Tell what a field of a file is for: its type, default and values",
		Long: "Tell what a field of a file that `carillon apply` takes is for: its type, default\n" +
			"and values, and the fields below it. The word spec can be left out. No server is\n" +
			"asked. -o json prints the part of the JSON Schema.",
		Example: "  carillon explain job\n  carillon explain job.spec.retry.attempts\n  carillon explain group --recursive",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, field, err := fieldNamed(args[0])
			if err != nil {
				return err
			}
			if a.asObject() {
				return a.printValue(field)
			}
			explain(a.out, path, field, recursive)
			return nil
		},
	}
	cmd.Flags().BoolVar(&recursive, "recursive", false, "the names of all fields below it, not only of the next ones")
	return cmd
}

// fieldNamed returns the field that a path such as job.spec.retry names, and the path as
// it is in full, with the kind first.
func fieldNamed(path string) ([]string, *fieldSchema, error) {
	words := strings.Split(path, ".")
	kind, err := kindNamed(words[0])
	if err != nil {
		return nil, nil, err
	}
	field, err := kindSchema(kind)
	if err != nil {
		return nil, nil, err
	}
	full := []string{kind}
	for i, word := range words[1:] {
		word = strings.TrimSuffix(word, "[]")
		next := field.below(word)
		if next == nil && i == 0 { // spec may be left out
			if next = field.Properties["spec"].below(word); next != nil {
				full = append(full, "spec")
			}
		}
		if next == nil {
			return nil, nil, noField(full, field, word, i == 0)
		}
		field, full = next, append(full, word)
	}
	return full, field, nil
}

// noField is the error for a field that there is not, with the nearest that there is.
func noField(path []string, in *fieldSchema, word string, first bool) error {
	names := in.names()
	if first {
		names = append(names, in.Properties["spec"].names()...)
	}
	what := strings.Join(path, ".")
	if len(names) == 0 {
		return usagef("%s has no fields, so there is no %q in it", what, word)
	}
	hint := didYouMean(word, names)
	if hint == "" {
		hint = "; there are " + strings.Join(names, ", ")
	}
	return usagef("%s has no field %q%s", what, word, hint)
}

// structs returns the forms of a field that have fields: the field itself, what is in its
// list or mapping, and its alternatives.
func (f *fieldSchema) structs() []*fieldSchema {
	if f == nil {
		return nil
	}
	var all []*fieldSchema
	if len(f.Properties) > 0 {
		all = append(all, f)
	}
	for _, in := range slices.Concat([]*fieldSchema{f.Items, f.Others.fieldSchema}, f.OneOf, f.AnyOf) {
		all = append(all, in.structs()...)
	}
	return all
}

// below returns the field of that name; nil: there is none. Below a mapping each name that
// its entries do not have is one of an entry.
func (f *fieldSchema) below(name string) *fieldSchema {
	for _, in := range f.structs() {
		if next := in.Properties[name]; next != nil {
			return next
		}
	}
	return f.Others.fieldSchema
}

// names returns the names of the fields below, sorted.
func (f *fieldSchema) names() []string {
	var names []string
	for _, in := range f.structs() {
		names = append(names, sortedKeys(in.Properties)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// needed reports whether a field below has to be given.
func (f *fieldSchema) needed(name string) bool {
	return slices.ContainsFunc(f.structs(), func(in *fieldSchema) bool { return slices.Contains(in.Required, name) })
}

// A duration, a size and a time are texts to the schema.
const (
	durationPattern = `(ms|s|m|h)`
	typeText        = "string"
)

// kind tells the type of a field in a word or two.
func (f *fieldSchema) kind() string {
	var words []string
	add := func(w string) {
		if w != "" && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	for _, alternative := range slices.Concat(f.OneOf, f.AnyOf) {
		if len(alternative.Type) > 0 || len(alternative.structs()) > 0 {
			add(alternative.kind())
		}
	}
	types := f.Type
	if slices.Equal(types, oneOrMany{typeText, "number", "boolean"}) {
		types = types[:1] // a text, which files may write without quotes
	}
	for _, t := range types {
		switch {
		case t == "array" && f.Items != nil:
			add("[]" + f.Items.kind())
		case t == "object" && !f.Others.IsZero():
			add("map of " + f.Others.kind())
		case t == typeText && f.Format == "date-time":
			add("time")
		case t == typeText && strings.Contains(f.Pattern, durationPattern) && !strings.Contains(f.Pattern, "%"):
			add("duration")
		default:
			add(t)
		}
	}
	if len(words) == 0 && (len(f.Enum) > 0 || f.Const != nil) {
		add(typeText)
	}
	slices.SortStableFunc(words, func(x, y string) int { return strings.Count(x, " ") - strings.Count(y, " ") })
	return orText(strings.Join(words, " or "), "any")
}

// explain prints what a field is.
func explain(w io.Writer, path []string, f *fieldSchema, recursive bool) {
	head := newFields(w, "")
	head.add("Kind", path[0])
	head.add("Field", strings.Join(path[1:], "."))
	head.add("Type", f.kind())
	head.add("Default", shownValue(f.Default))
	head.add("Values", shownValues(f.Enum))
	head.add("Value", shownValue(f.Const))
	head.add("At least", numberText(f.Minimum))
	head.add("At most", numberText(f.Maximum))
	head.add("Entries", atMost(f.MaxItems))
	head.add("Characters", atMost(f.MaxLength))
	head.add("For example", shownValues(f.Examples))
	head.flush()
	if f.Description != "" {
		fmt.Fprintf(w, "\n%s\n", indented(wrapped(f.Description, 78), "  "))
	}
	names := f.names()
	if len(names) == 0 {
		return
	}
	fmt.Fprintln(w, "\nFields:")
	if recursive {
		tw := newTabs(w)
		printFields(tw, f, "  ")
		_ = tw.Flush() // the sink below keeps the error
		return
	}
	for _, name := range names {
		next := f.below(name)
		must := ""
		if f.needed(name) {
			must = " (required)"
		}
		fmt.Fprintf(w, "  %s <%s>%s\n", name, next.kind(), must)
		if next.Description != "" {
			fmt.Fprintf(w, "%s\n", indented(wrapped(next.Description, 74), "      "))
		}
	}
}

// printFields prints the names and types of all fields below f.
func printFields(w io.Writer, f *fieldSchema, indent string) {
	for _, name := range f.names() {
		next := f.below(name)
		fmt.Fprintf(w, "%s%s\t<%s>\n", indent, name, next.kind())
		printFields(w, next, indent+"  ")
	}
}

func numberText(n *json.Number) string {
	if n == nil {
		return ""
	}
	return n.String()
}

func atMost(n *json.Number) string {
	if n == nil {
		return ""
	}
	return "at most " + n.String()
}

// shownValue writes a value as it stands in a file; empty: there is none.
func shownValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

func shownValues(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = shownValue(v)
	}
	return strings.Join(words, ", ")
}

// wrapped breaks a text into lines of at most width characters.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

func indented(lines []string, indent string) string {
	return indent + strings.Join(lines, "\n"+indent)
}

// completeFields completes kinds, and the fields of one.
func completeFields(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var words []cobra.Completion
	i := strings.LastIndex(begun, ".")
	if i < 0 {
		for _, kind := range manifest.Kinds() {
			words = append(words, kindWords(kind)[0])
		}
		return words, none
	}
	path, field, err := fieldNamed(begun[:i])
	if err != nil {
		return nil, none
	}
	names := field.names()
	if len(path) == 1 && path[0] == job.KindJob {
		names = append(names, field.Properties["spec"].names()...)
	}
	for _, name := range names {
		words = append(words, begun[:i+1]+name)
	}
	return words, none
}
