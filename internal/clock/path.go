package clock

import (
	"errors"
	"time"
)

// ErrDoubtful is why a clock is not read whose node says that it is in doubt.
var ErrDoubtful = errors.New("its clock has stepped and does not count")

// drift is how fast two clocks may drift apart: what keeps clocks in time slews
// them by no more than 500 ppm.
const drift = 0.0005

// Reading is where another's clock has its origin: the wall clock's time, in
// nanoseconds since the Unix epoch, at the zero of this machine's monotonic clock.
type Reading struct {
	Origin int64
	// Err is how far the origin may be off, either way.
	Err time.Duration
}

// Trip is the reading of a round trip: wall is what the other's clock showed
// between sent and received, which are by our monotonic clock.
func Trip(wall int64, sent, received time.Duration) Reading {
	half := (received - sent) / 2
	return Reading{Origin: wall - int64(sent+half), Err: half}
}

// apart reports whether two readings cannot be of one clock.
func (r Reading) apart(o Reading) bool {
	return max(r.Origin-o.Origin, o.Origin-r.Origin) > int64(r.Err+o.Err)
}

// trips is of how many round trips the best counts.
const trips = 8

// Path gathers the readings of one other clock. The zero value knows nothing. It
// is not safe for use by several goroutines.
type Path struct {
	last []taken
}

type taken struct {
	Reading
	at time.Duration
}

func (t taken) aged(now time.Duration) Reading {
	return Reading{t.Origin, t.Err + time.Duration(float64(now-t.at)*drift)}
}

// Take takes a reading made at a moment of our monotonic clock. One that no earlier
// one can agree with is of a clock that has stepped: the earlier ones are dropped.
func (p *Path) Take(r Reading, at time.Duration) {
	if best, ok := p.Best(at); ok && best.apart(r) {
		p.last = p.last[:0]
	}
	if len(p.last) == trips {
		p.last = append(p.last[:0], p.last[1:]...)
	}
	p.last = append(p.last, taken{r, at})
}

// Best returns the reading with the least error, as of now. It reports false when
// there is none.
func (p *Path) Best(now time.Duration) (Reading, bool) {
	var best Reading
	for i, t := range p.last {
		if r := t.aged(now); i == 0 || r.Err < best.Err {
			best = r
		}
	}
	return best, len(p.last) > 0
}
