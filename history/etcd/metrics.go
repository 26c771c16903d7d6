package etcd

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	bytes      prometheus.Gauge
	segments   prometheus.Gauge
	dropped    *prometheus.CounterVec
	readBytes  prometheus.Counter
	unreadable prometheus.Counter
}

// newMetrics makes the metrics of a Store and registers them, unless reg is nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_history_etcd_bytes", Help: "Size of all segments of run records, as last counted by this node.",
		}),
		segments: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_history_etcd_segments", Help: "Segments of run records, as last counted by this node.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_history_etcd_dropped_segments_total",
			Help: "Segments deleted without a merge, by cause: garbage, cap.",
		}, []string{"cause"}),
		readBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_history_etcd_read_bytes_total", Help: "Bytes of segments read from etcd.",
		}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_history_etcd_unreadable_segments_total", Help: "Reads of segments that are damaged or of a newer release.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.bytes, m.segments, m.dropped, m.readBytes, m.unreadable} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}
