package agentpush

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

// ledger is a Registry that fails as often as it is told.
type ledger struct {
	mu        sync.Mutex
	fail      [2]int // writes of presence, descriptions
	writes    int
	buckets   map[int][]Present
	described map[job.MinionID]int
}

func (l *ledger) Present(_ context.Context, bucket int, minions []Present) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail[0] > 0 {
		l.fail[0]--
		return errors.New("no quorum")
	}
	l.writes++
	l.buckets[bucket] = minions
	return nil
}

func (l *ledger) Describe(_ context.Context, m job.Minion) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail[1] > 0 {
		l.fail[1]--
		return errors.New("no quorum")
	}
	l.described[m.ID]++
	return nil
}

type nowhere struct{}

func (nowhere) Owner(job.ShardID) (job.NodeID, bool)                    { return "", false }
func (nowhere) PeerAddr(job.NodeID) (string, bool)                      { return "", false }
func (nowhere) Servers() []string                                       { return nil }
func (nowhere) Nodes() []job.NodeID                                     { return nil }
func (nowhere) Reports([]job.Report)                                    {}
func (nowhere) LiveRuns(string, string) (r []job.Run, of []job.ShardID) { return r, of }

// runWith runs a hub that has no peers until stop is called.
func runWith(t *testing.T, l *ledger) (h *Hub, stop func()) {
	t.Helper()
	h, err := New(Config{Node: "n"}, Deps{Directory: nowhere{}, Sink: nowhere{}, Registry: l})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Run(ctx)
	}()
	return h, func() {
		cancel()
		<-done
	}
}

func TestPresenceIsPackedAndCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{buckets: map[int][]Present{}, described: map[job.MinionID]int{}, fail: [2]int{1, 1}}
		h, stop := runWith(t, l)
		defer stop()
		id := func(i int) job.MinionID { return job.MinionID(fmt.Sprintf("m%03d", i)) }
		for i := range 600 {
			h.presence.add(Present{ID: id(i), Session: int64(i + 1)})
			h.registrar.describe(job.Minion{ID: id(i)})
		}
		time.Sleep(5 * time.Second) // fake time: everything settles
		l.mu.Lock()
		if len(l.buckets) != 3 || len(l.buckets[0]) != 256 || len(l.buckets[2]) != 88 {
			t.Errorf("%d buckets", len(l.buckets))
		}
		if l.writes > 6 {
			t.Errorf("%d writes for three buckets", l.writes)
		}
		if len(l.described) != 600 {
			t.Errorf("%d described", len(l.described))
		}
		l.mu.Unlock()

		h.presence.remove(id(3), 99) // of another session: nothing
		for i := 512; i < 600; i++ {
			h.presence.remove(id(i), int64(i+1))
		}
		h.presence.remove(id(5), 6)
		h.presence.add(Present{ID: "late", Session: 1000}) // takes the free place
		h.inventory.SetMinion(job.Minion{ID: id(1)})
		h.registrar.describe(job.Minion{ID: id(1)}) // is stored so
		h.registrar.describe(job.Minion{ID: id(1), Labels: map[string]string{"a": "b"}})
		time.Sleep(5 * time.Second)
		l.mu.Lock()
		if got, ok := l.buckets[2]; !ok || len(got) != 0 {
			t.Errorf("the empty bucket was not deleted: %v", got)
		}
		if diff := cmp.Diff(Present{ID: "late", Session: 1000}, l.buckets[0][0]); diff != "" || len(l.buckets[0]) != 256 {
			t.Errorf("bucket 0 has %d: %s", len(l.buckets[0]), diff)
		}
		if l.described[id(1)] != 2 {
			t.Errorf("described %d times", l.described[id(1)])
		}
		l.mu.Unlock()
	})
}

// What was written before a lease was lost is written again, all of it, also what
// cannot be written at once.
func TestPresenceIsWrittenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{buckets: map[int][]Present{}, described: map[job.MinionID]int{}}
		h, stop := runWith(t, l)
		defer stop()
		const minions = 3*bucketSize + 1
		for i := range minions {
			h.presence.add(Present{ID: job.MinionID(fmt.Sprintf("m%d", i)), Session: 1})
		}
		time.Sleep(time.Minute)
		l.mu.Lock()
		clear(l.buckets) // gone with the lease
		l.fail[0] = 2
		l.mu.Unlock()
		h.Republish()
		time.Sleep(time.Minute)
		l.mu.Lock()
		n := 0
		for _, b := range l.buckets {
			n += len(b)
		}
		l.mu.Unlock()
		if n != minions {
			t.Errorf("%d of %d minions are in the presence", n, minions)
		}
	})
}
