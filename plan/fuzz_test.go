package plan

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// fuzz: whatever the text, it is refused with problems, or is a plan that reads the same again
// when it is written as JSON, and as XML.
func fuzz(f *testing.F, format Format, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	fuzzed.Run(f, func(t *testing.T, text string) {
		s, tasks, err := readAll(format, text)
		if err != nil {
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) > MaxProblems+2 {
				t.Fatalf("refused without problems: %v", err)
			}
			return
		}
		if s.Tasks != len(tasks) || s.ID == "" || s.Upstream == "" {
			t.Fatalf("%+v, with %d tasks", s, len(tasks))
		}
		again, same, err := readAll(JSON, writeJSON(t, s.Header, tasks))
		if err != nil || again.Digest != s.Digest || !reflect.DeepEqual(same, tasks) {
			t.Fatalf("read again: %v\n%+v\n%+v", err, tasks, same)
		}
	})
}

func FuzzXML(f *testing.F) {
	fuzz(f, XML, `<plan id="p" upstream="u"><task id="a" type="x" priority="3"><parameter name="n" type="number">1</parameter><after task="b"/></task><task id="b" type="y"/></plan>`)
}

func FuzzJSON(f *testing.F) {
	fuzz(f, JSON, `{"id": "p", "upstream": "u", "tasks": [{"id": "a", "type": "x", "parameters": {"n": 1, "t": "\u00e9"}, "after": ["b"]}, {"id": "b", "type": "y"}]}`)
}

func FuzzYAML(f *testing.F) {
	fuzz(f, YAML, strings.ReplaceAll("id: p\nupstream: u\ntasks:\n- id: a\n  type: x\n  parameters: {n: 1, t: text}\n  after: [b]\n- {id: b, type: y}\n", "\t", " "))
}
