package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// The forms of output.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name"
)

func formats() []string {
	return []string{formatTable, formatWide, formatJSON, formatYAML, formatName, formatJSONPath, formatGoTemplate}
}

// printer prints in the form that the user wants.
type printer struct {
	out    *sink
	errout io.Writer
	output string
	// template, unless nil, is what the user has written behind -o jsonpath= or
	// -o go-template=.
	template templated
	// sortBy is a field by which lists are sorted; empty: they stay as they come.
	sortBy string
	// noHeaders: tables have no line of titles.
	noHeaders bool
	// watching, unless nil, has lists print what is not as it was.
	watching *watched
}

// asObject reports whether the user wants an object, to be read by a program.
func (p *printer) asObject() bool {
	return p.output == formatJSON || p.output == formatYAML || p.template != nil
}

// column is one column of a table of T.
type column[T any] struct {
	head string
	cell func(T) string
	// wide columns are shown with -o wide only.
	wide bool
	// toned: the first word of a cell says how something is, which a terminal shows in
	// colour.
	toned bool
}

// table says how things of one sort are listed.
type table[T any] struct {
	columns []column[T]
	// name is what other verbs take as the thing's name.
	name func(T) string
	// manifest is a thing as apply takes it back, which is its YAML. Nil: its YAML
	// is the thing as it is.
	manifest func(T) any
	// none is said on stderr instead of an empty table.
	none string
	// rolling: what is in the list no more may be there all the same.
	rolling bool
}

// manifestOf is a thing with the spec S, in the form that apply reads.
type manifestOf[S any] struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   job.Metadata `json:"metadata"`
	Spec       S            `json:"spec"`
}

// wholeCluster is the metadata of what has no namespace, as a manifest has it.
func wholeCluster(m job.Metadata) job.Metadata {
	m.Namespace = ""
	return m
}

// printList prints items in the form that the user wants.
func printList[T any](p *printer, items []T, t table[T]) error {
	if p.sortBy != "" {
		var err error
		if items, err = sortedBy(items, p.sortBy); err != nil {
			return err
		}
	}
	if p.watching != nil {
		return printChanges(p, items, t)
	}
	return printItems(p, items, t, !p.noHeaders)
}

// printChanges prints those of a list that is watched that are not as they were.
func printChanges[T any](p *printer, items []T, t table[T]) error {
	changed, gone, err := unseen(p.watching, items, t.name)
	if err != nil {
		return err
	}
	if !t.rolling {
		for _, name := range gone {
			p.note("%s is gone", oneLine(name))
		}
	}
	if p.asObject() { // a program reads one after the other
		for _, item := range changed {
			if err := printOne(&printer{out: p.out, errout: p.errout, output: p.output, template: p.template}, item, t); err != nil {
				return err
			}
		}
		return nil
	}
	if len(changed) == 0 {
		return nil
	}
	head := !p.noHeaders && !p.watching.head
	p.watching.head = true
	return printItems(p, changed, t, head)
}

// printNamed prints those things that are named, and what became of the others. One is
// printed as one, several are a list.
func printNamed[T any](p *printer, names []string, t table[T], find func(name string) (T, error)) error {
	var (
		found  []T
		failed []error
	)
	for _, name := range names {
		v, err := find(name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		found = append(found, v)
	}
	switch {
	case len(names) == 1 && len(found) == 1 && p.watching == nil:
		return printOne(p, found[0], t)
	case len(found) > 0 || len(failed) == 0:
		if err := printList(p, found, t); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// named returns the thing of a list that is called so.
func named[T any](all []T, is func(*T) bool, what string) (T, error) {
	for i := range all {
		if is(&all[i]) {
			return all[i], nil
		}
	}
	var none T
	return none, fmt.Errorf("%s: %w", what, job.ErrNotFound)
}

func printItems[T any](p *printer, items []T, t table[T], head bool) error {
	if p.output == formatYAML && t.manifest != nil {
		for i, item := range items {
			if i > 0 {
				fmt.Fprintln(p.out, "---")
			}
			if err := p.printValue(t.manifest(item)); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case p.asObject():
		if items == nil {
			items = []T{}
		}
		return p.printValue(items)
	case p.output == formatName:
		for _, item := range items {
			fmt.Fprintln(p.out, t.name(item))
		}
		return nil
	}
	if len(items) == 0 {
		p.note("%s", t.none)
		return nil
	}
	var widths *[]int
	if p.watching != nil {
		widths = &p.watching.widths
	}
	return printRows(p.out, items, t.columns, p.output == formatWide, "", head, widths)
}

// printOne prints one thing: as a table with one row, or as an object.
func printOne[T any](p *printer, item T, t table[T]) error {
	if p.asObject() && (p.output != formatYAML || t.manifest == nil) {
		return p.printValue(item)
	}
	return printList(p, []T{item}, t)
}

// printValue prints v as JSON or YAML.
func (p *printer) printValue(v any) error {
	if p.template != nil {
		return p.printTemplate(v)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	if p.output != formatYAML {
		_, err := p.out.Write(b.Bytes())
		return err
	}
	// JSON is YAML: read as such, the fields keep their order.
	var doc yaml.Node
	if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	plain(&doc)
	y := yaml.NewEncoder(p.out)
	y.SetIndent(2)
	if err := y.Encode(&doc); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return y.Close()
}

// printTemplate prints v in the form that the user has written, with an end of the line.
func (p *printer) printTemplate(v any) error {
	plain, err := asJSON(v)
	if err != nil {
		return err
	}
	text, err := p.template.render(plain)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	_, err = p.out.Write(text)
	return err
}

// plain removes the braces and quotes that came from JSON, where YAML needs none.
func plain(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// describe prints v as an object, or its name, where the user wants that; else
// it calls text.
func (p *printer) describe(v any, name string, text func() error) error {
	switch {
	case p.asObject():
		return p.printValue(v)
	case p.output == formatName:
		fmt.Fprintln(p.out, name)
		return nil
	}
	return text()
}

// note tells the user something that is not data.
func (p *printer) note(format string, args ...any) { fmt.Fprintf(p.errout, format+"\n", args...) }

// outcome is what an order did.
type outcome struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action"`
}

func (p *printer) printOutcome(o outcome) error {
	if p.output == formatTable || p.output == formatWide {
		fmt.Fprintln(p.out, o.Kind, o.Name, o.Action)
		return nil
	}
	return printOne(p, o, table[outcome]{name: func(o outcome) string { return o.Name }})
}

// heldOutcome is what an order did that holds from an instant on.
type heldOutcome struct {
	outcome

	// HoldsFrom is that instant: see api.ApplyResult. Zero: it is not told.
	HoldsFrom time.Time `json:"holdsFrom,omitzero"`
}

func (p *printer) printHeld(o heldOutcome) error {
	if p.output == formatTable || p.output == formatWide {
		fmt.Fprintf(p.out, "%s %s %s%s\n", o.Kind, o.Name, o.Action, sinceWhen(o.HoldsFrom))
		return nil
	}
	return printOne(p, o, table[heldOutcome]{name: func(o heldOutcome) string { return o.Name }})
}

func (p *printer) printStarted(run api.Started) error {
	if p.asObject() {
		return p.printValue(run)
	}
	fmt.Fprintln(p.out, run.RunID)
	return nil
}

func printTable[T any](w io.Writer, items []T, columns []column[T], wide bool, indent string) error {
	return printRows(w, items, columns, wide, indent, true, nil)
}

func printRows[T any](w io.Writer, items []T, columns []column[T], wide bool, indent string, head bool, widths *[]int) error {
	var rows bytes.Buffer
	tw := newTabs(&rows)
	v := terminalOf(w)
	inTone := v != nil && v.toned
	shown := make([]column[T], 0, len(columns))
	for _, c := range columns {
		if wide || !c.wide {
			shown = append(shown, c)
		}
	}
	row := func(cell func(column[T]) string) {
		cells := make([]string, len(shown))
		for i, c := range shown {
			cells[i] = orDash(untoned(cell(c)))
			if widths != nil && i < len(shown)-1 {
				cells[i] = inWidth(cells[i], widths, i)
			}
			if c.toned && inTone {
				cells[i] = toneOf(cells[i]).of(cells[i])
			}
		}
		fmt.Fprintln(tw, indent+strings.Join(cells, "\t"))
	}
	if head {
		row(func(c column[T]) string { return c.head })
	}
	for _, item := range items {
		row(func(c column[T]) string { return oneLine(c.cell(item)) })
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return writeRows(w, rows.Bytes(), wide)
}

// inWidth fills a cell up to the widest of its column so far.
func inWidth(cell string, widths *[]int, i int) string {
	for len(*widths) <= i {
		*widths = append(*widths, 0)
	}
	n := utf8.RuneCountInString(cell)
	(*widths)[i] = max((*widths)[i], n)
	return cell + strings.Repeat(" ", (*widths)[i]-n)
}

func newTabs(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// fields prints "Name:  value" lines, one below the other.
type fields struct {
	tw     *tabwriter.Writer
	indent string
}

func newFields(w io.Writer, indent string) fields { return fields{newTabs(w), indent} }

// add prints one field; without a value, nothing.
func (f fields) add(name, value string) {
	if value != "" {
		fmt.Fprintf(f.tw, "%s%s:\t%s\n", f.indent, name, oneLine(value))
	}
}

func (f fields) flush() { _ = f.tw.Flush() } // the sink below keeps the error

// oneLine makes s safe for a line on a terminal: a control character in a name
// or a reason moves no cursor and breaks no row.
func oneLine(s string) string {
	s = strings.ToValidUTF8(strings.TrimRight(s, "\r\n"), string(utf8.RuneError))
	if !strings.ContainsFunc(s, obeyed) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) && obeyed(r):
			b.WriteByte(' ')
		case obeyed(r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pairs returns "a=1,b=2", sorted by key.
func pairs(m map[string]string) string {
	list := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		list = append(list, k+"="+m[k])
	}
	return strings.Join(list, ",")
}
