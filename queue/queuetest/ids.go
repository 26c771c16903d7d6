package queuetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/carillon-cron/carillon/queue"
)

// testOneID puts IDs at every priority: one after the other, in one batch, and by many at once.
func testOneID(t *testing.T, s Subject) {
	s.put(t, queue.Item{ID: "x", Priority: 4, Payload: []byte("first")})
	for p := range queue.MaxPriority + 1 {
		s.put(t, queue.Item{ID: "x", Priority: p}, queue.Item{ID: "y", Priority: p}, queue.Item{ID: "y", Priority: queue.MaxPriority - p})
	}
	s.wantStats(t, queue.Stats{Waiting: 2})
	var wg sync.WaitGroup
	for p := range queue.MaxPriority + 1 {
		wg.Go(func() {
			for i := range 10 {
				if _, err := s.Queue.Put(t.Context(), queue.Item{ID: fmt.Sprint("both-", i), Priority: p}); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	wg.Wait()
	s.wantStats(t, queue.Stats{Waiting: 12})
	s.Sync(t)
	w := s.Worker(t)
	for i, c := range s.claim(t, w, 12) {
		if c.ID == "x" && (c.Priority != 4 || string(c.Payload) != "first") {
			t.Errorf("x is %+v, want it as it was put first", c)
		}
		if i > 1 {
			continue
		}
		for c, n := c, 1; ; n++ { // two become dead letters
			if err := s.Queue.Fail(t.Context(), c.Receipt, "no"); err != nil {
				t.Fatalf("fail: %v", err)
			}
			if n == Attempts {
				break
			}
			s.Sync(t)
			c = s.claim(t, w, 1)[0]
		}
		s.put(t, queue.Item{ID: c.ID, Priority: queue.MaxPriority - c.Priority})
		s.put(t, queue.Item{ID: c.ID, Priority: (c.Priority + 1) % (queue.MaxPriority + 1)})
	}
	s.wantStats(t, queue.Stats{InFlight: 10, Dead: 2})
}
