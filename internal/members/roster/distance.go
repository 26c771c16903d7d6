package roster

import (
	"context"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/internal/members/pace"
)

// knocks is how often a member is knocked at: the fastest time tells how far it is, the
// others how busy hosts are.
const knocks = 3

// Distance is how far members are apart, as seen from this node.
type Distance struct {
	// Pace is how fast members call one another lost, by this node's settings.
	Pace pace.Pace
	// To are the round trips to the other members that answer, by their names.
	To map[string]time.Duration
}

// Furthest returns the two members that may be the furthest apart, by way of this node,
// and their round trip; with one other member, that is "" and this one.
func (d *Distance) Furthest() (a, b string, roundTrip time.Duration) {
	type other struct {
		name string
		trip time.Duration
	}
	var all []other
	for name, trip := range d.To {
		all = append(all, other{name, trip})
	}
	slices.SortFunc(all, func(a, b other) int { return int(b.trip - a.trip) })
	switch len(all) {
	case 0:
		return "", "", 0
	case 1:
		return "", all[0].name, all[0].trip
	}
	return all[0].name, all[1].name, all[0].trip + all[1].trip
}

// Distance measures the round trips to the other members: how long a connection takes.
func (o *Operator) Distance(ctx context.Context) (Distance, error) {
	all, err := o.Look(ctx)
	if err != nil {
		return Distance{}, err
	}
	d := Distance{Pace: o.pace, To: map[string]time.Duration{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range all {
		m := &all[i].Member
		if m.Name == string(o.node) || m.Name == "" {
			continue
		}
		wg.Go(func() {
			if trip, ok := knock(ctx, m); ok {
				mu.Lock()
				defer mu.Unlock()
				d.To[m.Name] = trip
			}
		})
	}
	wg.Wait()
	return d, nil
}

// knock returns the shortest time that a connection to a member took.
func knock(ctx context.Context, m *Member) (least time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for _, e := range Endpoints([]Member{*m}) {
		u, err := url.Parse(e)
		if err != nil {
			continue
		}
		for range knocks {
			begin := time.Now()
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
			if err != nil {
				break
			}
			took := time.Since(begin)
			_ = conn.Close()
			if !ok || took < least {
				least, ok = took, true
			}
		}
	}
	return least, ok
}
