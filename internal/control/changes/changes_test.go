package changes

import (
	"context"
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
