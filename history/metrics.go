package history

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	records *prometheus.CounterVec
	seconds prometheus.Histogram
}

// newMetrics makes the metrics of a Sink and registers them, unless reg is nil.
func newMetrics(reg prometheus.Registerer, load func() (int, int64)) (*metrics, error) {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_history_records_total",
			Help: "Run records handed to history, by result: written, failed, refused.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "carillon_history_append_seconds",
			Help:    "Time that one batch of run records took to become durable.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
	}
	if reg == nil {
		return m, nil
	}
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_history_pending_records",
		Help: "Run records in memory that are not durable yet.",
	}, func() float64 { n, _ := load(); return float64(n) })
	pendingBytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_history_pending_bytes",
		Help: "Approximate size of the run records in memory that are not durable yet.",
	}, func() float64 { _, b := load(); return float64(b) })
	for _, c := range []prometheus.Collector{m.records, m.seconds, pending, pendingBytes} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}
