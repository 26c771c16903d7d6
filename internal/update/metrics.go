package update

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/internal/release"
)

// metrics tell how far the plan is.
type metrics struct{ minions *prometheus.GaugeVec }

// newMetrics registers the metrics of a controller. What the two keys tell every
// node tells; what minions are at only the node does that looks after the plan.
func newMetrics(reg prometheus.Registerer, c *Controller) (*metrics, error) {
	m := &metrics{minions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "carillon_update_minions", Help: "Minions of the plan that brings them to a release, by where they are; on the node that looks after it, 0 on others.",
	}, []string{"phase"})}
	m.show(nil)
	if reg == nil {
		return m, nil
	}
	for _, metric := range []prometheus.Collector{
		m.minions,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carillon_update_release", Help: "The release that the plan brings minions to; 0 while there is none, or it is stopped.",
		}, func() float64 {
			p, _ := c.known()
			if p.value.Off {
				return 0
			}
			return float64(p.value.Release)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carillon_update_halted", Help: "1 while nobody is told because more minions have failed than are tolerated.",
		}, func() float64 {
			if p, s := c.known(); !p.value.Off && s.value.Release == p.value.Release && s.value.Hold {
				return 1
			}
			return 0
		}),
	} {
		if err := reg.Register(metric); err != nil {
			return nil, fmt.Errorf("update: register metrics: %w", err)
		}
	}
	return m, nil
}

// show tells where the minions of all groups are; without groups, that none is anywhere.
func (m *metrics) show(groups []Group) {
	for _, phase := range release.Phases() {
		n := 0
		for _, g := range groups {
			n += g.Phases[phase]
		}
		m.minions.WithLabelValues(string(phase)).Set(float64(n))
	}
}
