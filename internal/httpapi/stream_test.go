package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

func TestOutput(t *testing.T) {
	t.Parallel()
	f := &fakeControl{
		chunks: []api.OutputLine{{Stream: 1, Data: []byte("out")}, {Stream: 2, Data: []byte{0xff, '\n'}}},
		outErr: errors.New("minion web1 is gone"),
	}
	s := serve(t, Config{}, Deps{Control: f})
	resp, text := ask(t, s, "GET", "/v1/runs/abcd-0123456789abcdef/output?minion=web1&follow=true", "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	if f.minion != "web1" || !f.follow {
		t.Errorf("control got minion %q, follow %v", f.minion, f.follow)
	}
	want := []streamLine{
		{Minion: "web1", Stream: 1, Data: []byte("out")},
		{Minion: "web1", Stream: 2, Data: []byte{0xff, '\n'}},
		{Error: "minion web1 is gone"},
	}
	var got []streamLine
	for line := range strings.Lines(text) {
		got = append(got, decoded[streamLine](t, line))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	if !strings.HasPrefix(text, `{"minion":"web1","stream":1,"data":"b3V0"}`+"\n") {
		t.Errorf("first line: %s", text)
	}
}

// streamLine is any line of a stream of output.
type streamLine struct {
	Minion  job.MinionID
	Stream  int
	Data    []byte
	LeftOut int64
	Error   string
}

func TestOutputOfNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, Deps{Control: &fakeControl{}})
	resp, text := ask(t, s, "GET", "/v1/runs/abcd-0123456789abcdef/output", "")
	if resp.StatusCode != http.StatusOK || text != "" || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("got %d %q %s", resp.StatusCode, text, resp.Header.Get("Content-Type"))
	}
}

// open begins a stream that ends with the returned function.
func open(t *testing.T, url string, headers ...string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
	})
	return resp, cancel
}

func TestOutputIsFlushedAndEndsWithItsClient(t *testing.T) {
	t.Parallel()
	f := &fakeControl{chunks: []api.OutputLine{{Stream: 1, Data: []byte("x")}}, block: true, ended: make(chan struct{})}
	s := serve(t, Config{}, Deps{Control: f})
	resp, leave := open(t, s.URL+"/v1/runs/abcd-0123456789abcdef/output?follow=true")
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !json.Valid([]byte(line)) {
		t.Fatalf("first line %q: %v", line, err)
	}
	leave()
	await.From(t, "the end of the stream, whose client has left", f.ended)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	changes := make(chan api.Change)
	f := &fakeControl{changes: changes}
	s := serve(t, Config{Heartbeat: 5 * time.Millisecond}, Deps{Control: f})
	resp, _ := open(t, s.URL+"/v1/events", "Last-Event-ID", "x-3")
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	r := bufio.NewReader(resp.Body)
	until := func(want string) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			if line == want+"\n" {
				return
			}
		}
	}
	until(": alive")
	changes <- api.Change{Topic: api.TopicRuns, Names: []string{"a/b"}, ID: "x-7"}
	until("event: change")
	until("id: x-7")
	until(`data: {"topic":"runs","names":["a/b"]}`)
	f.mu.Lock()
	since := f.since
	f.mu.Unlock()
	if since != "x-3" {
		t.Errorf("goes on from %q", since)
	}
	close(changes)
	for {
		if _, err := r.ReadString('\n'); err != nil {
			break // the node goes, and the stream ends
		}
	}
}
