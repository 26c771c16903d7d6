package worker

import (
	"time"
)

// renewals are the tasks that were given back when their turn had come, because
// the lease of who had sent them ended while they waited. As a rule their owner
// has a new one, and sends them again at once: they are first then.
//
// No more tasks are given back than there are free places: many wait, and each
// start would cost a round trip for all of them.
type renewals struct {
	// asked is when each was given back; it is forgotten when it comes, or after
	// renewalWait.
	asked map[taskKey]time.Time
	// order is asked in the order of its times, with some that have come since.
	order []asking
	// line are those that have come again, and wait for a place.
	line taskLine
}

// asking says when a task was given back.
type asking struct {
	key taskKey
	at  time.Time
}

// ask notes that a task was given back.
func (r *renewals) ask(key taskKey, now time.Time) {
	r.asked[key] = now
	r.order = append(r.order, asking{key, now})
}

// giveUp forgets those that have not come within renewalWait. It costs what it
// forgets.
func (r *renewals) giveUp(now time.Time) {
	n := 0
	for ; n < len(r.order); n++ {
		first := &r.order[n]
		if at, ok := r.asked[first.key]; !ok || !at.Equal(first.at) {
			continue // it has come
		}
		if now.Sub(first.at) <= renewalWait {
			break
		}
		delete(r.asked, first.key)
	}
	if r.order = r.order[n:]; len(r.order) == 0 {
		r.order = nil
	}
}

// renewalWait is how long the places are kept free for a task that was given back.
const renewalWait = 3 * time.Second

// Why a task is not started.
const (
	whyOver     = "the lease of the owner that had sent it ended"
	whyNewOwner = "its shard got a newer owner"
)
