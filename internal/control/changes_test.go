package control

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// TestChangesAreCoalesced: at most four a second per topic, and the last change
// is never swallowed.
func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newChangeHub()
		ctx, cancel := context.WithCancel(t.Context())
		changes := h.subscribe(ctx)
		idle := h.subscribe(ctx) // one that does not read holds nobody up
		go func() {
			for range 1000 { // for one second
				h.publish(api.TopicRuns)
				time.Sleep(time.Millisecond)
			}
			h.publish(api.TopicJobs)
		}()
		begin := time.Now()
		count := map[api.Topic]int{}
		var last time.Time
		for time.Since(begin) < 5*time.Second {
			select {
			case topic := <-changes:
				count[topic]++
				if topic == api.TopicRuns {
					last = time.Now()
				}
			case <-time.After(time.Second):
			}
		}
		if n := count[api.TopicRuns]; n < 4 || n > 5 {
			t.Errorf("%d reports of runs in a second", n)
		}
		if since := last.Sub(begin); since < 999*time.Millisecond {
			t.Errorf("the last change, at 999 ms, is not told: %s", since)
		}
		if count[api.TopicJobs] != 1 {
			t.Errorf("%d reports of jobs", count[api.TopicJobs])
		}
		cancel()
		synctest.Wait()
		if _, open := <-changes; open {
			t.Error("the channel is open after its context has ended")
		}
		if topic, open := <-idle; open {
			t.Errorf("the idle channel is open: %s", topic)
		}
	})
}

// TestChanges: each kind of key tells its topics, over one watch, and the end of
// Watch closes the channels.
func TestChanges(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Watch(ctx) }()
	changes := e.Changes(t.Context())
	other := e.Changes(t.Context())
	wait := func(ch <-chan api.Topic, want ...api.Topic) {
		t.Helper()
		for len(want) > 0 {
			got := await.From(t, fmt.Sprint(want), ch)
			if got == "" {
				t.Fatal("closed")
			}
			want = slices.DeleteFunc(want, func(w api.Topic) bool { return w == got })
		}
	}
	// settle waits until all is told that was to be. A topic is told at most once in
	// an interval: when one has been told twice, an interval has passed.
	settle := func() {
		t.Helper()
		for range 3 {
			e.put(t, e.keys.Minion("m"), "{}")
			wait(changes, api.TopicMinions)
		}
		for {
			select {
			case <-changes:
			default:
				return
			}
		}
	}
	wait(changes, allTopics()...)
	wait(other, allTopics()...)
	settle()
	for _, tc := range []struct {
		key    string
		topics []api.Topic
	}{
		{e.keys.Job(1, job.Key{Namespace: "a", Name: "b"}), []api.Topic{api.TopicJobs}},
		{e.keys.RunSegment(1, "x"), []api.Topic{api.TopicRuns}},
		{e.keys.Slot(1, 1), []api.Topic{api.TopicRuns}},
		{e.keys.Trigger(1, job.FireID{}), []api.Topic{api.TopicRuns}},
		{e.keys.Owner(1), []api.Topic{api.TopicShards, api.TopicNodes, api.TopicGroups}},
		{e.keys.Group(jobNamed("g")), []api.Topic{api.TopicGroups, api.TopicShards}},
		{e.keys.Line(1, "n"), []api.Topic{api.TopicGroups}},
		{e.keys.Override(1), []api.Topic{api.TopicGroups, api.TopicShards}},
		{e.keys.Drain("n"), []api.Topic{api.TopicNodes}},
		{e.keys.Health("n"), []api.Topic{api.TopicNodes}},
		{e.keys.Member("n"), []api.Topic{api.TopicNodes}},
		{e.keys.PresenceBucket("n", 1), []api.Topic{api.TopicMinions, api.TopicNodes}},
		{e.keys.Minion("m"), []api.Topic{api.TopicMinions}},
	} {
		e.put(t, tc.key, "{}")
		wait(changes, tc.topics...)
	}
	settle()
	// A state moves at every commit: it is not news.
	e.put(t, e.keys.State(1), etcdkv.ShardState{})
	e.put(t, e.keys.Root()+"elsewhere", "x")
	e.put(t, e.keys.Minion("m"), "{}")
	if got := <-changes; got != api.TopicMinions {
		t.Errorf("got %s", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, ch := range []<-chan api.Topic{changes, other, e.Changes(t.Context())} {
		for range ch {
			continue // until it is closed
		}
	}
}

// TestChangesOutliveEtcd: after etcd has been away, changes are told again.
func TestChangesOutliveEtcd(t *testing.T) {
	t.Parallel()
	e := alone(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	changes := e.Changes(ctx)
	<-changes
	e.srv.Restart(t)
	for i := 0; ; i++ {
		e.put(t, e.jobKey(job.Key{Namespace: "a", Name: "b"}), "{}")
		select {
		case topic := <-changes:
			if topic == api.TopicJobs && i > 4 { // not one of those that were told before
				return
			}
		case <-time.After(time.Second): // once more
		}
	}
}

// TestWatchOnlyWhileSomebodyListens: without subscribers nothing is read.
func TestWatchOnlyWhileSomebodyListens(t *testing.T) {
	t.Parallel()
	h := newChangeHub()
	isClosed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	for range 2 {
		if isClosed(h.wanted()) || !isClosed(h.unwanted()) {
			t.Fatal("wanted by nobody")
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := h.subscribe(ctx), h.subscribe(t.Context())
		if !isClosed(h.wanted()) || isClosed(h.unwanted()) {
			t.Error("not wanted by two")
		}
		cancel()
		<-first
		if !isClosed(h.wanted()) {
			t.Error("not wanted by one")
		}
		h.close()
		<-second
		h = newChangeHub()
	}
}
