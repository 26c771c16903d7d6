package api

import "github.com/carillon-cron/carillon/job"

// EtcdMember is a node of a cluster that keeps its data itself, and what the etcd inside
// it says.
type EtcdMember struct {
	// Node is the node's name; empty: a member that was added and has not started.
	Node job.NodeID `json:"node"`
	// Role is what it does.
	Role EtcdRole `json:"role"`
	// Live: the node's scheduler is live.
	Live bool `json:"live"`
	// ID is the number of the member, as etcdctl prints it; empty: it is none.
	ID        string `json:"id,omitempty"`
	PeerURL   string `json:"peerURL,omitempty"`
	ClientURL string `json:"clientURL,omitempty"`
	// Version is that of its etcd.
	Version string `json:"version,omitempty"`
	// SizeBytes is how large its file is, InUseBytes how much of that is in use, and
	// QuotaBytes how large it may become.
	SizeBytes  int64 `json:"sizeBytes,omitempty"`
	InUseBytes int64 `json:"inUseBytes,omitempty"`
	QuotaBytes int64 `json:"quotaBytes,omitempty"`
	// Behind is by how many entries of the log it is behind the one that has most.
	Behind uint64 `json:"behind,omitempty"`
	// Problems are what is wrong with it.
	Problems []string `json:"problems,omitempty"`
}

// EtcdRole is what a node does for the cluster's own etcd.
type EtcdRole string

// The roles. A member has a vote; a learner is told everything, and has none yet; a
// client only asks the members.
const (
	EtcdLeader   EtcdRole = "leader"
	EtcdFollower EtcdRole = "follower"
	EtcdLearner  EtcdRole = "learner"
	EtcdAdded    EtcdRole = "added"
	EtcdClient   EtcdRole = "client"
	EtcdDown     EtcdRole = "down"
)
