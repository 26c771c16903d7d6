package agentpush

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/job"
)

type metrics struct {
	connected  prometheus.Gauge
	refused    prometheus.Counter
	dropped    prometheus.Counter
	offers     prometheus.Counter
	taken      prometheus.Counter
	ended      *prometheus.CounterVec
	reports    *prometheus.CounterVec
	lost       prometheus.Counter
	linkBreaks prometheus.Counter
	illegal    prometheus.Counter

	states map[job.State]prometheus.Counter
	other  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{Name: "carillon_minions_connected", Help: "Minions that are connected to this node."}),
		refused:   counter("carillon_minion_sessions_refused_total", "Sessions of minions that were refused."),
		dropped:   counter("carillon_topic_dropped_total", "Messages that newer ones pushed out of a full topic."),
		offers:    counter("carillon_offers_total", "Offers made to minions."),
		taken:     counter("carillon_messages_taken_total", "Messages that minions have taken."),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_messages_ended_total", Help: "Messages that ended on their way, by what became of them.",
		}, []string{"state"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_reports_total", Help: "Reports handed to this node's engine, by state.",
		}, []string{"state"}),
		lost:       counter("carillon_reports_lost_total", "Reports given up because no owner was found, or unreadable ones."),
		linkBreaks: counter("carillon_peer_link_breaks_total", "Links to peers that broke."),
		illegal:    counter("carillon_minion_frames_refused_total", "Frames of minions that were refused, because a field was out of its range."),
		states:     map[job.State]prometheus.Counter{},
	}
	for _, s := range job.States() {
		m.states[s] = m.reports.WithLabelValues(string(s))
	}
	m.other = m.reports.WithLabelValues("none") // answers about unknown tasks
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connected, m.refused, m.dropped, m.offers, m.taken, m.ended, m.reports, m.lost, m.linkBreaks, m.illegal} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("agentpush: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) report(s job.State) {
	if c := m.states[s]; c != nil {
		c.Inc()
		return
	}
	m.other.Inc()
}
