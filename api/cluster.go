package api

import (
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Override is an operator's word about where a shard ought to lie.
type Override struct {
	Shard job.ShardID `json:"shard"`
	// Node ought to hold the shard, as long as it lives and may. Empty: whoever
	// holds it keeps it.
	Node job.NodeID `json:"node,omitempty"`
	// Failback: the mode decides, and no hold-off counts.
	Failback bool      `json:"failback,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
}

// Drain is an order to a node to give its shards away and to take none.
type Drain struct {
	Node   job.NodeID `json:"node"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Since  time.Time  `json:"since"`
}

// RingNode is a node of a round robin group's ring.
type RingNode struct {
	Node job.NodeID `json:"node"`
	// Lost is when the node was lost; zero: it is there.
	Lost time.Time `json:"lost,omitzero"`
	// Left: it was drained before it went.
	Left bool `json:"left,omitempty"`
	// Flaps is how often the node was lost lately, LastFlap when last.
	Flaps    int       `json:"flaps,omitempty"`
	LastFlap time.Time `json:"lastFlap,omitzero"`
}

// NodeDispatch is what a node holds for minions.
type NodeDispatch struct {
	Node job.NodeID `json:"node"`
	// Connected counts sessions here; Known and Online count minions of the
	// whole cluster.
	Connected int `json:"connected"`
	Known     int `json:"known"`
	Online    int `json:"online"`
	// Queued and InFlight count messages that wait here, and that are offered;
	// Forwarded those that are on their way to peers, or for which peers answer.
	Queued    int    `json:"queued"`
	InFlight  int    `json:"inFlight"`
	Forwarded int    `json:"forwarded"`
	Dropped   uint64 `json:"dropped"`
	// Taken counts messages that minions have taken; TakenPerSecond is the mean
	// over the last ten seconds or so.
	Taken          uint64  `json:"taken"`
	TakenPerSecond float64 `json:"takenPerSecond"`
	// Minions are those with a session or with messages here, sorted by id.
	Minions []MinionDispatch `json:"minions"`
}

// MinionDispatch is one minion's topic and channel.
type MinionDispatch struct {
	ID        job.MinionID `json:"id"`
	Connected bool         `json:"connected"`
	Session   int64        `json:"session,omitempty"`
	Queued    int          `json:"queued"`
	InFlight  int          `json:"inFlight"`
	// Oldest is how long the oldest message has waited, in nanoseconds.
	Oldest  time.Duration `json:"oldest"`
	Dropped uint64        `json:"dropped"`
	Taken   uint64        `json:"taken"`
	// Trouble is why it gets no orders; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// Dispatch is what is on its way to minions, node by node.
type Dispatch struct {
	Nodes []NodeDispatch `json:"nodes"`
	// Missing tells of nodes that did not answer.
	Missing string `json:"missing,omitempty"`
}

// Node is a live scheduler node.
type Node struct {
	Name job.NodeID `json:"name"`
	Site string     `json:"site,omitempty"`
	// Phase is ready, draining, drained (it has neither shards nor minions any more), or
	// down: the node is not live, and has not left in order.
	Phase string `json:"phase"`
	// DownSince is when it was noticed that the node is down.
	DownSince time.Time `json:"downSince,omitzero"`
	Priority  int       `json:"priority"`
	Capacity  int       `json:"capacity"`
	// Labels are what groups pin and spread by.
	Labels map[string]string `json:"labels,omitempty"`
	// Witness: the node votes among the members of the cluster's own etcd, and holds no
	// shard.
	Witness bool `json:"witness,omitempty"`
	// Drain is an operator's wish that the node hold no shard; nil: none.
	Drain *Drain `json:"drain,omitempty"`
	// Trouble is what the node, or its peers, say is wrong with it.
	Trouble   []string  `json:"trouble,omitempty"`
	Shards    int       `json:"shards"`
	Minions   int       `json:"minions"`
	PeerAddr  string    `json:"peerAddr"`
	APIAddr   string    `json:"apiAddr"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt,omitzero"`
}

// What Node.Phase may be, beside what a node says of itself.
const (
	NodeDrained = "drained"
	NodeDown    = "down"
)

// Shard is one shard and its owner.
type Shard struct {
	ID job.ShardID `json:"id"`
	// Group is whose shard it is, with its mode; empty: it is a hash shard.
	Group string `json:"group,omitempty"`
	Mode  string `json:"mode,omitempty"`
	// Override is what an operator decided; nil: nothing.
	Override *Override `json:"override,omitempty"`

	Owner job.NodeID `json:"owner,omitempty"`
	Since time.Time  `json:"since,omitzero"`
	Token job.Token  `json:"token"`
	// Jobs is how many jobs lie in the shard, OpenSlots how many slots have
	// fires that are not resolved.
	Jobs      int       `json:"jobs"`
	OpenSlots int       `json:"openSlots"`
	Cursor    time.Time `json:"cursor,omitzero"`
}

// Version tells what runs.
type Version struct {
	Version   string     `json:"version"`
	Commit    string     `json:"commit,omitempty"`
	Go        string     `json:"go"`
	Node      job.NodeID `json:"node,omitempty"`
	ClusterID string     `json:"clusterId,omitempty"`
}

// String returns "1.2.0 (commit abc, go1.26.8, node n1)"; what is empty is left out.
func (v Version) String() string {
	var parts []string
	if v.Commit != "" {
		parts = append(parts, "commit "+v.Commit)
	}
	parts = append(parts, v.Go)
	if v.Node != "" {
		parts = append(parts, "node "+string(v.Node))
	}
	if v.ClusterID != "" {
		parts = append(parts, "cluster "+v.ClusterID)
	}
	return v.Version + " (" + strings.Join(parts, ", ") + ")"
}
