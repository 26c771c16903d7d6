package agentpush

import (
	"maps"
	"slices"
	"sync"

	"github.com/carillon-cron/carillon/job"
)

// links are this node's links to its peers, one to each that it has something to
// say to.
type links struct {
	*base
	life    *lifetime
	peers   *peers
	callers *callers
	signing *signing
	// What a link cannot bring to its peer is delivered anew, or ends; reports wait.
	deliver func([]*message)
	finish  func([]ending)
	retries *retries

	mu sync.RWMutex
	// mu guards byNode.
	byNode map[job.NodeID]*link
}

// to returns the link to a peer.
func (ls *links) to(node job.NodeID) *link {
	ls.mu.RLock()
	l := ls.byNode[node]
	ls.mu.RUnlock()
	if l != nil {
		return l
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l = ls.byNode[node]; l == nil {
		l = &link{of: ls, node: node, wake: make(chan struct{}, 1)}
		ls.byNode[node] = l
	}
	return l
}

// gone breaks the link to a node that has left the cluster.
func (ls *links) gone(node job.NodeID) {
	ls.mu.RLock()
	l := ls.byNode[node]
	ls.mu.RUnlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel(errNodeGone)
	}
}

func (ls *links) all() []*link {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return slices.AppendSeq(make([]*link, 0, len(ls.byNode)), maps.Values(ls.byNode))
}
