package agentpush

import (
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Minions choose their node at random, so they are spread evenly at first. A
// node that was away comes back to none, and its peers keep what they took over.
// So each node looks how many minions the others have, and asks some of its own
// to go to those that have fewer. It does so when the odds have lasted for a
// while, for a tenth of them at most at a time, and asks idle ones first: no
// storm comes of it, and nothing is lost, as with any session that ends.

// slack is how many minions more than the mean a node keeps at least.
const slack = 8

// balance is what a hub remembers of its load. The sweeper uses it alone.
type balance struct {
	// over is since when the node has had too many; 0: it has not. looked is when
	// it looked last.
	over, looked int64
}

// excess returns how many minions a node should give away, of those it has, when
// all nodes have total.
func excess(own, total, nodes int) int {
	mean := total / max(nodes, 1)
	if nodes < 2 || own <= mean+max(mean/10, slack) {
		return 0
	}
	return own - mean
}

// rebalance asks minions to go elsewhere when this node has had more than its
// share for a while.
func (h *Hub) rebalance(now int64) {
	nodes := h.deps.Directory.Nodes()
	counts := h.inventory.perNode()
	own, total := int(h.connected.Load()), 0
	for _, n := range nodes {
		if n == h.cfg.Node {
			total += own
		} else {
			total += counts[n]
		}
	}
	n := excess(own, total, len(nodes))
	if len(nodes) > 0 && !slices.Contains(nodes, h.cfg.Node) {
		n = own // an operator drains it
	}
	switch {
	case n == 0 || h.draining.Load():
		h.balance.over = 0
		return
	case h.balance.over == 0:
		h.balance.over = now
		return
	case now-h.balance.over < int64(h.cfg.RebalanceAfter):
		return
	}
	h.balance.over = now
	var servers []string
	for _, node := range nodes {
		if addr, ok := h.deps.Directory.PeerAddr(node); ok && node != h.cfg.Node && counts[node] <= total/len(nodes) {
			servers = append(servers, addr)
		}
	}
	if len(servers) == 0 {
		return
	}
	n = min(n, max(own/10, slack))
	h.log.Info("asking minions to go to nodes that have fewer", zap.Int("minions", n), zap.Int("connected", own), zap.Int("mean", total/len(nodes)))
	h.sendAway(h.pickIdle(n), servers, h.cfg.RebalanceAfter/2)
}

// pickIdle returns n channels with a session, any of them, idle minions first.
func (h *Hub) pickIdle(n int) []*channel {
	all := h.allChannels()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var idle, busy []*channel
	for _, c := range all {
		c.mu.Lock()
		connected, free := c.session != nil, !c.offered && c.topic.len() == 0
		c.mu.Unlock()
		switch {
		case !connected:
		case free && h.inventory.running(c.id) == 0:
			idle = append(idle, c)
		default:
			busy = append(busy, c)
		}
	}
	all = append(idle, busy...)
	return all[:min(n, len(all))]
}

// sendAway asks minions to connect to other servers, each at a moment of its own
// within the given time.
func (h *Hub) sendAway(channels []*channel, servers []string, within time.Duration) {
	for _, c := range channels {
		c.mu.Lock()
		if s := c.session; s != nil {
			s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Drain{
				Drain: &agentpb.Drain{Servers: servers, Within: int64(within)},
			}})
			h.kick(c)
		}
		c.mu.Unlock()
	}
}

// perNode counts the minions by where they are connected.
func (i *Inventory) perNode() map[job.NodeID]int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	out := map[job.NodeID]int{}
	for key, minions := range i.buckets {
		out[key.node] += len(minions)
	}
	return out
}

// running returns how many tasks a minion with a session here runs, as it has
// said last.
func (i *Inventory) running(id job.MinionID) int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if e := i.entries[id]; e != nil && e.local != nil {
		return e.local.Running
	}
	return 0
}
