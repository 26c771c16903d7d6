package plan

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// MaxQueryBytes bounds a query.
const MaxQueryBytes = 64 << 10

// Query is a question about a plan, which a Report answers.
type Query struct {
	// Upstream and Plan name the plan.
	Upstream string
	Plan     string
	// Tasks: the report has the plan's tasks; of one State, Group or id alone, if given.
	Tasks bool
	State State
	Group string
	Task  string
}

// ReadQuery reads a query in XML or JSON:
//
//	<query upstream="erp" plan="close-2027-01" tasks="true" state="failed"/>
//	{"query": {"upstream": "erp", "plan": "close-2027-01", "tasks": true, "state": "failed"}}
//
// What is wrong comes as a *job.InvalidError.
func ReadQuery(r io.Reader, format Format) (Query, error) {
	s := newSource(r, MaxQueryBytes)
	var n *node
	var err error
	switch format {
	case XML:
		n, err = xmlQuery(s)
	case JSON:
		n, err = jsonQuery(s)
	default:
		return Query{}, &job.InvalidError{Problems: []job.Problem{{Message: "a query is XML or JSON"}}}
	}
	var p problems
	var end *stopped
	switch {
	case s.broken() != nil:
		return Query{}, fmt.Errorf("read a query: %w", s.broken())
	case errors.As(err, &end):
		p.last(end.at, end.message)
		return Query{}, p.err()
	case err != nil:
		return Query{}, err
	}
	return p.query(n)
}

// query reads what a query says.
func (p *problems) query(n *node) (Query, error) {
	var q Query
	v := fields{path: "query.", p: p}
	seen := map[string]bool{}
	for _, f := range n.fields {
		if seen[f.name] {
			v.add(f, "is given twice")
			continue
		}
		seen[f.name] = true
		switch f.name {
		case "upstream":
			q.Upstream = v.name(f)
		case "plan":
			q.Plan = v.name(f)
		case "tasks":
			q.Tasks = v.truth(f)
		case "group":
			q.Group = v.name(f)
		case "task":
			q.Task = v.name(f)
		case "state":
			s, _ := v.text(f)
			if q.State = State(s); s != "" && !q.State.known() {
				v.add(f, "%q is no state of a task", s)
			}
		default:
			v.add(f, "is no member of a query; upstream, plan, tasks, state, group and task are")
		}
	}
	for _, name := range []string{"upstream", "plan"} {
		if !seen[name] {
			p.add(n.at, v.path+name, "is needed")
		}
	}
	q.Tasks = q.Tasks || q.State != "" || q.Group != "" || q.Task != ""
	return q, p.err()
}

func jsonQuery(s *source) (*node, error) {
	r := &jsonReader{source: s}
	r.space()
	n, err := r.value(1)
	if err != nil {
		return nil, err
	}
	if r.space(); r.peek() != 0 {
		return nil, r.wrong("there is more after the query")
	}
	if n.kind != kindObject || len(n.fields) != 1 || n.fields[0].name != "query" || n.fields[0].value.kind != kindObject {
		return nil, stop(n.at, `a query in JSON is {"query": {"upstream": "...", "plan": "..."}}`)
	}
	return n.fields[0].value, nil
}

func xmlQuery(s *source) (*node, error) {
	var wrong *stopped
	r := &xmlReader{src: s, dec: xml.NewDecoder(s), to: strict{&wrong}}
	r.dec.Strict = true
	var n *node
	for {
		t, at, err := r.token()
		switch {
		case errors.Is(err, io.EOF) && n != nil && wrong == nil:
			return n, nil
		case errors.Is(err, io.EOF) && n == nil:
			return nil, stop(at, "there is no <query>")
		case wrong != nil:
			return nil, wrong
		case err != nil:
			return nil, err
		}
		switch v := t.(type) {
		case xml.StartElement:
			if n != nil || v.Name.Local != "query" {
				return nil, stop(at, "a query in XML is one element <query>, with nothing in it")
			}
			n = &node{kind: kindObject, at: at, fields: r.attributes(&v, at)}
		case xml.CharData:
			if strings.TrimSpace(string(v)) != "" {
				return nil, stop(at, "a query in XML is one element <query>, with nothing in it")
			}
		}
	}
}

// strict is a sink that stops at the first problem.
type strict struct{ wrong **stopped }

func (strict) member(field) error { return nil }
func (strict) task(*node) error   { return nil }
func (s strict) problem(at place, path, format string, args ...any) {
	if *s.wrong == nil {
		*s.wrong = &stopped{at, path + ": " + fmt.Sprintf(format, args...)}
	}
}

// lookAhead is how much of a text is looked at to see what it is.
const lookAhead = 4096

var (
	xmlSkipped = regexp.MustCompile(`(?s)^(\x{FEFF}|\s|<\?.*?\?>|<!--.*?-->)*`)
	jsonQuick  = regexp.MustCompile(`^\s*\{\s*"query"\s*:`)
)

// Look tells in which format a text is, XML or JSON, and whether it is a query, as far as its
// beginning says. An empty format: it is neither.
func Look(r *bufio.Reader) (format Format, query bool) {
	text, err := r.Peek(lookAhead)
	if err != nil && len(text) == 0 {
		return "", false
	}
	switch first := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\uFEFF")), " \t\r\n"); {
	case bytes.HasPrefix(first, []byte("<")):
		rest := text[len(xmlSkipped.Find(text)):]
		return XML, bytes.HasPrefix(rest, []byte("<query")) && len(rest) > len("<query") && slices.Contains([]byte(" \t\r\n/>"), rest[len("<query")])
	case bytes.HasPrefix(first, []byte("{")):
		return JSON, jsonQuick.Match(text)
	}
	return "", false
}
