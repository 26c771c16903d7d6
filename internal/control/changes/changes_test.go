package changes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// TestChangesAreCoalesced: at most four a second per topic, and the last change
// is never swallowed.
func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newChangeHub()
		ctx, cancel := context.WithCancel(t.Context())
		changes := h.subscribe(ctx, "")
		idle := h.subscribe(ctx, "") // one that does not read holds nobody up
		go func() {
			for range 1000 { // for one second
				h.publish("", api.TopicRuns)
				time.Sleep(time.Millisecond)
			}
			h.publish("a/b", api.TopicJobs)
		}()
		begin := time.Now()
		count := map[api.Topic]int{}
		var last time.Time
		for time.Since(begin) < 5*time.Second {
			select {
			case c := <-changes:
				count[c.Topic]++
				if c.Topic == api.TopicRuns {
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
		if c, open := <-idle; open {
			t.Errorf("the idle channel is open: %v", c)
		}
	})
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
		first, second := h.subscribe(ctx, ""), h.subscribe(t.Context(), "")
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

// TestChangesGoOn: who comes back with the id of a change is told what has changed since,
// and only that; with an id of elsewhere, all topics.
func TestChangesGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newChangeHub()
		changes := h.subscribe(t.Context(), "")
		h.publish("a/one", api.TopicJobs)
		first := <-changes
		h.publish("a/two", api.TopicJobs)
		h.publish("a/three", api.TopicJobs)
		h.publish("", api.TopicNodes)
		if c := <-changes; c.Topic != api.TopicNodes { // jobs were told just now
			t.Errorf("got %+v", c)
		} else if again := topicsOf(h, c.ID); !slices.Equal(again, []api.Topic{api.TopicJobs, api.TopicNodes}) {
			t.Errorf("with jobs not told yet: %v", again)
		}
		if c := <-changes; !slices.Equal(c.Names, []string{"a/three", "a/two"}) {
			t.Errorf("names are %+v", c)
		} else if again := topicsOf(h, c.ID); len(again) != 0 {
			t.Errorf("what was told is told again: %v", again)
		}
		if again := topicsOf(h, first.ID); !slices.Equal(again, []api.Topic{api.TopicJobs, api.TopicNodes}) {
			t.Errorf("since the first: %v", again)
		}
		for _, id := range []string{"elsewhere-3", "x", h.life + "-x"} {
			if again := topicsOf(h, id); len(again) != len(AllTopics()) {
				t.Errorf("since %s: %v", id, again)
			}
		}
	})
}

// topicsOf are those that somebody is told first who begins with an id.
func topicsOf(h *changeHub, since string) []api.Topic {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes := h.subscribe(ctx, since)
	var out []api.Topic
	for {
		synctest.Wait()
		select {
		case c := <-changes:
			out = append(out, c.Topic)
		default:
			slices.Sort(out)
			return out
		}
	}
}

// TestChangesNameNotTooMuch: of many things, or of some that have no name, none is named.
func TestChangesNameNotTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newChangeHub()
		changes := h.subscribe(t.Context(), "")
		for i := range maxNames + 1 {
			h.publish(fmt.Sprint("a/", i), api.TopicJobs)
		}
		h.publish("m1", api.TopicMinions)
		h.publish("", api.TopicMinions)
		synctest.Wait()
		time.Sleep(time.Minute) // the first may have been told before the last was published
		for range 2 {
			c := <-changes
			if c.Topic == api.TopicJobs && len(c.Names) > maxNames || c.Topic == api.TopicMinions && len(c.Names) > 1 {
				t.Errorf("%s has %d names", c.Topic, len(c.Names))
			}
		}
	})
}
