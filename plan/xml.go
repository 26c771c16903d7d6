package plan

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// xmlReader reads a plan in XML.
type xmlReader struct {
	src *source
	dec *xml.Decoder
	to  sink
	// nodes counts elements and attributes of a task.
	nodes int
}

func readXML(s *source, to sink) error {
	r := &xmlReader{src: s, dec: xml.NewDecoder(s), to: to}
	r.dec.Strict = true
	return r.plan()
}

// token returns the next token that is no comment, and where it begins.
func (r *xmlReader) token() (xml.Token, place, error) {
	for {
		var at place
		at.line, at.column = r.dec.InputPos()
		t, err := r.dec.Token()
		if err != nil {
			return nil, at, r.fail(err)
		}
		switch v := t.(type) {
		case xml.Directive:
			return nil, at, stop(at, "a document type or another declaration is refused: take it out")
		case xml.ProcInst:
			if v.Target != "xml" || at != (place{1, 1}) {
				return nil, at, stop(at, "the processing instruction %q is refused: take it out", v.Target)
			}
		case xml.Comment:
		case xml.StartElement:
			if r.nodes += 1 + len(v.Attr); r.nodes > maxNodes {
				return nil, at, stop(at, "there are more than %d elements and attributes in one task", maxNodes)
			}
			return v, at, nil
		default:
			return t, at, nil
		}
	}
}

// fail returns why the text cannot be read any further.
func (r *xmlReader) fail(err error) error {
	var at place
	at.line, at.column = r.dec.InputPos()
	var syntax *xml.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.As(err, &syntax) && syntax.Msg == "unexpected EOF":
		return stop(at, "the text ends too early")
	case errors.As(err, &syntax):
		return stop(at, "is not XML: %s", syntax.Msg)
	}
	return stop(at, "%v", err)
}

// plan reads the whole text.
func (r *xmlReader) plan() error {
	for {
		t, at, err := r.token()
		if errors.Is(err, io.EOF) {
			return stop(at, "there is no <plan>")
		}
		if err != nil {
			return err
		}
		if text, ok := t.(xml.CharData); ok {
			if s := strings.TrimSpace(string(text)); s != "" {
				return stop(at, "there is text before <plan>")
			}
			continue
		}
		start, ok := t.(xml.StartElement)
		if !ok || start.Name.Local != "plan" {
			return stop(at, "a plan in XML is one element <plan>")
		}
		for _, f := range r.attributes(&start, at) {
			if err := r.to.member(f); err != nil {
				return err
			}
		}
		break
	}
	if err := r.tasks(); err != nil {
		return err
	}
	for {
		r.src.begin()
		t, at, err := r.token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text, ok := t.(xml.CharData); !ok || strings.TrimSpace(string(text)) != "" {
			return stop(at, "there is more after </plan>")
		}
	}
}

// tasks reads what lies in <plan>.
func (r *xmlReader) tasks() error {
	for {
		r.src.begin()
		r.nodes = 0
		t, at, err := r.token()
		if err != nil {
			return r.open(err, at)
		}
		switch v := t.(type) {
		case xml.EndElement:
			return nil
		case xml.CharData:
			r.noText(v, at, "plan")
		case xml.StartElement:
			if v.Name.Local != "task" {
				r.unknown(&v, at, "plan", "task")
				if err := r.skip(); err != nil {
					return err
				}
				continue
			}
			n, err := r.task(&v, at)
			if err != nil {
				return err
			}
			if err := r.to.task(n); err != nil {
				return err
			}
		}
	}
}

// task reads a task: its attributes, <parameter name="">…</parameter>, and <after task=""/>.
func (r *xmlReader) task(start *xml.StartElement, at place) (*node, error) {
	n := &node{kind: kindObject, at: at, fields: r.attributes(start, at)}
	var after, parameters *node
	for {
		t, at, err := r.token()
		if err != nil {
			return nil, r.open(err, at)
		}
		switch v := t.(type) {
		case xml.EndElement:
			return n, nil
		case xml.CharData:
			r.noText(v, at, "task")
		case xml.StartElement:
			attrs := r.attributes(&v, at)
			switch v.Name.Local {
			case "after":
				if after == nil {
					after = &node{kind: kindList, at: at}
					n.fields = append(n.fields, field{name: "after", at: at, value: after})
				}
				if name := r.only(attrs, at, "after", "task"); name != nil {
					after.items = append(after.items, name)
				}
				if text, err := r.inner("after"); err != nil {
					return nil, err
				} else if strings.TrimSpace(text) != "" {
					r.to.problem(at, "after", "has text; the task is named by the attribute task")
				}
			case "parameter":
				if parameters == nil {
					parameters = &node{kind: kindObject, at: at}
					n.fields = append(n.fields, field{name: "parameters", at: at, value: parameters})
				}
				f, err := r.parameter(attrs, at)
				if err != nil {
					return nil, err
				}
				if f.value != nil {
					parameters.fields = append(parameters.fields, f)
				}
			default:
				r.unknown(&v, at, "task", "after, parameter")
				if err := r.skip(); err != nil {
					return nil, err
				}
			}
		}
	}
}

// parameter reads the rest of a parameter.
func (r *xmlReader) parameter(attrs []field, at place) (field, error) {
	f := field{at: at}
	value := &node{kind: kindText, at: at}
	named := false
	for _, a := range attrs {
		switch a.name {
		case "name":
			f.name, named = a.value.text, true
		case "type":
			switch a.value.text {
			case "text":
			case "number":
				value.kind = kindNumber
			case "boolean":
				value.kind = kindBool
			default:
				r.to.problem(at, "parameter", "type %q is not one of text, number, boolean", a.value.text)
			}
		default:
			r.to.problem(at, "parameter", "has no attribute %q: name and type are those that it may have", a.name)
		}
	}
	text, err := r.inner("parameter")
	if err != nil {
		return f, err
	}
	value.text = text
	switch {
	case !named:
		r.to.problem(at, "parameter", "has no name; give the attribute name")
		return f, nil
	case value.kind == kindNumber && !isNumber(text):
		r.to.problem(at, "parameter "+f.name, "%q is no number as JSON writes it", text)
		return f, nil
	case value.kind == kindBool && text != "true" && text != "false":
		r.to.problem(at, "parameter "+f.name, "%q is neither true nor false", text)
		return f, nil
	}
	f.value = value
	return f, nil
}

func isNumber(s string) bool { return len(s) <= maxNumber && jsonNumber.MatchString(s) }

// only returns the one attribute that an element has.
func (r *xmlReader) only(attrs []field, at place, element, name string) *node {
	var found *node
	for _, a := range attrs {
		if a.name == name {
			found = a.value
		} else {
			r.to.problem(at, element, "has no attribute %q: %s is the one that it has", a.name, name)
		}
	}
	if found == nil {
		r.to.problem(at, element, "lacks the attribute %s", name)
	}
	return found
}

// inner reads the text up to the end of an element that may have no elements in it.
func (r *xmlReader) inner(element string) (string, error) {
	var text strings.Builder
	for {
		t, at, err := r.token()
		if err != nil {
			return "", r.open(err, at)
		}
		switch v := t.(type) {
		case xml.EndElement:
			return text.String(), nil
		case xml.CharData:
			text.Write(v)
		case xml.StartElement:
			r.to.problem(at, element, "has an element <%s>; only text is allowed", v.Name.Local)
			if err := r.skip(); err != nil {
				return "", err
			}
		}
	}
}

// skip reads up to the end of an element that is not known.
func (r *xmlReader) skip() error {
	for depth := 1; depth > 0; {
		t, at, err := r.token()
		if err != nil {
			return r.open(err, at)
		}
		switch t.(type) {
		case xml.StartElement:
			if depth++; depth > MaxDepth {
				return stop(at, "elements lie more than %d deep in one another", MaxDepth)
			}
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

// open is the error of a text that ends within an element.
func (r *xmlReader) open(err error, at place) error {
	if errors.Is(err, io.EOF) {
		return stop(at, "the text ends too early")
	}
	return err
}

func (r *xmlReader) noText(text xml.CharData, at place, element string) {
	if s := strings.TrimSpace(string(text)); s != "" {
		r.to.problem(at, element, "has text, where only elements are allowed")
	}
}

func (r *xmlReader) unknown(e *xml.StartElement, at place, in, known string) {
	if e.Name.Space != "" {
		return // attributes tells
	}
	r.to.problem(at, in, "has no element <%s>; it may have: %s", e.Name.Local, known)
}

// attributes returns the attributes of an element, each once and without namespace.
func (r *xmlReader) attributes(e *xml.StartElement, at place) []field {
	if e.Name.Space != "" {
		r.to.problem(at, e.Name.Local, "has a namespace; plans have none")
	}
	var out []field
	for _, a := range e.Attr {
		switch {
		case a.Name.Space != "" || a.Name.Local == "xmlns":
			r.to.problem(at, e.Name.Local, "has the attribute %q of a namespace; plans have none", a.Name.Local)
		default:
			out = append(out, field{name: a.Name.Local, at: at, value: &node{kind: kindPlain, text: a.Value, at: at}})
		}
	}
	return out
}
