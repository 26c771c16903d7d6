package message

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode"
)

const (
	// maxValue bounds each text that a function makes, maxMade all of one rendering.
	maxValue = 64 << 10
	maxMade  = 1 << 20
	// maxField bounds widths and precisions of printf: fmt fills them before anybody sees
	// how long the text has become.
	maxField = 1024
	// maxSteps bounds calls of functions and rounds of loops, maxTime how long they go on.
	maxSteps = 10_000
	maxTime  = 3 * time.Second
	// step is the function that counts rounds; templates cannot redefine functions.
	step = "step"
)

// budget is what one rendering may use. What is written is bounded as well, but a template
// can also make values that it never writes, or do nothing for long.
type budget struct {
	steps, made int
	until       time.Time
}

// step counts a call, or a round of a loop.
func (b *budget) step() (string, error) {
	if b.until.IsZero() {
		b.until = time.Now().Add(maxTime)
	}
	if b.steps++; b.steps > maxSteps {
		return "", fmt.Errorf("the template takes more than %d steps", maxSteps)
	}
	if time.Now().After(b.until) {
		return "", fmt.Errorf("the template takes longer than %v", maxTime)
	}
	return "", nil
}

// take counts a text that is to be made, before it is where its size is known.
func (b *budget) take(size int) error {
	if size > maxValue {
		return fmt.Errorf("a value has more than %d bytes", maxValue)
	}
	if b.made += size; b.made > maxMade {
		return fmt.Errorf("the values of the template have more than %d bytes together", maxMade)
	}
	return nil
}

// functions are those of templates that make text: all that text/template has, and ours.
func (b *budget) functions() template.FuncMap {
	of := func(f func(string) string) func(...any) (string, error) {
		return func(args ...any) (string, error) {
			text, err := b.join(args, fmt.Sprint)
			if err != nil {
				return "", err
			}
			text = f(text) // at most six times as long
			return text, b.take(len(text))
		}
	}
	one := func(f func(string) string) func(string) (string, error) {
		all := of(f)
		return func(s string) (string, error) { return all(s) }
	}
	return template.FuncMap{
		step: b.step, "words": Wording, "time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"upper": one(strings.ToUpper), "lower": one(strings.ToLower), "join": b.list,
		"print":   func(args ...any) (string, error) { return b.join(args, fmt.Sprint) },
		"println": func(args ...any) (string, error) { return b.join(args, fmt.Sprintln) },
		"printf":  b.printf,
		"html":    of(template.HTMLEscapeString),
		"js":      of(template.JSEscapeString), "urlquery": of(func(s string) string { return template.URLQueryEscaper(s) }),
	}
}

// join makes one text of values, after it has seen how long each is. Data has bounds, and
// so has each text that a template has made.
func (b *budget) join(args []any, with func(...any) string) (string, error) {
	if _, err := b.step(); err != nil {
		return "", err
	}
	size := 0
	for _, a := range args {
		n := 0
		if s, ok := a.(string); ok {
			n = len(s)
		} else {
			n = len(fmt.Sprint(a))
		}
		if size += n + 1; size > maxValue {
			break
		}
	}
	if err := b.take(size); err != nil {
		return "", err
	}
	return with(args...), nil
}

func (b *budget) list(parts []string, between string) (string, error) {
	if _, err := b.step(); err != nil {
		return "", err
	}
	size := 0
	for _, p := range parts {
		if size += len(p) + len(between); size > maxValue {
			break
		}
	}
	if err := b.take(size); err != nil {
		return "", err
	}
	return strings.Join(parts, between), nil
}

// printf formats value by value, and stops where the text gets too long.
func (b *budget) printf(format string, args ...any) (string, error) {
	if _, err := b.step(); err != nil {
		return "", err
	}
	var out strings.Builder
	add := func(text string) error {
		if out.Len()+len(text) > maxValue {
			return b.take(maxValue + 1)
		}
		out.WriteString(text)
		return nil
	}
	for format != "" {
		literal, rest, found := strings.Cut(format, "%")
		if err := add(literal); err != nil {
			return "", err
		}
		if !found {
			break
		}
		verb, size := directive(rest)
		if err := checkDirective(verb); err != nil {
			return "", err
		}
		format = rest[size:]
		var given []any
		if !strings.HasSuffix(verb, "%") && len(args) > 0 {
			given, args = args[:1], args[1:]
		}
		if err := add(fmt.Sprintf("%"+verb, given...)); err != nil {
			return "", err
		}
	}
	if len(args) > 0 {
		return "", fmt.Errorf("printf has %d values more than its format names", len(args))
	}
	return out.String(), b.take(out.Len())
}

// directive returns what stands behind a %, up to its verb, and how long it is.
func directive(text string) (string, int) {
	for i, r := range text {
		if !strings.ContainsRune("+-# 0123456789.[]*", r) {
			n := i + len(string(r))
			if r == unicode.ReplacementChar {
				n = i + 1 // perhaps no UTF-8: one byte
			}
			return text[:n], n
		}
	}
	return text, len(text)
}

func checkDirective(verb string) error {
	if strings.ContainsAny(verb, "*[]") {
		return fmt.Errorf("%%%s: printf takes neither * nor [n] here; write the width, and the values in order", verb)
	}
	number := 0
	for _, r := range verb {
		if r < '0' || r > '9' {
			number = 0
			continue
		}
		if number = number*10 + int(r-'0'); number > maxField {
			return fmt.Errorf("a width or precision of printf is more than %d", maxField)
		}
	}
	return nil
}

// counted has a loop count its rounds: a loop over a number needs no list.
func counted(n *parse.RangeNode) error {
	t, err := template.New(step).Funcs(template.FuncMap{step: func() string { return "" }}).Parse("{{" + step + "}}")
	if err != nil {
		return err
	}
	n.List.Nodes = append([]parse.Node{t.Root.Nodes[0]}, n.List.Nodes...)
	return nil
}

// plain refuses layouts of times that a template makes: by formatting what was formatted,
// a text doubles with each call, and no function of ours is asked.
func plain(p *parse.PipeNode) error {
	if p == nil {
		return nil
	}
	for i, c := range p.Cmds {
		literal := i == 0 && len(c.Args) > 1
		for j, a := range c.Args {
			if j > 0 && a.Type() != parse.NodeString {
				literal = false
			}
			if err := plainArgument(a); err != nil {
				return err
			}
		}
		if makesText(c.Args[0]) && !literal {
			return errors.New(`a layout of a time is written out, as in {{.At.Format "15:04"}}`)
		}
	}
	return nil
}

func plainArgument(n parse.Node) error {
	switch n := n.(type) {
	case *parse.PipeNode:
		return plain(n)
	case *parse.ChainNode:
		return plainArgument(n.Node)
	}
	return nil
}

// makesText reports whether a command calls a method that makes text of a text.
func makesText(n parse.Node) bool {
	var names []string
	switch n := n.(type) {
	case *parse.FieldNode:
		names = n.Ident
	case *parse.VariableNode:
		names = n.Ident[1:]
	case *parse.ChainNode:
		names = n.Field
	}
	if len(names) == 0 {
		return false
	}
	last := names[len(names)-1]
	return last == "Format" || last == "AppendFormat"
}
