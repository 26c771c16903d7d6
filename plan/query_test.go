package plan

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

func TestReadQuery(t *testing.T) {
	t.Parallel()
	whole := Query{Upstream: "erp", Plan: "p", Tasks: true, State: Failed, Group: "g", Task: "t"}
	for text, want := range map[string]Query{
		`<query upstream="erp" plan="p"/>`: {Upstream: "erp", Plan: "p"},
		"\uFEFF<?xml version=\"1.0\"?>\n<!-- x -->\n<query upstream='erp' plan='p' tasks='true' state='failed' group='g' task='t'>\n</query>\n": whole,
		`<query upstream="erp" plan="p" state="open"/>`:    {},
		`<query upstream="erp" plan="p" x="y"/>`:           {},
		`<query upstream="erp" plan="p" plan="q"/>`:        {},
		`<query upstream="erp"/>`:                          {},
		`<query upstream="erp" plan="p"><task/></query>`:   {},
		`<query upstream="erp" plan="p">x</query>`:         {},
		`<query upstream="erp" plan="p"/><query/>`:         {},
		`<query xmlns="urn:x" upstream="erp" plan="p"/>`:   {},
		`<query upstream="erp" plan="p">`:                  {},
		`<!DOCTYPE query><query upstream="erp" plan="p"/>`: {},
		`<plan/>`: {},
		``:        {},
		`{"query": {"upstream": "erp", "plan": "p"}}`:                                                               {Upstream: "erp", Plan: "p"},
		`{"query": {"upstream": "erp", "plan": "p", "tasks": true, "state": "failed", "group": "g", "task": "t"}} `: whole,
		`{"query": {"upstream": "erp", "plan": 5}}`:                                                                 {},
		`{"query": {"upstream": "erp", "plan": "p", "tasks": "yes"}}`:                                               {},
		`{"query": {"upstream": "erp", "plan": "p"}, "x": 1}`:                                                       {},
		`{"query": {"upstream": "erp", "plan": "p"}} {}`:                                                            {},
		`{"upstream": "erp", "plan": "p"}`:                                                                          {},
		`[]`:                                                                                                        {},
		`<query upstream="` + strings.Repeat("e", MaxQueryBytes) + `"/>`:                                            {},
	} {
		format := XML
		if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
			format = JSON
		}
		q, err := ReadQuery(strings.NewReader(text), format)
		var invalid *job.InvalidError
		switch {
		case want == (Query{}) && !errors.As(err, &invalid):
			t.Errorf("%.80s: %+v, %v", text, q, err)
		case want != (Query{}) && (err != nil || q != want):
			t.Errorf("%.80s: %+v, %v", text, q, err)
		}
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		format Format
		query  bool
	}{
		`<plan/>`: {XML, false}, "\uFEFF <?xml version='1.0'?><!-- <query/> -->\n<query/>": {XML, true}, `<queryplan/>`: {XML, false},
		` {"query": {}}`: {JSON, true}, `{"id": "query"}`: {JSON, false}, `id: x`: {"", false}, ``: {"", false},
	} {
		if format, query := Look(bufio.NewReader(strings.NewReader(text))); format != want.format || query != want.query {
			t.Errorf("%s: %q, %v", text, format, query)
		}
	}
}

// A report says the same in either format, and what is in it cannot break it.
func TestReport(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 31, 2, 0, 0, 0, time.UTC)
	r := Report{Namespace: "team", Upstream: "erp", Plan: "p", UID: "u", State: "ended", Count: 2, AcceptedAt: at, EndedAt: &at, At: at, Counts: map[string]int{"failed": 1, "succeeded": 1}}
	tasks := func(yield func(ReportTask, error) bool) {
		_ = yield(ReportTask{ID: "a", Type: "q", State: "failed", Since: &at, Reason: `"</task>` + "\x00\n", Attempt: 2}, nil) && yield(ReportTask{ID: "b", Type: "q", State: "succeeded"}, nil)
	}
	var x, j strings.Builder
	if err := errors.Join(r.Write(&x, XML, tasks), r.Write(&j, JSON, tasks)); err != nil {
		t.Fatal(err)
	}
	var fromXML struct {
		State string `xml:"state,attr"`
		Count []struct {
			State string `xml:"state,attr"`
			Tasks int    `xml:"tasks,attr"`
		} `xml:"count"`
		Tasks []ReportTask `xml:"task"`
	}
	var fromJSON struct {
		State  string
		Counts map[string]int
		Tasks  []ReportTask
	}
	if err := errors.Join(xml.Unmarshal([]byte(x.String()), &fromXML), json.Unmarshal([]byte(j.String()), &fromJSON)); err != nil {
		t.Fatalf("%v\n%s\n%s", err, x.String(), j.String())
	}
	if fromXML.State != "ended" || len(fromXML.Count) != 2 || len(fromXML.Tasks) != 2 || !strings.HasPrefix(fromXML.Tasks[0].Reason, `"</task>`) || fromXML.Tasks[0].Attempt != 2 {
		t.Errorf("%+v\n%s", fromXML, x.String())
	}
	if fromJSON.State != "ended" || fromJSON.Counts["failed"] != 1 || len(fromJSON.Tasks) != 2 || fromJSON.Tasks[0].Reason != `"</task>`+"\x00\n" {
		t.Errorf("%+v\n%s", fromJSON, j.String())
	}
	broken := errors.New("broken")
	if err := r.Write(&x, XML, func(yield func(ReportTask, error) bool) { yield(ReportTask{}, broken) }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
