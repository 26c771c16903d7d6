package cli

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// lines is what a command has printed so far.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWatch: the list comes once, then what changes; a server that goes away is asked
// again, and what changed meanwhile is told.
func TestWatch(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.events = make(chan api.Topic)
	ctx, interrupt := context.WithCancel(t.Context())
	a, _ := testApp(f, []string{"get", "jobs", "-A", "-o", "name", "--watch"})
	var stdout, stderr lines
	a.out.w, a.errout = &stdout, &stderr
	ended := make(chan int, 1)
	go func() { ended <- a.main(ctx) }()
	printed := func(want string) {
		t.Helper()
		await.Until(t, "the lines\n"+want, func() bool { return stdout.String() == want })
	}
	printed("default/backup\nteam/report\n")
	f.change(func(f *fake) { f.jobs[1].Running = 7 })
	f.events <- api.TopicJobs
	printed("default/backup\nteam/report\nteam/report\n")
	f.change(func(f *fake) { f.jobs[0].Running = 7 })
	f.events <- api.TopicMinions // says nothing of jobs
	f.change(func(f *fake) { f.jobs = f.jobs[:1] })
	events := f.events
	f.change(func(f *fake) { f.events = make(chan api.Topic) })
	close(events)
	printed("default/backup\nteam/report\nteam/report\ndefault/backup\n")
	await.Until(t, "the note", func() bool { return strings.Contains(stderr.String(), "team/report is gone\n") })
	interrupt()
	if code := await.From(t, "the end", ended); code != exitInterrupted {
		t.Errorf("want exit code %d, got %d", exitInterrupted, code)
	}
}

func TestWatchPrintsTitlesOnce(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.events = make(chan api.Topic)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	a, _ := testApp(f, []string{"get", "hostgroups", "-w"})
	var stdout lines
	a.out.w = &stdout
	ended := make(chan int, 1)
	go func() { ended <- a.main(ctx) }()
	await.Until(t, "the list", func() bool { return strings.Count(stdout.String(), "\n") == 3 })
	for range 3 {
		f.events <- api.TopicRuns
	}
	interrupt()
	await.From(t, "the end", ended)
	if got := stdout.String(); strings.Count(got, "NAME") != 1 || strings.Count(got, "\n") != 3 {
		t.Errorf("what is as it was is printed again:\n%s", got)
	}
}

// TestWatchedRowsStandBelowOneAnother: later rows have the widths of the earlier ones.
func TestWatchedRowsStandBelowOneAnother(t *testing.T) {
	t.Parallel()
	var widths []int
	columns := []column[string]{
		{head: "NAME", cell: func(s string) string { return s }},
		{head: "LENGTH", cell: func(s string) string { return strconv.Itoa(len(s)) }},
	}
	var out strings.Builder
	for i, name := range []string{"a-long-name", "short", "one-that-is-longer", "x"} {
		if err := printRows(&out, []string{name}, columns, false, "", i == 0, &widths); err != nil {
			t.Fatal(err)
		}
	}
	const want = "NAME         LENGTH\na-long-name  11\nshort        5\none-that-is-longer  18\nx                   1\n"
	if out.String() != want {
		t.Errorf("want\n%s, got\n%s", want, out.String())
	}
}

func TestWatchEndsWithAServerThatNeverAnswered(t *testing.T) {
	t.Parallel()
	if got := carillon(t.Context(), nil, "", "get", "jobs", "-w", "--server", closedPort(t)); got.code != exitUnavailable || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("got\n%s", got)
	}
}
