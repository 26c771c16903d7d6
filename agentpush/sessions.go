package agentpush

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// sessions opens and ends minions' sessions: it has the channel send by them, and
// tells this node and the cluster where the minions are.
type sessions struct {
	*base
	channels  *channels
	inventory *Inventory
	presence  *presence
	registrar *registrar
	health    *health
	pumps     *pumps
	router    *router
	reports   *reports
	updates   *updates
	shares    *shares
	// seen tells how far this node has seen etcd. Nil: minions are not told.
	seen      func() (cluster string, epoch, revision int64)
	connected atomic.Int64
	epoch     atomic.Int64
}

// open makes s the channel's session, in place of an older one. The caller
// holds c.mu, which open releases.
func (ss *sessions) open(c *channel, s *session, hello *agentpb.Hello, servers []string) {
	var ends []ending
	if old := c.session; old != nil {
		_, ends = c.detach(old)
		old.close(errReplaced)
	} else {
		ss.connected.Add(1)
	}
	s.c = c
	s.clock.lease.Heard(time.Duration(hello.GetClock()), ss.clock())
	s.clock.said, s.clock.welcomed, s.clock.welcomedAt = hello.GetWallClock(), ss.now().UnixNano(), ss.clock()
	s.epoch = ss.nextEpoch(max(hello.GetSession(), ss.inventory.locations.session(c.id)))
	s.control = []*agentpb.ToMinion{{Body: &agentpb.ToMinion_Welcome{Welcome: &agentpb.Welcome{
		Node: string(ss.cfg.Node), WallClock: s.clock.welcomed, Servers: servers,
		BeatEvery: int64(ss.cfg.BeatEvery), Session: s.epoch, Shares: ss.shares.serves != nil,
	}}}}
	if ss.seen != nil {
		w := s.control[0].GetWelcome()
		w.Cluster, w.Epoch, w.Revision = ss.seen()
	}
	c.session = s
	ss.updates.tell(s)
	m := job.Minion{
		ID: c.id, Labels: hello.GetInventory().GetLabels(), Facts: hello.GetInventory().GetFacts(),
		Version: hello.GetVersion(), Running: int(hello.GetRunning()), Since: s.opened.UTC(),
	}
	ss.inventory.locals.open(m, s.epoch)
	ss.presence.add(Present{ID: c.id, Session: s.epoch, Opened: s.opened.UTC()})
	ss.health.assess(c, s.opened.UnixNano())
	ss.pumps.kick(c)
	c.mu.Unlock()
	ss.met.connected.Set(float64(ss.connected.Load()))
	ss.reports.finish(ends)
	ss.registrar.describe(m)
	ss.log.Debug("minion connected", zap.String("minion", string(c.id)), zap.String("from", s.remote), zap.Int64("session", s.epoch))
}

// left takes a closed session away; it may be called again.
func (ss *sessions) left(s *session) {
	c := s.c
	c.mu.Lock()
	was, ends := c.detach(s)
	if was {
		ss.connected.Add(-1)
		ss.inventory.locals.close(c.id, s.epoch)
		ss.presence.remove(c.id, s.epoch)
	}
	c.mu.Unlock()
	s.texts.drop()
	s.shared.drop(ss.shares.budget)
	s.outputs.fail(fmt.Errorf("minion %s: connection lost: %w", c.id, s.cause))
	if !was {
		return
	}
	ss.met.connected.Set(float64(ss.connected.Load()))
	ss.reports.finish(ends)
	ss.log.Debug("minion disconnected", zap.String("minion", string(c.id)), zap.Error(s.cause))
	ss.router.moved(c.id)
	ss.channels.forget(c)
}

// nextEpoch returns a session epoch above one that is known of the minion. What a
// minion says moves its own epochs only.
func (ss *sessions) nextEpoch(known int64) int64 { return max(ss.epoch.Add(1), known+1) }
