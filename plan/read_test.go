package plan

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// readAll reads a plan, and keeps its tasks.
func readAll(format Format, text string) (Summary, []Task, error) {
	var all []Task
	s, err := Read(strings.NewReader(text), format, Options{}, func(t Task, _ Place) error {
		all = append(all, t)
		return nil
	})
	return s, all, err
}

// writeXML writes a plan as an upstream would.
func writeXML(h Header, tasks []Task) string {
	var b strings.Builder
	attr := func(name, value string) {
		if value == "" {
			return
		}
		fmt.Fprintf(&b, ` %s="`, name)
		_ = xml.EscapeText(&b, []byte(value))
		b.WriteString(`"`)
	}
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plan")
	attr("callback", h.Callback)
	attr("upstream", h.Upstream)
	attr("id", h.ID)
	b.WriteString(">\n")
	for i := range tasks {
		t := &tasks[i]
		b.WriteString("  <task")
		attr("id", t.ID)
		attr("type", t.Type)
		if t.Priority != 0 {
			attr("priority", fmt.Sprint(t.Priority))
		}
		if !t.NotBefore.IsZero() {
			attr("notBefore", t.NotBefore.Format(time.RFC3339))
		}
		if !t.Deadline.IsZero() {
			attr("deadline", t.Deadline.Format(time.RFC3339))
		}
		attr("group", t.Group)
		b.WriteString(">\n")
		for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
			v := t.Parameters[name]
			text := string(v)
			b.WriteString("    <parameter")
			attr("name", name)
			switch v[0] {
			case '"':
				_ = json.Unmarshal([]byte(v), &text)
			case 't', 'f':
				attr("type", "boolean")
			default:
				attr("type", "number")
			}
			b.WriteString(">")
			_ = xml.EscapeText(&b, []byte(text))
			b.WriteString("</parameter>\n")
		}
		for _, a := range t.After {
			b.WriteString("    <after")
			attr("task", a)
			b.WriteString("/>\n")
		}
		b.WriteString("  </task>\n")
	}
	b.WriteString("</plan>\n")
	return b.String()
}

func writeJSON(t interface{ Fatal(...any) }, h Header, tasks []Task) string {
	text, err := json.MarshalIndent(struct {
		Tasks []Task `json:"tasks"`
		Header
	}{tasks, h}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// asInts has values be what they are to the writer of YAML.
func asInts(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = asInts(v[name])
		}
	case []any:
		for i := range v {
			v[i] = asInts(v[i])
		}
	case json.Number:
		n, _ := v.Int64()
		return n
	case string:
		if strings.ContainsAny(v, "\t\n") { // the writer does not quote what its reader refuses
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: v}
		}
	}
	return v
}

func writeYAML(t interface{ Fatal(...any) }, h Header, tasks []Task) string {
	var v any
	dec := json.NewDecoder(strings.NewReader(writeJSON(t, h, tasks)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(asInts(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// plans makes plans of all that is allowed.
func plans(t *rapid.T) (Header, []Task) {
	name := rapid.StringMatching(`[!-.0-~]{1,12}`)
	h := Header{ID: name.Draw(t, "id"), Upstream: name.Draw(t, "upstream")}
	if rapid.Bool().Draw(t, "callback") {
		h.Callback = "https://erp.example.org/a?b=1&c=" + rapid.StringMatching(`[a-z]{0,5}`).Draw(t, "query")
	}
	at := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(1_000_000_000, 4_000_000_000).Draw(t, "at"), 0).UTC()
	})
	value := rapid.Custom(func(t *rapid.T) Value {
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return Value(fmt.Sprint(rapid.Int32().Draw(t, "number")))
		case 1:
			return Value(fmt.Sprint(rapid.Bool().Draw(t, "truth")))
		}
		return Text(rapid.StringMatching(`[a-z0-9 <>&"'\\:{}#*é世\-\n\t]{0,20}`).Draw(t, "text"))
	})
	ids := rapid.SliceOfNDistinct(name, 1, 20, rapid.ID[string]).Draw(t, "ids")
	var tasks []Task
	for i, id := range ids {
		one := Task{ID: id, Type: rapid.StringMatching(`[a-z]([a-z0-9]{0,5})`).Draw(t, "type"), Priority: rapid.IntRange(0, 9).Draw(t, "priority")}
		one.NotBefore = at.Draw(t, "notBefore")
		if d := at.Draw(t, "deadline"); d.After(one.NotBefore) {
			one.Deadline = d
		}
		if rapid.Bool().Draw(t, "grouped") {
			one.Group = name.Draw(t, "group")
		}
		// Forwards in the text, so that no cycle comes about.
		for _, other := range ids[i+1:] {
			if rapid.IntRange(0, 4).Draw(t, "waits") == 0 {
				one.After = append(one.After, other)
			}
		}
		if p := rapid.MapOfN(rapid.StringMatching(`[a-zA-Z][a-z .é]{0,8}`), value, 0, 4).Draw(t, "parameters"); len(p) > 0 {
			one.Parameters = p
		}
		tasks = append(tasks, one)
	}
	return h, tasks
}

// R1: the same plan in each format is the same model, with the same digest.
func TestTheFormatsSayTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h, tasks := plans(t)
		digest := ""
		for _, format := range Formats() {
			text := map[Format]string{XML: writeXML(h, tasks), JSON: writeJSON(t, h, tasks), YAML: writeYAML(t, h, tasks)}[format]
			s, got, err := readAll(format, text)
			if err != nil {
				t.Fatalf("%s: %v\n%s", format, err, text)
			}
			if s.Header != h || !reflect.DeepEqual(got, tasks) {
				t.Fatalf("%s: got %+v %+v, want %+v %+v\n%s", format, s.Header, got, h, tasks, text)
			}
			if digest != "" && s.Digest != digest {
				t.Fatalf("%s: digest %s, others have %s", format, s.Digest, digest)
			}
			digest = s.Digest
		}
	})
}

// R3: everything that is wrong is told at once, with its line.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	for format, text := range map[Format]string{
		XML: `<plan upstream="erp" id="a b">
<task id="one" type="report" priority="10"/>
<task id="one" type="Mail!"/>
<job id="x"/>
<task id="two" type="mail" notBefore="soon" colour="red"><after task="nobody"/></task>
</plan>`,
		JSON: `{"upstream": "erp", "id": "a b", "tasks": [
{"id": "one", "type": "report", "priority": 10},
{"id": "one", "type": "Mail!"},
7,
{"id": "two", "type": "mail", "notBefore": "soon", "colour": "red", "after": ["nobody"]}
]}`,
		YAML: `{"upstream": "erp", "id": "a b", "tasks": [
{"id": "one", "type": "report", "priority": 10},
{"id": "one", "type": "Mail!"},
7,
{"id": "two", "type": "mail", "notBefore": "soon", "colour": "red", "after": ["nobody"]}
]}`,
	} {
		_, _, err := readAll(format, text)
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) {
			t.Fatalf("%s: %v", format, err)
		}
		lines := map[int]int{}
		for _, p := range invalid.Problems {
			lines[p.Line]++
			if p.Line == 0 || p.Column == 0 {
				t.Errorf("%s: %s: has no place", format, p)
			}
		}
		// The names are looked at only when all are known: not here, as one task has none.
		if want := map[int]int{1: 1, 2: 1, 3: 2, 4: 1, 5: 2}; !reflect.DeepEqual(lines, want) {
			if want[5] = 3; !reflect.DeepEqual(lines, want) {
				t.Errorf("%s: problems by line are %v\n%v", format, lines, err)
			}
		}
	}
}

// R3, R4, R5: what is not a plan is refused, with its place, and nothing hangs or grows.
func TestRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`[`, 100_000)
	const head, tail = `<plan id="p" upstream="u">`, `</plan>`
	const ok = `<task id="a" type="x"/>`
	for name, ask := range map[string]struct {
		format     Format
		text, want string
	}{
		"empty xml":             {XML, "", "1:1: there is no <plan>"},
		"a document type":       {XML, "<!DOCTYPE plan [<!ENTITY a \"b\">]>\n" + head + ok + tail, "1:1: a document type"},
		"a late document type":  {XML, head + "\n<!DOCTYPE x>" + ok + tail, "2:1: a document type"},
		"an entity":             {XML, head + `<task id="a" type="x"><parameter name="p">&boom;</parameter></task>` + tail, "invalid character entity"},
		"a default namespace":   {XML, `<plan xmlns="urn:x" id="p" upstream="u">` + ok + tail, "namespace"},
		"a namespaced element":  {XML, `<plan xmlns:n="urn:x" id="p" upstream="u"><n:task id="a" type="x"/>` + tail, "namespace"},
		"an instruction":        {XML, head + `<?php evil ?>` + ok + tail, `processing instruction "php"`},
		"another element":       {XML, head + ok + `<include href="/etc/passwd"/>` + tail, "no element <include>"},
		"another attribute":     {XML, head + `<task id="a" type="x" run="rm"/>` + tail, "is no member of a task"},
		"an attribute twice":    {XML, head + `<task id="a" id="b" type="x"/>` + tail, "is given twice"},
		"text between":          {XML, head + `hello` + ok + tail, "has text"},
		"another encoding":      {XML, `<?xml version="1.0" encoding="UTF-16"?>` + head + ok + tail, "encoding"},
		"cut xml":               {XML, head + ok, "ends too early"},
		"two plans":             {XML, head + ok + tail + head + tail, "more after </plan>"},
		"deep xml":              {XML, head + strings.Repeat("<a>", 1000), "deep in one another"},
		"a long attribute":      {XML, head + `<task id="` + strings.Repeat("a", 1<<20), "is too long"},
		"many elements":         {XML, head + `<task id="a" type="x">` + strings.Repeat("<after/>", 6000), "more than 5000 elements"},
		"no tasks":              {XML, head + tail, "there are none"},
		"an unknown dependency": {XML, head + `<task id="a" type="x"><after task="b"/></task>` + tail, `waits for "b", and the plan has no task`},
		"a cycle":               {XML, head + `<task id="a" type="x"><after task="b"/></task><task id="b" type="x"><after task="c"/></task><task id="c" type="x"><after task="a"/></task><task id="d" type="x"><after task="a"/></task>` + tail, "a waits for b waits for c waits for a"},
		"itself":                {XML, head + `<task id="a" type="x"><after task="a"/></task>` + tail, "a waits for a"},
		"a parameter twice":     {XML, head + `<task id="a" type="x"><parameter name="p">1</parameter><parameter name="p">2</parameter></task>` + tail, "is given twice"},
		"not a number":          {XML, head + `<task id="a" type="x"><parameter name="p" type="number">0x1F</parameter></task>` + tail, "no number"},
		"no json":               {JSON, "hello", "1:1: a plan in JSON is an object"},
		"cut json":              {JSON, `{"id": "p", "tasks": [{"id": `, "ends too early"},
		"deep json":             {JSON, `{"x": ` + deep, "deep in one another"},
		"many values":           {JSON, `{"x": [` + strings.Repeat("1,", 20_000), "more than 5000 values"},
		"a member twice":        {JSON, `{"id": "p", "id": "q", "upstream": "u", "tasks": [{"id": "a", "type": "x"}]}`, "is given twice"},
		"tasks that are none":   {JSON, `{"id": "p", "upstream": "u", "tasks": 7}`, "a list of tasks is needed"},
		"a number as id":        {JSON, `{"id": 7, "upstream": "u", "tasks": [{"id": "a", "type": "x"}]}`, "is a number; a text is needed; put it in quotes"},
		"half a character":      {JSON, `{"id": "\ud800"}`, "half a character"},
		"a bad escape":          {JSON, `{"id": "\x"}`, "no escape"},
		"a long text":           {JSON, `{"id": "` + strings.Repeat("a", 1<<20), "is too long"},
		"more json":             {JSON, `{"id": "p", "upstream": "u", "tasks": [{"id": "a", "type": "x"}]} {}`, "more after the plan"},
		"no utf-8":              {JSON, "{\"id\": \"\xff\"}", "not UTF-8"},
		"an object as value":    {JSON, `{"id": "p", "upstream": "u", "tasks": [{"id": "a", "type": "x", "parameters": {"p": {}}}]}`, "is an object; a text, a number"},
		"a late deadline":       {JSON, `{"id": "p", "upstream": "u", "tasks": [{"id": "a", "type": "x", "notBefore": "2027-01-02T00:00:00Z", "deadline": "2027-01-01T00:00:00Z"}]}`, "is not after notBefore"},
		"a callback":            {JSON, `{"id": "p", "upstream": "u", "callback": "ftp://x", "tasks": [{"id": "a", "type": "x"}]}`, "is no address"},
		"an alias":              {YAML, "id: &a p\nupstream: *a\ntasks: [{id: a, type: x}]", "is refused"},
		"a tag":                 {YAML, "id: !!str p\nupstream: u\ntasks: [{id: a, type: x}]", "the tag"},
		"two documents":         {YAML, "id: p\nupstream: u\ntasks: [{id: a, type: x}]\n---\nid: q", "second document"},
		"no yaml":               {YAML, "id: [", "is not YAML"},
		"long yaml":             {YAML, strings.Repeat("# a comment\n", 100_000), "is too long"},
		"yaml numbers":          {YAML, "id: p\nupstream: u\ntasks: [{id: a, type: x, parameters: {n: 0x1F}}]", "no number as JSON writes it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readAll(ask.format, ask.text)
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), ask.want) {
				t.Errorf("got %v; want %q", err, ask.want)
			}
		})
	}
}

// The problems are bounded, and how many are left out is told.
func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	text := `{"id": "p", "upstream": "u", "tasks": [` + strings.Repeat("7,", 5000) + `7]}`
	_, _, err := readAll(JSON, text)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != MaxProblems+1 || !strings.Contains(err.Error(), "and 4901 more problems") {
		t.Errorf("got %.300v", err)
	}
}

// What fn finds wrong is told with the others; any other error of it ends the reading, as one
// of the reader does.
func TestErrorsOfOthers(t *testing.T) {
	t.Parallel()
	const text = "{\"id\": \"p\", \"upstream\": \"u\", \"tasks\": [{\"id\": \"a\", \"type\": \"x\"},\n{\"id\": \"b\", \"type\": \"x\"}]}"
	_, err := Read(strings.NewReader(text), JSON, Options{}, func(t Task, _ Place) error {
		if t.ID == "b" {
			return &job.InvalidError{Problems: []job.Problem{{Path: "type", Message: "is no queue"}}}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "2:1: tasks[1].type: is no queue") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken")
	if _, err := Read(strings.NewReader(text), JSON, Options{}, func(Task, Place) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for _, format := range Formats() {
		_, err := Read(io.MultiReader(strings.NewReader("   "), failing{broken}), format, Options{}, nil)
		var invalid *job.InvalidError
		if !errors.Is(err, broken) || errors.As(err, &invalid) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// generated is the text of a large plan, which is never held.
type generated struct {
	next, tasks int
	rest        []byte
}

func (g *generated) Read(p []byte) (int, error) {
	for len(g.rest) == 0 {
		switch {
		case g.next == 0:
			g.rest = []byte(`<plan id="p" upstream="u">`)
		case g.next <= g.tasks:
			g.rest = fmt.Appendf(nil, `<task id="t%d" type="x"><parameter name="month">%s</parameter>`, g.next, strings.Repeat("2027-01 ", 20))
			if g.next > 1 {
				g.rest = fmt.Appendf(g.rest, `<after task="t%d"/>`, g.next/2)
			}
			g.rest = append(g.rest, "</task>\n"...)
		case g.next == g.tasks+1:
			g.rest = []byte("</plan>")
		default:
			return 0, io.EOF
		}
		g.next++
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// R2: a large plan is read without being held.
func TestALargePlanIsNotHeld(t *testing.T) {
	t.Parallel()
	const tasks = 50_000
	graph, seen := NewGraph(), 0
	s, err := Read(&generated{tasks: tasks}, XML, Options{Graph: graph}, func(Task, Place) error { seen++; return nil })
	if err != nil || seen != tasks || s.Tasks != tasks || s.Types["x"] != tasks {
		t.Fatalf("%d tasks seen, %+v, %v", seen, s, err)
	}
	runtime.KeepAlive(graph)
	if held := cap(graph.names.text) + 4*(cap(graph.names.ends)+cap(graph.names.table)+cap(graph.task)+cap(graph.name)) + 24*cap(graph.edges); held > 120*tasks {
		t.Errorf("%d bytes are kept of %d tasks", held, tasks)
	}
	next, missing := graph.Waiting()
	if missing[0] != 0 || missing[9] != 1 || !slices.Equal(next.Of(0), []uint32{1, 2}) {
		t.Errorf("waiting: %v, %v", missing[:10], next.Of(0))
	}
	if n, ok := graph.Find("t77"); !ok || n != 76 || graph.Name(76) != "t77" {
		t.Errorf("t77 is %d, %v", n, ok)
	}
	if _, ok := graph.Find("t"); ok {
		t.Error("a task was found that is not there")
	}
}
