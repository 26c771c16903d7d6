package changes

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
)

// changeInterval is how long a subscriber waits between two reports of the
// same topic.
const changeInterval = 250 * time.Millisecond

// rewatchDelay is the pause before a watch that broke is begun again.
const rewatchDelay = time.Second

// AllTopics are the topics in which changes are reported.
func AllTopics() []api.Topic {
	return []api.Topic{api.TopicJobs, api.TopicRuns, api.TopicNodes, api.TopicMinions, api.TopicShards, api.TopicGroups, api.TopicQueues}
}

// Watch drives Changes until ctx ends: one watch serves all subscribers, and only
// while there are any. When it returns, the channels of all subscribers are closed.
func (f *Feed) Watch(ctx context.Context) error {
	defer f.hub.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.hub.wanted():
		}
		if err := f.watchOnce(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("watch for changes broke", zap.Error(err))
			backoff.Sleep(ctx, rewatchDelay)
		}
	}
}

// Changes returns topics in which something has changed, each at most four
// times a second. The channel is closed when ctx or Watch ends.
func (f *Feed) Changes(ctx context.Context) <-chan api.Topic {
	return f.hub.subscribe(ctx)
}

// watchOnce publishes changes until it breaks, ctx ends, or nobody listens.
func (f *Feed) watchOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k := f.db.Keys
	watched := []struct {
		prefix string
		topics []api.Topic
		skip   func(key string) bool
	}{
		{prefix: k.Jobs(), topics: []api.Topic{api.TopicJobs}},
		{prefix: k.Runs(), topics: []api.Topic{api.TopicRuns}},
		{prefix: k.Members(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Owners(), topics: []api.Topic{api.TopicShards, api.TopicNodes, api.TopicGroups}},
		{prefix: k.Groups(), topics: []api.Topic{api.TopicGroups, api.TopicShards}},
		{prefix: k.QueueTypes(), topics: []api.Topic{api.TopicQueues}},
		{prefix: k.QueueStatuses(), topics: []api.Topic{api.TopicQueues}},
		{prefix: k.Lines(), topics: []api.Topic{api.TopicGroups}},
		{prefix: k.Overrides(), topics: []api.Topic{api.TopicGroups, api.TopicShards}},
		{prefix: k.Drains(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Pauses(), topics: []api.Topic{api.TopicJobs}},
		{prefix: k.Healths(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Presence(), topics: []api.Topic{api.TopicMinions, api.TopicNodes}},
		{prefix: k.Minions(), topics: []api.Topic{api.TopicMinions}},
		{prefix: k.Shards(), topics: []api.Topic{api.TopicRuns}, skip: func(key string) bool {
			_, rest, err := k.ParseShardKey(key)
			return err != nil || rest == "state" // moves at every commit
		}},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	broken := make(chan error, len(watched)) // each watch breaks once
	for _, w := range watched {
		events := f.db.Client.Watch(clientv3.WithRequireLeader(ctx), w.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		wg.Go(func() {
			for resp := range events {
				if err := resp.Err(); err != nil {
					broken <- err
					return
				}
				// What changed before the watch stood is not known.
				news := resp.Created
				for _, e := range resp.Events {
					news = news || w.skip == nil || !w.skip(string(e.Kv.Key))
				}
				if news {
					f.hub.publish(w.topics...)
				}
			}
			broken <- errWatchEnded
		})
	}
	for {
		select {
		case err := <-broken:
			return err
		case <-ctx.Done():
			return nil
		case <-f.hub.unwanted():
			return nil
		}
	}
}

var errWatchEnded = errors.New("watch ended")

// changeHub hands topics on to subscribers.
type changeHub struct {
	done chan struct{} // closed by close

	mu sync.Mutex
	// mu guards all below.
	subs   map[*subscriber]struct{}
	closed bool
	some   chan struct{} // closed while there are subscribers
	none   chan struct{} // closed while there are none
}

func newChangeHub() *changeHub {
	h := &changeHub{done: make(chan struct{}), subs: map[*subscriber]struct{}{}, some: make(chan struct{}), none: make(chan struct{})}
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

func (h *changeHub) publish(topics ...api.Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.add(topics)
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

func (h *changeHub) subscribe(ctx context.Context) <-chan api.Topic {
	s := &subscriber{out: make(chan api.Topic), wake: make(chan struct{}, 1), dirty: map[api.Topic]bool{}, last: map[api.Topic]time.Time{}}
	h.mu.Lock()
	defer h.mu.Unlock()
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
	out  chan api.Topic
	wake chan struct{} // one token: dirty was added to

	last map[api.Topic]time.Time // when a topic was reported; of run alone

	mu sync.Mutex
	// mu guards all below.
	dirty map[api.Topic]bool
}

func (s *subscriber) add(topics []api.Topic) {
	if len(topics) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		s.dirty[t] = true
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run reports topics until ctx ends or done is closed.
func (s *subscriber) run(ctx context.Context, done <-chan struct{}) {
	for {
		topic, wait := s.next(time.Now())
		if topic == "" {
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
		case s.out <- topic:
			s.last[topic] = time.Now()
		}
	}
}

// next takes a topic that may be reported now. When there is none it returns
// how long until there is one, or 0.
func (s *subscriber) next(now time.Time) (api.Topic, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wait time.Duration
	for _, t := range AllTopics() {
		if !s.dirty[t] {
			continue
		}
		left := changeInterval - now.Sub(s.last[t])
		if left <= 0 {
			delete(s.dirty, t)
			return t, 0
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return "", wait
}
