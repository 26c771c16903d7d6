package etcdkv

import (
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Phase is where a node is in its life.
type Phase string

// The phases of a node.
const (
	PhaseReady    Phase = "ready"    // owns shards, or may
	PhaseDraining Phase = "draining" // hands its shards over and leaves
)

// Member is what a live node says of itself.
type Member struct {
	Schema      int        `json:"schema"`
	Node        job.NodeID `json:"node"`
	Identity    string     `json:"identity"`    // of the data directory, the same after a restart
	Incarnation string     `json:"incarnation"` // new at every start
	Site        string     `json:"site,omitempty"`
	Priority    int        `json:"priority,omitempty"`
	// Labels are the node's own; see Member.Label.
	Labels     map[string]string `json:"labels,omitempty"`
	Capacity   int               `json:"capacity"` // relative weight for balanced shards; at least 1
	Phase      Phase             `json:"phase"`
	PhaseSince time.Time         `json:"phaseSince,omitzero"` // when the phase began; zero: not said
	PeerAddr   string            `json:"peerAddr"`            // host:port for minions and peers
	APIAddr    string            `json:"apiAddr"`             // host:port of API and page
	Lease      int64             `json:"lease"`               // what a hand-over to this node is put on
	Version    string            `json:"version"`
	Commit     string            `json:"commit,omitempty"` // of the build
	StartedAt  time.Time         `json:"startedAt"`
	// KnowsAccess: the node refuses what no binding allows while the cluster is closed.
	// Nodes of former releases answer everybody.
	KnowsAccess bool `json:"knowsAccess,omitempty"`
	// KnowsBounds: the node keeps to what rules of roles and bounds of jobs say of
	// commands, accounts and minions. Not set: it is of a release that reads over them.
	KnowsBounds bool `json:"knowsBounds,omitempty"`
	// Witness: the node only votes among the members of the cluster's own etcd, and holds
	// no shard.
	Witness bool `json:"witness,omitempty"`
	// Signs: the node signs its orders once all nodes do, and forwards signatures.
	Signs bool `json:"signs,omitempty"`
	// OpenAPI: others than programs of its host reach the node's API.
	OpenAPI bool `json:"openAPI,omitempty"`
}

// KnownNode is a node that has joined and has not left in order: one that is not
// live was killed, or is cut off. It goes when the node leaves, or by an operator.
type KnownNode struct {
	Schema   int        `json:"schema"`
	Node     job.NodeID `json:"node"`
	PeerAddr string     `json:"peerAddr,omitempty"`
	JoinedAt time.Time  `json:"joinedAt"`
	Site     string     `json:"site,omitempty"`
	// GoneSince is when it was noticed that it is not live; zero: it is, or it was not
	// noticed yet. A node that joins again writes it anew.
	GoneSince time.Time `json:"goneSince,omitzero"`
	// Signs is as that of a Member.
	Signs bool `json:"signs,omitempty"`
}

// Unsigning returns the nodes that cannot sign what they tell minions, sorted: live ones,
// and those that are known and not live. While there is one, no node signs.
func Unsigning(known []KnownNode, live []Member) []job.NodeID {
	can := map[job.NodeID]bool{}
	for i := range known {
		can[known[i].Node] = known[i].Signs
	}
	for i := range live {
		can[live[i].Node] = live[i].Signs
	}
	var out []job.NodeID
	for node, signs := range can {
		if !signs {
			out = append(out, node)
		}
	}
	slices.Sort(out)
	return out
}

// Label returns the value of a node's label. "node" and "site" are there by
// themselves.
func (m *Member) Label(key string) (string, bool) {
	switch key {
	case "node":
		return string(m.Node), true
	case "site":
		return m.Site, m.Site != ""
	}
	v, ok := m.Labels[key]
	return v, ok
}

// Drain says that an operator wants a node to hold no shard.
type Drain struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Since  time.Time  `json:"since"`
}

// Health is what a node says of its own health and of its peers'.
type Health struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Trouble says why the node does not do its work; empty: it does.
	Trouble []string `json:"trouble,omitempty"`
	// Unreachable are the peers whose address or port does not answer.
	Unreachable []job.NodeID `json:"unreachable,omitempty"`
	Since       time.Time    `json:"since"`
	// Clock is what it has found out about its clock; nil: nothing yet.
	Clock *ClockHealth `json:"clock,omitempty"`
}

// ClockHealth is what a node says of its clock.
type ClockHealth struct {
	// AheadMillis is how far it is ahead of the clock of most, in tenths of a second.
	AheadMillis int64 `json:"aheadMillis,omitempty"`
	// Nodes and Minions count the clocks that it was compared with.
	Nodes   int `json:"nodes,omitempty"`
	Minions int `json:"minions,omitempty"`
	// Paired: there is only one other clock, that of its only minion.
	Paired bool `json:"paired,omitempty"`
	// ApartMillis is how far the clock of its only minion is ahead of its own, in
	// tenths of a second, from a second on: nobody can tell which of the two is right.
	ApartMillis int64 `json:"apartMillis,omitempty"`
	// Unfit is why the node neither plans nor holds shards; empty: it may.
	Unfit string `json:"unfit,omitempty"`
}
