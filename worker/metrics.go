package worker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/job"
)

// metrics are what a minion counts.
type metrics struct {
	tasks      *prometheus.CounterVec
	refused    prometheus.Counter
	unsigned   *prometheus.CounterVec
	older      prometheus.Counter
	sessions   prometheus.Counter
	syncTime   prometheus.Histogram
	startDelay prometheus.Histogram
}

// newMetrics registers the minion's metrics; gauges read the minion itself.
func newMetrics(reg prometheus.Registerer, m *Minion) (*metrics, error) {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	x := &metrics{
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_minion_tasks_total", Help: "Tasks that ended on this minion, by state.",
		}, []string{"state"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_minion_orders_known_total", Help: "Orders that the minion had already and did not start again.",
		}),
		unsigned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_minion_orders_refused_total", Help: "Orders, cancels and questions that were refused because of their signature: missing, or wrong.",
		}, []string{"signature"}),
		older: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_minion_orders_older_total", Help: "Orders that were refused because they are of an older epoch than the minion has seen.",
		}),
		sessions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_minion_sessions_total", Help: "Sessions with nodes that were opened.",
		}),
		syncTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_minion_journal_sync_seconds", Help: "Time until a batch of journal records is durable.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		startDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_minion_start_lateness_seconds", Help: "Time from the scheduled instant to the start of the command, by this host's clock.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
	}
	for _, s := range job.States() {
		if s.Final() {
			x.tasks.WithLabelValues(string(s))
		}
	}
	for _, why := range []string{signatureMissing, signatureWrong} {
		x.unsigned.WithLabelValues(why)
	}
	gauge := func(name, help string, value func(Status) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(m.Status())) })
	}
	for _, c := range []prometheus.Collector{
		x.tasks, x.refused, x.unsigned, x.older, x.sessions, x.syncTime, x.startDelay,
		gauge("carillon_minion_tasks_running", "Tasks that run now.", func(s Status) int { return s.Running }),
		gauge("carillon_minion_tasks_waiting", "Accepted tasks that wait for a place.", func(s Status) int { return s.Waiting }),
		gauge("carillon_minion_reports_unacked", "Final reports that no node has acknowledged.", func(s Status) int { return s.Unacked }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carillon_minion_signatures_demanded", Help: "1 while orders without the signature of a node are refused.",
		}, func() float64 { return m.signing.demands() }),
		gauge("carillon_minion_troubles", "What keeps the minion from working well, such as a full journal.", func(s Status) int { return len(s.Trouble) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carillon_minion_clock_skew_seconds", Help: "How far this host's clock is ahead of the node's.",
		}, func() float64 { return m.Status().ClockSkew.Seconds() }),
		gauge("carillon_minion_connected", "1 while the minion has a session with a node.", func(s Status) int {
			if s.Node != "" {
				return 1
			}
			return 0
		}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return x, nil
}
