package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// EtcdNode is a node of a cluster that keeps its data itself: it may be a member of
// the cluster's etcd.
type EtcdNode struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Member: it is to be a member, as far as there is room; else it is a client.
	Member bool `json:"member"`
	// Key is the fingerprint of the key that it joined by; empty: it has founded the
	// cluster.
	Key string `json:"key,omitempty"`
	// PeerURL and ClientURL are where its etcd is reached while it is a member.
	PeerURL   string    `json:"peerURL"`
	ClientURL string    `json:"clientURL"`
	JoinedAt  time.Time `json:"joinedAt"`
	// By says who has decided last whether it is to be a member; empty: nobody has.
	By string `json:"by,omitempty"`
}

// EtcdChange is who changes the members of the cluster's etcd.
type EtcdChange struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	What   string     `json:"what"`
	Since  time.Time  `json:"since"`
}

// EtcdNodes is the prefix of the nodes of a cluster that keeps its data itself.
func (k Keys) EtcdNodes() string { return k.root + "etcd/nodes/" }

// EtcdNode is the key of such a node.
func (k Keys) EtcdNode(n job.NodeID) string { return k.EtcdNodes() + string(n) }

// EtcdChange is the key of who changes the members now, on a lease.
func (k Keys) EtcdChange() string { return k.root + "etcd/change" }
