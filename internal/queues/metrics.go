package queues

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are of all queues together: whoever may read /metrics need not have the right
// to know which queues there are.
type metrics struct {
	settled *prometheus.CounterVec
	waiting prometheus.Gauge
}

// newMetrics makes the metrics of a Dispatch and registers them, unless reg is nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_queue_items_total",
			Help: "Items that workers gave back, by what became of them: done, cancelled, retried, dead, lost, snoozed, late.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_queue_waiting_items", Help: "Items that wait, of the queues whose dispatcher is here.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.settled, m.waiting} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("queues: register metric: %w", err)
		}
	}
	return m, nil
}
