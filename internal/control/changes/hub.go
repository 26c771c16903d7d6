package changes

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// maxNames is how many things a change names; of more it says nothing but the topic.
const maxNames = 50

// changeHub hands changes on to subscribers. It counts them: a subscriber that comes back
// with the number that it had come to is told what has changed since. When the watches
// begin again, all topics are a change.
type changeHub struct {
	// life tells the numbers of this hub from those of others.
	life string
	done chan struct{} // closed by close

	mu sync.Mutex
	// mu guards all below.
	subs   map[*subscriber]struct{}
	closed bool
	some   chan struct{} // closed while there are subscribers
	none   chan struct{} // closed while there are none
	count  uint64
	last   map[api.Topic]uint64 // the count at which a topic changed last
}

func newChangeHub() *changeHub {
	h := &changeHub{
		life: rand.Text()[:12], done: make(chan struct{}), subs: map[*subscriber]struct{}{}, some: make(chan struct{}), none: make(chan struct{}),
		last: map[api.Topic]uint64{},
	}
	close(h.none)
	return h
}

// wanted returns a channel that is closed when there is a subscriber.
func (h *changeHub) wanted() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.some
}

// unwanted returns a channel that is closed when there is no subscriber.
func (h *changeHub) unwanted() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.none
}

// publish tells that something has changed under topics: what name says, or anything.
func (h *changeHub) publish(name string, topics ...api.Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	for _, t := range topics {
		h.last[t] = h.count
	}
	for s := range h.subs {
		s.add(h.count, name, topics)
	}
}

func (h *changeHub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
}

func (h *changeHub) subscribe(ctx context.Context, since string) <-chan api.Change {
	s := &subscriber{out: make(chan api.Change), wake: make(chan struct{}, 1), life: h.life, dirty: map[api.Topic]*pending{}, last: map[api.Topic]time.Time{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.seen = h.count
	s.add(h.count, "", h.missed(since))
	if len(h.subs) == 0 {
		close(h.some)
		h.none = make(chan struct{})
	}
	h.subs[s] = struct{}{}
	go func() {
		defer close(s.out)
		defer h.remove(s)
		s.run(ctx, h.done)
	}()
	return s.out
}

// missed are the topics that have changed since a change was told; of one that this hub
// has not told, all. The caller holds mu.
func (h *changeHub) missed(since string) []api.Topic {
	if since == "" {
		return nil
	}
	life, text, _ := strings.Cut(since, "-")
	count, err := strconv.ParseUint(text, 10, 64)
	if life != h.life || err != nil || len(h.subs) == 0 { // without subscribers nothing is counted
		return AllTopics()
	}
	return slices.DeleteFunc(AllTopics(), func(t api.Topic) bool { return h.last[t] <= count })
}

func (h *changeHub) remove(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
	if len(h.subs) == 0 {
		close(h.none)
		h.some = make(chan struct{})
	}
}

// subscriber is one reader of changes.
type subscriber struct {
	out  chan api.Change
	wake chan struct{} // one token: dirty was added to
	life string

	last map[api.Topic]time.Time // when a topic was reported; of run alone

	mu sync.Mutex
	// mu guards all below.
	dirty map[api.Topic]*pending
	seen  uint64 // the highest count that was added
}

// pending is what is to be reported of a topic.
type pending struct {
	first uint64 // the count of the first change in it
	names map[string]struct{}
	any   bool // not all have names
}

func (s *subscriber) add(count uint64, name string, topics []api.Topic) {
	if len(topics) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, count)
	for _, t := range topics {
		p := s.dirty[t]
		if p == nil {
			p = &pending{first: count, names: map[string]struct{}{}}
			s.dirty[t] = p
		}
		if p.any = p.any || name == "" || len(p.names) == maxNames; !p.any {
			p.names[name] = struct{}{}
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run reports changes until ctx ends or done is closed.
func (s *subscriber) run(ctx context.Context, done <-chan struct{}) {
	for {
		change, wait := s.next(time.Now())
		if change.Topic == "" {
			var later <-chan time.Time
			if wait > 0 {
				later = time.After(wait)
			}
			select {
			case <-ctx.Done():
				return
			case <-done:
				return
			case <-s.wake:
			case <-later:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case s.out <- change:
			s.last[change.Topic] = time.Now()
		}
	}
}

// next takes a change that may be reported now. When there is none it returns
// how long until there is one, or 0.
func (s *subscriber) next(now time.Time) (api.Change, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wait time.Duration
	for _, t := range AllTopics() {
		p := s.dirty[t]
		if p == nil {
			continue
		}
		left := changeInterval - now.Sub(s.last[t])
		if left <= 0 {
			delete(s.dirty, t)
			c := api.Change{Topic: t, ID: fmt.Sprintf("%s-%d", s.life, s.told())}
			if !p.any {
				c.Names = slices.Sorted(maps.Keys(p.names))
			}
			return c, 0
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return api.Change{}, wait
}

// told is the count up to which all is reported. The caller holds mu.
func (s *subscriber) told() uint64 {
	upTo := s.seen
	for _, p := range s.dirty {
		upTo = min(upTo, p.first-1)
	}
	return upTo
}
