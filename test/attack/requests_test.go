package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Another seed, or more of them:
//
//	go test ./test/attack -run TestGeneratedRequests -v -requests 200000 -requests.seed 7
var (
	requestCount = flag.Int("requests", 20_000, "how many requests are generated")
	requestSeed  = flag.Uint64("requests.seed", 1, "what they are generated from")
)

// workers is how many requests are under way at a time.
const workers = 8

// hang is after what time a request is taken to hang that has no reason to last.
const hang = 2 * time.Minute

const things = hookedJobs + `---
apiVersion: carillon/v1
kind: Job
metadata: {name: tick, labels: {a: b}}
spec: {schedule: "@every 1h", command: ["true"]}
---
apiVersion: carillon/v1
kind: HostGroup
metadata: {name: hosts}
spec: {match: "web*"}
---
apiVersion: carillon/v1
kind: Group
metadata: {name: grp}
spec: {mode: failover}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: lib}
spec: {source: "echo hello"}
---
apiVersion: carillon/v1
kind: Calendar
metadata: {name: cal}
spec: {closed: ["12-25 Christmas"]}
`

// Whatever requests of the form of the document come, right and wrong ones, a node answers
// each: with no error of its own, in a form that the document says, and in time.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1", "--max-requests-per-second", "1000000", "--max-streams", "1000000")
	n.apply(t, things).must(t)
	d := readDocument(t, n)
	g := &generator{node: n, doc: d, ops: d.operations(), runs: []string{"x"}, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: workers},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	defer g.client.CloseIdleConnections()
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(*requestCount) && !t.Failed(); i = next.Add(1) {
				if i%200 == 0 { // others have deleted them
					g.node.by(t, g.client, http.MethodPost, "/v1/apply", strings.NewReader(things), "Content-Type", "application/yaml")
				}
				g.one(t, i)
			}
		})
	}
	all.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var told []string
	for _, op := range g.ops {
		codes := g.answers[op.OperationID]
		if len(codes) == 0 && *requestCount >= 20_000 {
			t.Errorf("%s was not asked", op.OperationID)
		}
		told = append(told, fmt.Sprintf("%s %v", op.OperationID, codes))
	}
	t.Log(strings.Join(told, "\n"))
	if !n.ready() {
		t.Error("the node is not ready")
	}
}

// tamed are bodies for operations that would have the node stop, or ask others: adopting
// has it open anew, at another port, what has handed over plans nothing, and a cluster that
// is to be followed is dialled.
var tamed = map[string]string{
	"recover":       `{"dryRun": true}`,
	"hand-over":     `{"unknown": true}`,
	"follow-active": `{"from": "http://127.0.0.1:1", "dryRun": true}`,
}

// generator makes requests, and looks at their answers.
type generator struct {
	node   *node
	doc    *document
	ops    []*operation
	client *http.Client

	mu sync.Mutex
	// mu guards all below.
	runs    []string // ids of runs that were told of
	answers map[string]map[int]int
}

// one makes a request by its number, and looks at the answer.
func (g *generator) one(t *testing.T, i int64) {
	r := rand.New(rand.NewPCG(*requestSeed, uint64(i)))
	op := g.ops[r.IntN(len(g.ops))]
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	req := g.request(ctx, r, op)
	if req == nil {
		return // it cannot be sent
	}
	if text, ok := tamed[op.OperationID]; ok && req.Body != nil {
		req.Body, req.ContentLength, req.GetBody = io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
		req.Header.Set("Content-Type", "application/json")
	}
	sent := fmt.Sprintf("request %d (seed %d): %s %s", i, *requestSeed, req.Method, req.URL)
	endless := op.OperationID == "watch-events" || op.OperationID == "get-output" || op.OperationID == "follow-results" || op.OperationID == "mirror"
	if endless {
		defer time.AfterFunc(2*time.Second, cancel).Stop() // an answer that has begun may go on
	}
	res, err := g.client.Do(req)
	if err != nil {
		if !endless || !errors.Is(err, context.Canceled) {
			var netErr *net.OpError
			if errors.As(err, &netErr) && op.RequestBody != nil {
				return // refused before all of the body was sent
			}
			t.Errorf("%s: %v", sent, err)
		}
		return
	}
	defer res.Body.Close()
	if endless && res.StatusCode == http.StatusOK {
		g.note(op, res.StatusCode)
		return
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s: %v", sent, err)
		return
	}
	g.note(op, res.StatusCode)
	if wrong := g.wrong(op, res, body); wrong != "" {
		t.Errorf("%s: %s\nanswer %d %.2000s", sent, wrong, res.StatusCode, body)
	}
}

func (g *generator) note(op *operation, code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answers == nil {
		g.answers = map[string]map[int]int{}
	}
	if g.answers[op.OperationID] == nil {
		g.answers[op.OperationID] = map[int]int{}
	}
	g.answers[op.OperationID][code]++
}

// wrong returns what is wrong with an answer; empty: nothing.
func (g *generator) wrong(op *operation, res *http.Response, body []byte) string {
	// Of runs in a shard that has no owner just now, as that of a group which was made a
	// moment ago, it is not known how they are.
	gap := res.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "not all open runs are listed")
	if res.StatusCode >= http.StatusInternalServerError && !gap {
		return "an error of the node's own"
	}
	if res.StatusCode == http.StatusMovedPermanently || res.StatusCode == http.StatusTemporaryRedirect {
		return "" // a path whose parts are empty or dots is another path
	}
	declared, ok := op.Responses[strconv.Itoa(res.StatusCode)]
	if !ok {
		declared, ok = op.Responses["default"]
	}
	if !ok {
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return "" // of another path
		}
		return "its status is not in the document"
	}
	if len(body) == 0 {
		return ""
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	media, ok := declared.Content[kind]
	if err != nil || !ok {
		return fmt.Sprintf("its media type %q is not in the document", kind)
	}
	if !strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "ndjson") {
		return ""
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error()
	}
	if object, ok := v.(map[string]any); ok {
		if id, ok := object["runId"].(string); ok {
			g.mu.Lock()
			g.runs = append(g.runs, id)
			g.mu.Unlock()
		}
	}
	return g.doc.check(media.Schema, v, "answer")
}

// request makes a request of an operation; nil: it cannot be sent.
func (g *generator) request(ctx context.Context, r *rand.Rand, op *operation) *http.Request {
	path, query, header := op.path, url.Values{}, http.Header{}
	for _, p := range op.Parameters {
		if p.In != "path" && !p.Required && r.IntN(2) == 0 {
			continue
		}
		value := g.value(r, p.Name, p.Schema)
		switch p.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(value))
		case "query":
			query.Add(p.Name, value)
			if r.IntN(5) == 0 {
				query.Add(p.Name, g.value(r, p.Name, p.Schema))
			}
		case "header":
			header.Set(p.Name, strings.Map(printed, value))
		}
	}
	if r.IntN(20) == 0 {
		query.Add(strings.TrimSpace(word(r, "name")), word(r, ""))
	}
	var body io.Reader = http.NoBody
	if op.RequestBody != nil && r.IntN(20) > 0 {
		kinds := slices.Sorted(maps.Keys(op.RequestBody.Content))
		kind := kinds[r.IntN(len(kinds))]
		text := g.body(r, kind, op.RequestBody.Content[kind].Schema)
		if r.IntN(20) == 0 {
			kind = []string{"text/plain", "application/xml", "application/json; charset=latin1", "x", "multipart/form-data", ""}[r.IntN(6)]
		}
		body = bytes.NewReader(text)
		header.Set("Content-Type", kind)
	}
	req, err := http.NewRequestWithContext(ctx, op.method, g.node.url()+path+"?"+query.Encode(), body)
	if err != nil {
		return nil
	}
	req.Header = header
	return req
}

// printed leaves out what no header can hold.
func printed(c rune) rune {
	if c < ' ' || c > '~' {
		return -1
	}
	return c
}

// value is a text of a parameter.
func (g *generator) value(r *rand.Rand, name string, s *schema) string {
	if name == "runId" && r.IntN(3) > 0 {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.runs[r.IntN(len(g.runs))]
	}
	if kinds := s.types(); slices.Contains(kinds, "integer") && r.IntN(3) > 0 {
		return strconv.FormatInt(number(r), 10)
	}
	return word(r, name)
}

// body is a body of a kind, whole or cut short.
func (g *generator) body(r *rand.Rand, kind string, s *schema) []byte {
	var text []byte
	if strings.HasSuffix(kind, "yaml") {
		text = manifestOf(r)
	} else {
		var err error
		if text, err = json.Marshal(g.doc.make(r, s, "", 0)); err != nil {
			panic(err) // it is made of plain values
		}
	}
	if len(text) > 0 && r.IntN(20) == 0 {
		text[r.IntN(len(text))] ^= byte(1 << r.IntN(8))
	}
	if r.IntN(20) == 0 {
		text = text[:r.IntN(len(text)+1)]
	}
	return text
}

// manifestOf is a job file, most of which is right.
func manifestOf(r *rand.Rand) []byte {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	var b strings.Builder
	for range 1 + r.IntN(2) {
		kind := pick("Job", "Job", "Job", "Group", "HostGroup", "Calendar", "Script", "Role", "RoleBinding", "Nothing")
		fmt.Fprintf(&b, "---\napiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s%s}\nspec:\n", pick("carillon/v1", "carillon/v1", "carillon/v1", "carillon/v1", "carillon/v1", "carillon/v1", "v2", "[]"), kind,
			pick("generated", "generated", "tick", "plain", "'"+strings.ReplaceAll(strings.Map(printed, word(r, "name")), "'", "")+"'"), pick("default", "default", "default", "ops", "''"), pick("", "", "", ", labels: {a: b}", ", labels: {a: 1}", ", labels: {'\x1b': x}"))
		lines := map[string][]string{
			"Job": {
				"command: [\"true\"]", "command: []", "script: echo hello", "schedule: '* * * * *'", "schedule: '@every 1h'", "schedule: '0 0 30 2 *'", "schedule: x", "timeZone: Europe/Rome", "timeZone: x",
				"target: {match: 'web*'}", "target: {match: '('}", "timeout: 1s", "timeout: -1s", "timeout: 1e9h", "retry: {attempts: 3}", "webhook: {signed: true}", "after: {jobs: [tick]}", "after: {jobs: [generated]}",
				"group: grp", "group: none", "calendars: [cal]", "params: [{name: p, type: int}]", "env: {A: b}", "env: {A: 1}", "limits: {memory: 64Mi}", "steps: [{command: [x]}]", "x: y", "count: 99999999999999999999",
			},
			"Group": {"mode: failover", "mode: x", "maxConcurrent: 3", "ordered: true", "pin: [n1]"}, "HostGroup": {"match: 'web*'", "match: '@generated'", "match: ''"},
			"Calendar": {"closed: ['12-25 x']", "closed: ['99-99']", "weekdays: [MON-FRI]", "ics: x", "timeZone: Asia/Tokyo"}, "Script": {"source: x", "source: ''", "interpreter: [sh]", "category: c"},
			"Role": {"rules: [{verbs: [read], resources: [jobs]}]", "rules: []", "rules: [{verbs: [fly]}]"}, "RoleBinding": {"role: viewer", "role: none", "subjects: [{kind: user, name: ann}]", "subjects: []"},
		}[kind]
		if len(lines) == 0 {
			continue
		}
		if r.IntN(5) > 0 {
			b.WriteString("  " + lines[0] + "\n") // which is right by itself, as a rule
		}
		for range r.IntN(3) {
			b.WriteString("  " + pick(lines...) + "\n")
		}
	}
	return []byte(b.String())
}
