package scheduler

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// numbers returns "0,1,2" up to n-1.
func numbers(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprint(i)
	}
	return strings.Join(parts, ",")
}

// aside returns why a job is set aside; empty: it is not.
func (b *bed) aside(j job.Job) string {
	b.t.Helper()
	r, err := b.client.Get(context.Background(), b.keys.Aside(j.Key()))
	if err != nil {
		b.t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	a, err := etcdkv.Decode[etcdkv.Aside](string(r.Kvs[0].Key), r.Kvs[0].Value)
	if err != nil || a.Job != j.UID && !a.Job.IsZero() {
		b.t.Fatalf("%+v, %v", a, err)
	}
	return a.Reason
}

// calendarOf stores a calendar.
func (b *bed) calendarOf(name string, spec job.CalendarSpec) {
	b.t.Helper()
	c := etcdkv.StoredCalendar{Schema: 1, Calendar: job.Calendar{Metadata: job.Metadata{Namespace: "t", Name: name}, Spec: spec}}
	b.place(b.keys.Calendar(c.Key()), c)
}

// TestI21_OneJobHoldsNoShardUp: jobs of which too much would have to be looked at,
// or which cannot be read, are set aside with the reason, and all others of
// their shard fire; each of their occurrences is recorded as skipped. They are
// back when what was wrong has changed.
func TestI21_OneJobHoldsNoShardUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.Shards = 1
	const event = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:%s\nEND:VEVENT\nEND:VCALENDAR\n"
	b.calendarOf("endless", job.CalendarSpec{ICS: fmt.Sprintf(event, "FREQ=YEARLY;BYHOUR="+numbers(24)+";BYMINUTE="+numbers(60)+";BYSECOND="+numbers(60))})
	b.calendarOf("shut", job.CalendarSpec{Closed: []string{"01-01..12-31 for ever"}})
	var windows []string
	for i := range 400 {
		windows = append(windows, fmt.Sprintf("%d * * * * * for 1s", i%60))
	}
	b.calendarOf("much", job.CalendarSpec{Windows: windows})
	with := func(spec job.Spec, moves bool, calendars ...string) job.Spec {
		if spec.Calendars = calendars; moves {
			spec.OnExcluded = job.ExcludedNext
		}
		return spec
	}
	often := every("500ms", job.OverlapAllow)
	jobs := map[string]job.Job{
		"cannot be used":         b.put("broken", with(often, false, "endless")),
		"cannot be found":        b.put("far", with(often, true, "shut")),
		"so much that comes":     b.put("many", with(often, false, "much", "much", "much")),
		"cannot be used: spec.i": b.put("both", with(often, true, "endless")),
	}
	unreadable := b.put("unreadable", job.Spec{Command: []string{"x"}, Schedules: []string{"no such thing"}})
	other := b.put("other", every("100ms", job.OverlapAllow))
	b.start("a")
	b.until("others fire", func() bool { return len(b.ended(other)) > 20 })
	b.until("the unreadable one is told of", func() bool { return strings.Contains(b.aside(unreadable), "it cannot be read") })
	for why, j := range jobs {
		b.until(j.Name+" is set aside", func() bool { return strings.Contains(b.aside(j), why) })
		b.until(j.Name+" is skipped", func() bool { return len(b.ended(j)) > 2 })
		for _, r := range b.ended(j) {
			if r.State != job.StateSkipped || !strings.Contains(r.Reason, why) {
				t.Errorf("%s: %s: %s", j.Name, r.State, r.Reason)
			}
		}
	}

	// What is wrong is mended: by the calendar, and by the job.
	b.calendarOf("endless", job.CalendarSpec{})
	far := jobs["cannot be found"]
	far.Spec = every("500ms", job.OverlapAllow)
	b.store(far)
	unreadable.Spec = every("500ms", job.OverlapAllow)
	b.store(unreadable)
	for _, j := range []job.Job{jobs["cannot be used"], far, unreadable} {
		b.until(j.Name+" is back", func() bool { return b.aside(j) == "" })
		b.until(j.Name+" runs", func() bool {
			return b.recorded(func(r *job.Run) bool { return r.FireID.Job == j.UID && r.State == job.StateSucceeded }) > 0
		})
	}
}
