package agentpush

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Two processes with one id are told apart by the node that holds the older
// one's session: it asks that one whether it lives. So a process that comes to
// another node is sent there first, if it cannot be the one that has the
// session: a process knows its own sessions.

// sentFor is how long it counts that a process was sent to another node: when
// it is back within that time, the other node could not be reached or has let it
// go, and it is let in here.
const sentFor = 30 * time.Second

// sending is to which instance of a minion was said, when, that it has to ask
// another node.
type sending struct {
	instance string
	at       time.Time
}

// conflicts sends processes to the nodes that can tell whether another process
// has their id.
type conflicts struct {
	*base
	locations locations

	mu sync.Mutex
	// mu guards sent: whom it has sent, by id.
	sent map[job.MinionID]sending
}

// redirect refuses a process whose id has a session at a peer that the process
// does not know of, once. Nil: it may be let in here.
func (c *conflicts) redirect(stream minionStream, id job.MinionID, hello *agentpb.Hello) error {
	node, session := c.locations.elsewhere(id)
	if node == "" || session <= hello.GetSession() {
		return nil
	}
	addr, ok := c.directory.PeerAddr(node)
	if !ok {
		return nil
	}
	now := time.Now()
	c.mu.Lock()
	last := c.sent[id]
	again := last.instance == hello.GetInstance() && now.Sub(last.at) < sentFor
	if again {
		delete(c.sent, id)
	} else {
		c.sent[id] = sending{hello.GetInstance(), now}
	}
	c.mu.Unlock()
	if again {
		return nil
	}
	c.log.Debug("minion is sent to the node that has its session", zap.String("minion", string(id)),
		zap.String("instance", hello.GetInstance()), zap.String("node", string(node)))
	stream.SetTrailer(metadata.Pairs(agentpb.ServerTrailer, addr))
	return status.Errorf(codes.Unavailable, "minion %s has a session at node %s that this process does not know of; connect there, at %s", id, node, addr)
}

// forget forgets whom it sent away long ago.
func (c *conflicts) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.sent {
		if time.Since(s.at) >= sentFor {
			delete(c.sent, id)
		}
	}
}
