package timekeeper

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// peers are a node's peers and their clocks, which are right.
type peers struct {
	mu      sync.Mutex
	members []etcdkv.Member
	asked   map[job.NodeID]int
	origin  int64
}

func (p *peers) Synced() bool { return true }

func (p *peers) Members() []etcdkv.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.members)
}

func (p *peers) join(n job.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = append(p.members, etcdkv.Member{Node: n, Incarnation: string(n)})
}

func (p *peers) PeerClock(_ context.Context, n job.NodeID) (clock.Reading, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[n]++
	return clock.Reading{Origin: p.origin}, nil
}

func (*peers) MinionClocks(int) []clock.Reading { return nil }

// TestI27_WhoJoinsIsAskedAtOnce: until the first peer is asked a node goes by its own
// clock, so that does not wait for the next round. Here no round comes by itself: the
// monotonic clock stands still.
func TestI27_WhoJoinsIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := time.Unix(1_700_000_000, 0)
		p := &peers{asked: map[job.NodeID]int{}, origin: at.UnixNano()}
		c := clock.New(clock.Config{}, clock.Deps{
			Wall: func() time.Time { return at.Add(2 * time.Second) }, Mono: func() time.Duration { return 0 }, Awake: func() time.Duration { return 0 },
		})
		k := New(Deps{Node: "n1", Time: c, Clocks: p, Members: p, Logger: zap.NewNop(), Changed: func() {}})
		p.join("n1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx)
		}()
		time.Sleep(lookEvery)
		synctest.Wait()
		if s := c.State(); !s.Judged || s.Ahead != 0 {
			t.Fatalf("alone it goes by its own clock: %+v", s)
		}
		p.join("n2")
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if s := c.State(); s.Nodes != 1 || s.Ahead != 2*time.Second {
			t.Errorf("with a peer that says otherwise: %+v", s)
		}
		time.Sleep(20 * lookEvery)
		synctest.Wait()
		p.mu.Lock()
		if n := p.asked["n2"]; n != 1 {
			t.Errorf("the peer was asked %d times, want once a round", n)
		}
		p.mu.Unlock()
		cancel()
		<-done
	})
}
