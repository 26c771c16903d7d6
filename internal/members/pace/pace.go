// Package pace works out how fast the members of a cluster's own etcd may call one another
// lost, and for how long leases of nodes have to last, from the round trips between them.
// It does nothing by itself.
package pace

import (
	"fmt"
	"time"
)

// The defaults fit members that are up to 60 ms of round trip apart.
const (
	DefaultHeartbeat = 100 * time.Millisecond
	DefaultElection  = time.Second
)

// The bounds of etcd, and of what makes sense.
const (
	LeastHeartbeat, MostHeartbeat = 10 * time.Millisecond, 5 * time.Second
	LeastElection, MostElection   = 100 * time.Millisecond, 50 * time.Second
)

const (
	// heartbeats is how many heartbeats there have to be in an election timeout at least,
	// and usualHeartbeats how many there are where there is a choice.
	heartbeats, usualHeartbeats = 5, 10
	// elections is how many elections a lease has to outlast, or nodes lose theirs
	// whenever the lead changes; usualRest is what is added where there is a choice.
	elections, usualRest = 2, time.Second
	// step is what values that are worked out are rounded up to.
	step = 50 * time.Millisecond
)

// Pace is how fast members call one another lost, and how long leases of nodes last.
type Pace struct {
	Heartbeat, Election, LeaseTTL time.Duration
}

// ElectionFor is the shortest election timeout for a heartbeat.
func ElectionFor(heartbeat time.Duration) time.Duration { return heartbeats * heartbeat }

// LeaseFor is the shortest lease for an election timeout, in whole seconds as etcd has it.
func LeaseFor(election time.Duration) time.Duration { return upTo(elections*election, time.Second) }

// TooShortALease tells why the lease is too short for the election; empty: it is not.
func (p Pace) TooShortALease() string {
	least := LeaseFor(p.Election)
	if p.LeaseTTL >= least {
		return ""
	}
	return fmt.Sprintf("%v is too short where members wait %v before they elect another to lead: nodes would lose their shards by that; give %v or more, or a shorter etcdElection", p.LeaseTTL, p.Election, least)
}

// For returns the pace for members of which the furthest two are so far apart: no shorter
// than the defaults, for a fast network does not make a slow disk faster.
func For(roundTrip time.Duration) Pace {
	p := Pace{Heartbeat: max(DefaultHeartbeat, upTo(roundTrip*3/2, step))}
	p.Election = max(DefaultElection, upTo(usualHeartbeats*max(p.Heartbeat, roundTrip), step))
	p.LeaseTTL = max(5*time.Second, upTo(elections*p.Election+usualRest, time.Second))
	return p
}

// Bears tells why this pace is too fast for members that are so far apart; empty: it is
// not.
func (p Pace) Bears(roundTrip time.Duration) string {
	switch {
	case p.Heartbeat < roundTrip:
		return fmt.Sprintf("a heartbeat of %v is shorter than the round trip", p.Heartbeat)
	case p.Election < heartbeats*roundTrip:
		return fmt.Sprintf("an election timeout of %v is less than %d round trips", p.Election, heartbeats)
	}
	return p.TooShortALease()
}

// upTo rounds up to a multiple of unit.
func upTo(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }
