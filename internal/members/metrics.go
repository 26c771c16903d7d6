package members

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/internal/members/roster"
)

// metric is one number that a member tells of itself.
type metric struct {
	desc *prometheus.Desc
	of   func(s *Server) float64
}

func gauge(name, help string, of func(s *Server) float64) metric {
	return metric{prometheus.NewDesc("carillon_etcd_member_"+name, help, nil, nil), of}
}

// metrics are what is told while an etcd runs in the node. They are of this member alone:
// whether others answer, they tell of themselves.
func metrics() []metric {
	return []metric{
		gauge("has_leader", "Whether the etcd of this node knows a leader; without one nothing is written by way of it.", func(s *Server) float64 { return is(s.etcd.Server.Lead() != 0) }),
		gauge("is_leader", "Whether the etcd of this node leads.", func(s *Server) float64 { return is(roster.ID(s.etcd.Server.Lead()) == s.ID()) }),
		gauge("is_learner", "Whether the etcd of this node has no vote yet.", func(s *Server) float64 { return is(s.etcd.Server.IsLearner()) }),
		gauge("applied_index", "How far the etcd of this node has applied the log of the members.", func(s *Server) float64 { return float64(s.etcd.Server.AppliedIndex()) }),
		gauge("db_bytes", "How large the file of the etcd of this node is.", func(s *Server) float64 { return float64(s.etcd.Server.Backend().Size()) }),
		gauge("db_in_use_bytes", "How much of that file is in use; carillon etcd defrag gives the rest back.", func(s *Server) float64 { return float64(s.etcd.Server.Backend().SizeInUse()) }),
		gauge("quota_bytes", "How large that file may become; then nothing is written any more.", func(*Server) float64 { return roster.Quota }),
	}
}

func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// upDesc is of a number that nodes without an etcd have, too.
func upDesc() *prometheus.Desc {
	return prometheus.NewDesc("carillon_etcd_member_up", "Whether an etcd runs in this node; 0: it is a client of the members on other nodes.", nil, nil)
}

// Collector is a Keeper as metrics.
type Collector struct {
	k   *Keeper
	up  *prometheus.Desc
	all []metric
}

// Collector returns the Keeper as metrics.
func (k *Keeper) Collector() *Collector { return &Collector{k, upDesc(), metrics()} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.up
	for _, m := range c.all {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.read() {
		to <- m
	}
}

// read reads under the lock, so that the etcd is not stopped meanwhile; nothing waits in it.
func (c *Collector) read() []prometheus.Metric {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	up := c.k.running()
	out := []prometheus.Metric{prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, is(up))}
	if !up {
		return out
	}
	for _, m := range c.all {
		if v, ok := m.read(c.k.server); ok {
			out = append(out, prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, v))
		}
	}
	return out
}

// read reads a number. An etcd that was removed from the members, and has not ended yet,
// panics when it is asked for its place among them: it has none to tell.
func (m *metric) read(s *Server) (v float64, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return m.of(s), true
}
