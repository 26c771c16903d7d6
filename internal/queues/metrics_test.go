package queues

import (
	"fmt"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Who may read /metrics learns what all queues do together, and not which there are.
func TestMetricsNameNoQueue(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	reg := prometheus.NewRegistry()
	reg.MustRegister(c.m.met.settled, c.m.met.waiting)
	values := func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetName() + "=" + l.GetValue()
				}
				out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return out
	}
	want := func(want map[string]float64) {
		t.Helper()
		await.Missing(t, func() string {
			if got := values(); !maps.Equal(got, want) {
				return fmt.Sprintf("metrics are %v, want %v", got, want)
			}
			return ""
		})
	}
	c.put(queue.Item{ID: "x"})
	done := c.order("x", 1)
	c.put(queue.Item{ID: "y"}, queue.Item{ID: "z"})
	c.answer(done, job.StateSucceeded, 0)
	c.acked(done)
	c.order("y", 1)
	want(map[string]float64{"carillon_queue_items_total result=done": 1, "carillon_queue_waiting_items": 1})

	uid, err := job.NewQueueUID()
	if err != nil {
		t.Fatal(err)
	}
	c.queue.UID, c.queue.Name = uid, "other"
	c.describe(nil)
	if c.q, err = Open(c.keys, c.client, zaptest.NewLogger(t), &c.queue); err != nil {
		t.Fatal(err)
	}
	c.put(queue.Item{ID: "a"}, queue.Item{ID: "b"})
	want(map[string]float64{"carillon_queue_items_total result=done": 1, "carillon_queue_waiting_items": 3})
	c.stop()
	want(map[string]float64{"carillon_queue_items_total result=done": 1, "carillon_queue_waiting_items": 0})
}
