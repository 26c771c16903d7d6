package attack

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// count returns "0,1,2" up to n-1.
func count(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprint(i)
	}
	return strings.Join(parts, ",")
}

// TestOneScheduleStallsNobody: a calendar that would keep its shard busy for
// minutes, or end the process, is refused; one that is stored already sets its
// jobs aside, with the reason, and all others of the shard fire.
func TestOneScheduleStallsNobody(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1", "--shards", "1")
	rules := []string{
		"FREQ=YEARLY;BYHOUR=" + count(24) + ";BYMINUTE=" + count(60) + ";BYSECOND=" + count(60),
		"FREQ=YEARLY;BYEASTER=400",
		"FREQ=DAILY;INTERVAL=9223372036854775807",
	}
	for i, rule := range rules {
		ics := "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:19700101T000000Z\nRRULE:" + rule + "\nEND:VEVENT\nEND:VCALENDAR\n"
		text := fmt.Sprintf("apiVersion: carillon/v1\nkind: Calendar\nmetadata: {namespace: team, name: c%d}\nspec:\n  ics: %q\n", i, ics)
		if r := n.apply(t, text); r.code == 0 || !strings.Contains(r.stderr, "spec.ics: event in line 2: RRULE") {
			t.Errorf("%.40s: exit code %d: %s", rule, r.code, r.stderr)
		}
		stored := etcdkv.StoredCalendar{Schema: etcdkv.Schema, Calendar: job.Calendar{
			Metadata: job.Metadata{Namespace: "team", Name: fmt.Sprintf("c%d", i)}, Spec: job.CalendarSpec{ICS: ics},
		}}
		value, err := etcdkv.Encode(stored)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.cluster.etcd.Put(context.Background(), n.cluster.keys.Calendar(stored.Key()), value); err != nil {
			t.Fatal(err)
		}
		n.apply(t, fmt.Sprintf(`
apiVersion: carillon/v1
kind: Job
metadata: {namespace: team, name: stalls%d}
spec:
  schedules: ["@hourly"]
  calendars: [c%d]
  onExcluded: next
  command: ["true"]
`, i, i)).must(t)
	}
	n.apply(t, `
apiVersion: carillon/v1
kind: Job
metadata: {namespace: team, name: other}
spec:
  schedules: ["@every 1s"]
  command: ["true"]
`).must(t)
	await.Until(t, "another job of the shard fires", func() bool {
		return strings.Contains(n.carillon(t, "runs", "-n", "team", "other").stdout, "other")
	})
	for i := range rules {
		name := fmt.Sprintf("stalls%d", i)
		await.Until(t, name+" is set aside", func() bool {
			return strings.Contains(n.carillon(t, "get", "job", "-n", "team", name).stdout, "set aside")
		})
		if text := n.carillon(t, "describe", "job", "-n", "team", name).must(t); !strings.Contains(text, fmt.Sprintf("its calendar team/c%d cannot be used: spec.ics", i)) {
			t.Errorf("describe does not tell why:\n%s", text)
		}
		if text := n.carillon(t, "doctor").stdout; !strings.Contains(text, "job team/"+name+" is set aside") {
			t.Errorf("doctor does not tell:\n%s", text)
		}
	}
	if res, err := n.get("/metrics"); err != nil || !strings.Contains(res.body, "carillon_jobs_set_aside 3") {
		t.Errorf("the metric does not tell: %v", err)
	}
}
