package httpapi

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// documents has the OpenAPI document of each server of the tests.
var documents sync.Map // a server's own would not reach what asks it

// isDeclared holds an answer that a test got against the document of the API:
// the status, the media type, and every member of the body.
func isDeclared(t *testing.T, s *httptest.Server, resp *http.Response, body []byte) {
	t.Helper()
	held, ok := documents.Load(s)
	if !ok {
		return
	}
	doc, _ := held.(*huma.OpenAPI)
	where := fmt.Sprintf("%s %s: answer %d", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode)
	op := operationOf(doc, resp.Request)
	if op == nil {
		return // health, metrics, and what there is not
	}
	declared := op.Responses[strconv.Itoa(resp.StatusCode)]
	if declared == nil {
		declared = op.Responses["default"]
	}
	if declared == nil {
		t.Errorf("%s is not in the document", where)
		return
	}
	if len(body) == 0 {
		return
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	media := declared.Content[kind]
	if err != nil || media == nil {
		t.Errorf("%s: the media type %q is not in the document", where, kind)
		return
	}
	if kind == "application/x-ndjson" || !strings.HasSuffix(kind, "json") {
		return // a stream
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	var res huma.ValidateResult
	huma.Validate(doc.Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, &res)
	for _, err := range res.Errors {
		t.Errorf("%s is not as in the document: %v\n%s", where, err, body)
	}
}

// operationOf returns the operation that took a request; nil: none in the document.
func operationOf(doc *huma.OpenAPI, r *http.Request) *huma.Operation {
	mux := http.NewServeMux()
	ops := map[string]*huma.Operation{}
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				ops[method+" "+path] = op
				mux.Handle(method+" "+path, http.NotFoundHandler())
			}
		}
	}
	_, pattern := mux.Handler(r)
	return ops[pattern]
}
