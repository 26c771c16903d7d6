package chain

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the sealer's own.
type metrics struct {
	waiting prometheus.Gauge
	sealed  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_audit_waiting_records", Help: "Audit records that this node is to seal and has not yet; 0 on nodes that do not seal.",
		}),
		sealed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_audit_sealed_records_total", Help: "Audit records that this node has sealed.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.waiting, m.sealed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("chain: register metrics: %w", err)
		}
	}
	return m, nil
}
