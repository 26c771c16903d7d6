package worker

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// BenchmarkTasks runs /bin/true from offer to acknowledged report.
func BenchmarkTasks(b *testing.B) {
	n, dir := newNode(b), dataDir(b)
	m, stop := start(b, n, dir, func(c *Config) { c.MaxRunning = 64 })
	n.connected()
	orders := make([]*job.Order, b.N)
	for i := range orders {
		orders[i] = newOrder("/bin/true")
		orders[i].NotAfter = time.Now().Add(time.Hour)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i += 64 {
		n.order(orders[i:min(i+64, b.N)]...)
	}
	n.await("all reports", func() bool {
		ended := 0
		for i := range n.reports {
			if n.reports[i].State.Final() {
				ended++
			}
		}
		return ended >= b.N
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	poll(b, "acknowledgements", func() bool { return m.Status().Unacked == 0 })
	stop()
}

// BenchmarkJournal journals a task's four records, 64 tasks to a sync.
func BenchmarkJournal(b *testing.B) {
	j, err := openTestJournal(b.TempDir() + "/journal")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.log.Close() }()
	o := newOrder("/bin/true")
	key := keyOf(o.Task)
	r := &job.Report{Task: o.Task, Known: true, State: job.StateSucceeded, Exit: &job.Exit{}, StartedAt: time.Now(), EndedAt: time.Now()}
	b.ResetTimer()
	for i := range b.N {
		_, _ = j.add(&record{Kind: kindAccepted, Order: o})
		_, _ = j.add(&record{Kind: kindIntent, Task: &key, Instance: "i", Boot: "b"})
		_, _ = j.add(&record{Kind: kindStarted, Task: &key, PID: 1, At: 1})
		batch, _ := j.add(&record{Kind: kindEnded, Report: r})
		if i%64 == 63 || i == b.N-1 {
			if err := j.sync(batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
