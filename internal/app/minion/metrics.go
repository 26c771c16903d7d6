package minion

import (
	"errors"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/internal/release"
)

// register registers what tells of the releases here. A minion that does not
// update itself tells its own number only.
func (u *updater) register(reg prometheus.Registerer) error {
	gauge := func(name, help string, value func(*release.State) float64) error {
		return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if u.in == nil {
				return value(&release.State{})
			}
			s, err := u.in.State()
			if err != nil {
				return math.NaN() // facts log it
			}
			return value(&s)
		}))
	}
	err := gauge("carillon_minion_release", "The release that the minion has confirmed, or its own program's number; 0: unknown.", func(s *release.State) float64 {
		return float64(u.release(s))
	})
	if u.in == nil {
		return err
	}
	return errors.Join(err,
		gauge("carillon_minion_releases_rolled_back", "Releases whose trial did not end well here, as far as is remembered.", func(s *release.State) float64 {
			return float64(len(s.Failures))
		}),
		reg.Register(u.givenUp),
	)
}

// newGivenUp returns the counter of what is given up before it is tried.
func newGivenUp() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "carillon_minion_releases_given_up_total", Help: "Releases that this process gave up before a trial, such as ones that nobody trusted has signed.",
	})
}
