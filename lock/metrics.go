package lock

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	renew  prometheus.Histogram
	margin prometheus.Gauge
}

// newMetrics makes the metrics of a session. Sessions of one process share them.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		renew: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "carillon_lease_renew_seconds",
			Help:    "How long a lease renewal took, from sending it to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .5, 1, 2},
		}),
		margin: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_lease_trust_margin_seconds",
			Help: "How long the lease could still be trusted when the last renewal was tried or answered.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	var known prometheus.AlreadyRegisteredError
	switch err := reg.Register(m.renew); {
	case errors.As(err, &known):
		m.renew, _ = known.ExistingCollector.(prometheus.Histogram)
	case err != nil:
		return nil, err
	}
	switch err := reg.Register(m.margin); {
	case errors.As(err, &known):
		m.margin, _ = known.ExistingCollector.(prometheus.Gauge)
	case err != nil:
		return nil, err
	}
	return m, nil
}
