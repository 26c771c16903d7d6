package queue

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	ready, delayed prometheus.Gauge
	claims         *prometheus.CounterVec
}

// newMetrics makes the metrics of a Queue and registers them, unless reg is nil.
func newMetrics(reg prometheus.Registerer, namespace, typ string) (*metrics, error) {
	labels := prometheus.Labels{"namespace": namespace, "type": typ}
	m := &metrics{
		ready: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_queue_ready_items", Help: "Items that may be claimed, as this dispatcher knows them.", ConstLabels: labels,
		}),
		delayed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_queue_delayed_items", Help: "Items that wait for their time, as this dispatcher knows them.", ConstLabels: labels,
		}),
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_queue_claims_total", ConstLabels: labels,
			Help: "Claims, by what became of them on this node: claimed, done, failed, dead, extended, expired, lost.",
		}, []string{"result"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.ready, m.delayed, m.claims} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}
