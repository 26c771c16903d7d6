package scheduler

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/job"
)

// metrics are the engine's.
type metrics struct {
	fires         *prometheus.CounterVec
	dispatched    prometheus.Counter               // of fires
	ended         map[job.State]prometheus.Counter // of fires
	lateness      prometheus.Histogram
	owned         prometheus.Gauge
	inFlight      prometheus.Gauge
	commitSeconds prometheus.Histogram
	commitRetries prometheus.Counter
	clockSteps    prometheus.Counter
	takeovers     *prometheus.CounterVec
	alerts        *prometheus.CounterVec
	aside         prometheus.Gauge
	loopDelay     prometheus.Histogram
	turnedBack    prometheus.Counter
	lost          prometheus.Counter
	behind        prometheus.Gauge
	behindCommits prometheus.Counter
}

// endedAs counts a run that has ended.
func (m *metrics) endedAs(s job.State) {
	if c := m.ended[s]; c != nil {
		c.Inc()
		return
	}
	m.fires.WithLabelValues(string(s)).Inc() // of a later release
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		fires: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_fires_total", Help: "Fires dispatched, and runs ended, by result.",
		}, []string{"result"}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_fire_lateness_seconds", Help: "How long after its instant a fire was dispatched.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 3600},
		}),
		owned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_shards_owned", Help: "Shards that this node owns.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_runs_in_flight", Help: "Committed runs of this node's shards that have not ended.",
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_seconds", Help: "Time of a shard's commit to etcd, retries included.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 14),
		}),
		commitRetries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_commit_retries_total", Help: "Commits tried again because the answer was not known.",
		}),
		clockSteps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_clock_steps_total", Help: "Steps of the wall clock that were noticed.",
		}),
		takeovers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_shard_changes_total", Help: "Shards gained and lost, by how.",
		}, []string{"how"}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_alerts_total", Help: "Runs that were late, missed, over their deadline, and jobs paused after failures, by kind.",
		}, []string{"kind"}),
		aside: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_jobs_set_aside", Help: "Jobs of this node's shards that cannot be planned.",
		}),
		loopDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_loop_delay_seconds", Help: "How long a shard that had something to do waited for its turn on a processor.",
			Buckets: prometheus.ExponentialBuckets(.0001, 2, 18),
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_tasks_lost_total", Help: "Tasks that ended as indeterminate because their minions were connected to no node.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_shards_behind", Help: "Shards of this node that plan nothing, since their view of jobs, pauses or groups lacks an edit.",
		}),
		behindCommits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_commits_behind_total", Help: "Commits that were made anew, since an edit came before them that their view lacked.",
		}),
	}
	m.turnedBack = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "carillon_cursors_turned_back_total", Help: "Shards that a wrong clock had planned far ahead, and that are planned from now on again.",
	})
	// To find them by their label takes as long as some fires.
	m.dispatched, m.ended = m.fires.WithLabelValues("dispatched"), map[job.State]prometheus.Counter{}
	for _, s := range job.States() {
		if s.Final() {
			m.ended[s] = m.fires.WithLabelValues(string(s))
		}
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.fires, m.lateness, m.owned, m.inFlight, m.commitSeconds, m.commitRetries, m.clockSteps, m.takeovers, m.alerts, m.aside, m.loopDelay, m.turnedBack, m.lost, m.behind, m.behindCommits,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
