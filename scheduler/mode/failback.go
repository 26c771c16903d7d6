package mode

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// failback is failover with a way back.
func failback() Mode {
	return Mode{
		Name:   "failback",
		Words:  "as failover, and the first choice gets the lock back once it has been healthy for the hold-off, which doubles each time it is lost again",
		Reads:  []string{"sites", "holdOff"},
		Holder: returns,
	}
}

func returns(s *Situation) Verdict {
	if s.Owner == "" || s.Failback {
		return stay(s)
	}
	ranked := s.ranked()
	for i := range ranked {
		n := &ranked[i]
		if n.ID == s.Owner {
			break
		}
		if n.Healthy == 0 {
			continue
		}
		wait := s.holdOff(n.ID)
		if at := n.Healthy + int64(wait); s.Now < at {
			return Verdict{Holder: s.Owner, Again: at, Reason: fmt.Sprintf("%s is preferred, and gets the lock when it has been healthy for %s", n.ID, wait)}
		}
		return Verdict{Holder: n.ID, Reason: fmt.Sprintf("it is preferred to %s and has been healthy for %s", s.Owner, seconds(s.Now-n.Healthy))}
	}
	return Verdict{Holder: s.Owner, Reason: "no node that is preferred to it is healthy"}
}

const (
	// maxDoublings bounds how often the hold-off doubles.
	maxDoublings = 6
	// quietFactor times the hold-off is how long a node must not flap to have
	// one flap forgotten.
	quietFactor = 10
)

// holdOff is how long a node must have been healthy to get the lock back: the
// group's hold-off, doubled for each flap after the first that is not
// forgotten yet.
func (s *Situation) holdOff(n job.NodeID) time.Duration {
	base := s.Spec.EffectiveHoldOff()
	flaps := 0
	for _, m := range s.Memory {
		if m.Node == n {
			flaps = Flaps(m, base, s.Now)
		}
	}
	return min(base<<min(max(flaps-1, 0), maxDoublings), job.MaxHoldOff)
}

// Flaps returns how many flaps are remembered now: one is forgotten per quiet
// time.
func Flaps(m Memory, holdOff time.Duration, now int64) int {
	quiet := max(quietFactor*int64(holdOff), int64(time.Second))
	return max(m.Flaps-int(max(now-m.LastFlap, 0)/quiet), 0)
}
