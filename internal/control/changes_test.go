package control

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/changes"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// TestChanges: each kind of key tells its topics, over one watch, and the end of
// Watch closes the channels.
func TestChanges(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Watch(ctx) }()
	told := e.Changes(t.Context(), "")
	other := e.Changes(t.Context(), "")
	wait := func(ch <-chan api.Change, want ...api.Topic) {
		t.Helper()
		for len(want) > 0 {
			got := await.From(t, fmt.Sprint(want), ch).Topic
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
			wait(told, api.TopicMinions)
		}
		for {
			select {
			case <-told:
			default:
				return
			}
		}
	}
	wait(told, changes.AllTopics()...)
	wait(other, changes.AllTopics()...)
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
		wait(told, tc.topics...)
	}
	settle()
	// A state moves at every commit: it is not news.
	e.put(t, e.keys.State(1), etcdkv.ShardState{})
	e.put(t, e.keys.Root()+"elsewhere", "x")
	e.put(t, e.keys.Minion("m"), "{}")
	if got := <-told; got.Topic != api.TopicMinions || len(got.Names) != 1 || got.Names[0] != "m" {
		t.Errorf("got %+v", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, ch := range []<-chan api.Change{told, other, e.Changes(t.Context(), "")} {
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
	told := e.Changes(ctx, "")
	<-told
	e.srv.Restart(t)
	for i := 0; ; i++ {
		e.put(t, e.jobKey(job.Key{Namespace: "a", Name: "b"}), "{}")
		select {
		case c := <-told:
			if c.Topic == api.TopicJobs && i > 4 { // not one of those that were told before
				return
			}
		case <-time.After(time.Second): // once more
		}
	}
}
