package changes

import (
	"context"
	"errors"
	"strings"
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

// Changes returns what has changed, each topic at most four times a second. With the ID of
// a change that was told before, by whichever node, it begins with what has changed since:
// with all topics where that is not known here. The channel is closed when ctx or Watch
// ends.
func (f *Feed) Changes(ctx context.Context, since string) <-chan api.Change {
	return f.hub.subscribe(ctx, since)
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
		name   func(key string) string // of what a key is about; empty: it is not known
	}{
		{prefix: k.Jobs(), topics: []api.Topic{api.TopicJobs}, name: func(key string) string {
			_, j, err := k.ParseJob(key)
			if err != nil {
				return ""
			}
			return j.String()
		}},
		{prefix: k.Runs(), topics: []api.Topic{api.TopicRuns}},
		{prefix: k.Members(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Owners(), topics: []api.Topic{api.TopicShards, api.TopicNodes, api.TopicGroups}},
		{prefix: k.Groups(), topics: []api.Topic{api.TopicGroups, api.TopicShards}},
		{prefix: k.QueueTypes(), topics: []api.Topic{api.TopicQueues}, name: after(k.QueueTypes())},
		{prefix: k.QueueStatuses(), topics: []api.Topic{api.TopicQueues}},
		{prefix: k.Lines(), topics: []api.Topic{api.TopicGroups}},
		{prefix: k.Overrides(), topics: []api.Topic{api.TopicGroups, api.TopicShards}},
		{prefix: k.Drains(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Pauses(), topics: []api.Topic{api.TopicJobs}},
		{prefix: k.Healths(), topics: []api.Topic{api.TopicNodes}},
		{prefix: k.Presence(), topics: []api.Topic{api.TopicMinions, api.TopicNodes}},
		{prefix: k.Minions(), topics: []api.Topic{api.TopicMinions}, name: after(k.Minions())},
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
				if resp.Created { // what changed before the watch stood is not known
					f.hub.publish("", w.topics...)
				}
				for _, e := range resp.Events {
					if key := string(e.Kv.Key); w.skip == nil || !w.skip(key) {
						name := ""
						if w.name != nil {
							name = w.name(key)
						}
						f.hub.publish(name, w.topics...)
					}
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

// after names what a key is about by what follows a prefix.
func after(prefix string) func(key string) string {
	return func(key string) string { return strings.TrimPrefix(key, prefix) }
}

var errWatchEnded = errors.New("watch ended")
