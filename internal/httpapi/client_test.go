package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// TestClientHasEachOperation calls each method of each part of the client. The API takes
// what it sends, and no operation of the API is without a method.
func TestClientHasEachOperation(t *testing.T) {
	t.Parallel()
	behind := serve(t, Config{}, Deps{Control: &fakeControl{}})
	held, _ := documents.Load(behind)
	doc, _ := held.(*huma.OpenAPI)

	var mu sync.Mutex
	asked := map[string]bool{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		op := operationOf(doc, r)
		if op == nil {
			t.Errorf("%s %s is no operation of the API", r.Method, r.URL.Path)
			return
		}
		asked[op.OperationID] = true
		if op.OperationID == "watch-events" { // its answer would not end
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		behind.Config.Handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	c, err := client.New(client.Config{Server: front.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	parts := reflect.ValueOf(c).Elem()
	for i := range parts.NumField() {
		if !parts.Type().Field(i).IsExported() {
			continue
		}
		part := parts.Field(i)
		for m := range part.NumMethod() {
			name := parts.Type().Field(i).Name + "." + part.Type().Method(m).Name
			out := part.Method(m).Call(argumentsOf(t, part.Method(m).Type()))
			err, _ := out[len(out)-1].Interface().(error)
			refused, ok := err.(*client.Error) //nolint:errorlint // it is not wrapped
			// What the fake does not have panics, which is an answer of 500: it got there.
			if err != nil && (!ok || refused.Status < 500) {
				t.Errorf("%s: %v, %+v", name, err, refused)
			}
		}
	}
	without := []string{
		"call-webhook", // it is for others' programs, with a token in place of all else
	}
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil && !asked[op.OperationID] && !slices.Contains(without, op.OperationID) {
				t.Errorf("no method of the client asks for %s (%s)", op.OperationID, path)
			}
		}
	}
}

// argumentsOf returns arguments that are good for any method of the client.
func argumentsOf(t *testing.T, method reflect.Type) []reflect.Value {
	signed := []byte(`{"manifest":"e30=","signatures":[]}`)
	var args []reflect.Value
	for i := range method.NumIn() {
		in := method.In(i)
		v := reflect.New(in).Elem()
		switch {
		case in == reflect.TypeFor[context.Context]():
			v = reflect.ValueOf(t.Context())
		case in == reflect.TypeFor[job.Key]():
			v = reflect.ValueOf(job.Key{Namespace: "ops", Name: "one"})
		case in == reflect.TypeFor[job.ScriptRef]():
			v = reflect.ValueOf(job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "one"}})
		case in == reflect.TypeFor[job.RunID]():
			v = reflect.ValueOf(someFire.RunID())
		case in == reflect.TypeFor[time.Time]():
			v = reflect.ValueOf(time.Unix(1_800_000_000, 0).UTC())
		case in == reflect.TypeFor[job.Token]():
			v = reflect.ValueOf(job.Token{Epoch: 1, Revision: 2})
		case in == reflect.TypeFor[api.QueueOrder]():
			v = reflect.ValueOf(api.QueuePause)
		case in == reflect.TypeFor[[]api.NewItem]():
			v = reflect.ValueOf([]api.NewItem{{Payload: "one"}})
		case in == reflect.TypeFor[plan.Format]():
			v = reflect.ValueOf(plan.JSON)
		case in.Kind() == reflect.String:
			v.SetString("one")
		case in.Kind() == reflect.Int, in == reflect.TypeFor[int64]():
			v.SetInt(1)
		case in == reflect.TypeFor[time.Duration]():
			v.SetInt(int64(time.Minute))
		case in == reflect.TypeFor[[]byte]():
			v.SetBytes([]byte("kind: Job"))
		case in.Kind() == reflect.Func:
			v = reflect.MakeFunc(in, func([]reflect.Value) []reflect.Value { return nil })
		case in == reflect.TypeFor[api.Paused]():
			v = reflect.ValueOf(api.Paused{Scope: api.ScopeAll})
		case in == reflect.TypeFor[api.APITokenRequest]():
			v = reflect.ValueOf(api.APITokenRequest{Name: "one", TTL: time.Minute})
		case in == reflect.TypeFor[api.CanIRequest]():
			v = reflect.ValueOf(api.CanIRequest{Verb: "run", Resource: "jobs"})
		case in == reflect.TypeFor[api.UpdateRequest]():
			v = reflect.ValueOf(api.UpdateRequest{Signed: signed, Groups: []api.UpdateGroup{{Name: "all", Match: "*"}}})
		}
		args = append(args, v)
	}
	return args
}

// TestClientErrors: an answer that is an error is told as package job names it.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, Deps{Control: &fakeControl{err: job.ErrNotFound}})
	c, err := client.New(client.Config{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Jobs.Get(t.Context(), job.Key{Namespace: "ops", Name: "one"}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("a job that is not there: %v", err)
	}
	if _, err := client.New(client.Config{Server: "ftp://x"}); err == nil {
		t.Error("a server that speaks no HTTP is taken")
	}
}
