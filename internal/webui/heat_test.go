package webui

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// An hour shows the worst of it, in the job's zone; what lies ahead is planned.
func TestHeat(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 28, 12, 30, 0, 0, time.UTC) // the night after it, clocks change
	run := func(ago time.Duration, s job.State, n int) job.Run {
		return job.Run{ScheduledAt: now.Add(-ago), State: s, Count: n}
	}
	runs := []job.Run{
		run(time.Hour, job.StateSucceeded, 1), run(time.Hour, job.StateFailed, 2), run(3*time.Hour, job.StateSkipped, 118),
		run(24*time.Hour, job.StateSucceeded, 1), run(time.Minute, job.StateRunning, 1), run(400*time.Hour, job.StateFailed, 1),
	}
	spec := job.Spec{Schedules: []string{"30 3 * * *"}, TimeZone: "Europe/Berlin"}
	days := heat(job.Key{Namespace: "ops", Name: "one"}, &spec, runs, berlin, now)
	if len(days) != daysBack+1+daysAhead {
		t.Fatalf("%d days", len(days))
	}
	today := days[daysBack]
	for hour, want := range map[int]string{12: "bad", 10: "off", 13: "open", 3: ""} {
		if got := today.Hours[hour].Class(); got != want {
			t.Errorf("%d h: %q (%s), want %q", hour, got, today.Hours[hour].Words(), want)
		}
	}
	if h := today.Hours[12]; h.Words() != "2 not as they should be, 1 succeeded" || h.Mark() != "✗" {
		t.Errorf("the hour says %q, %q", h.Words(), h.Mark())
	}
	if days[daysBack-1].Hours[13].Class() != "good" {
		t.Error("yesterday's success is not there")
	}
	for i := 1; i <= daysAhead; i++ {
		if days[daysBack+i].Hours[3].Class() != "planned" {
			t.Errorf("%d days ahead nothing is planned", i)
		}
	}
	if heat(job.Key{}, &job.Spec{}, nil, berlin, now) != nil {
		t.Error("a job without runs and schedules has a map")
	}
}

// crowd is a control with a full page of jobs.
type crowd struct{ fake }

func (c crowd) JobPage(context.Context, api.JobQuery) (api.JobPage, error) {
	p := api.JobPage{Total: 100_000, NextCursor: "next"}
	for i := range rowsOfPage {
		j := c.view()
		j.Name = fmt.Sprintf("a-job-with-a-name-of-usual-length-%d", i)
		for k := range 5 {
			r := c.record()
			r.RunID = job.RunID(fmt.Sprintf("a%03d-%016x", i, 7919*(i*5+k)))
			j.Last = append(j.Last, r)
		}
		p.Jobs = append(p.Jobs, j)
	}
	return p, nil
}

// One open tab is refreshed every two seconds at most, and costs less than 1 MB a minute
// then; the page as a whole is less than 300 KB.
func TestOneOpenTabIsCheap(t *testing.T) {
	t.Parallel()
	u, err := New(Deps{Control: crowd{}, Sessions: &sessions{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	size := func(target string) (plain, packed int) {
		r := httptest.NewRequest(http.MethodGet, "/jobs", http.NoBody)
		r.Header.Set("HX-Target", target)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		plain = w.Body.Len()
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(w.Body.Bytes())
		_ = z.Close()
		return plain, b.Len()
	}
	if whole, _ := size(""); whole > 300_000 {
		t.Errorf("the page has %d bytes", whole)
	}
	if _, packed := size("list"); 30*packed > 1_000_000 {
		t.Errorf("a refresh has %d bytes, so that a tab takes %d a minute", packed, 30*packed)
	}
}
