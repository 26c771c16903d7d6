package worker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/epoch"
	"github.com/carillon-cron/carillon/job"
)

// seenStride is by how much etcd's revision rises before it is written to the disk anew.
const seenStride = 100_000

// errOtherCluster is wrapped by what ends a session with a node of another cluster.
var errOtherCluster = errors.New("the node is of another cluster")

// seen is how far the minion has seen the cluster's history (package epoch): it starts
// nothing by an order of an older epoch, and works for one cluster.
type seen struct {
	*base
	file *epoch.File

	mu sync.Mutex
	// mu guards the following: the highest of all, and when a refusal was logged.
	top      epoch.Point
	loggedAt time.Time
}

// open reads what was seen, and raises it by the tokens of the journal.
func (s *seen) open(tokens map[job.ShardID]job.Token) error {
	f, err := epoch.OpenFile(s.cfg.path(epoch.FileName))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.top = f, f.Seen()
	for _, t := range tokens {
		s.top.Epoch = max(s.top.Epoch, t.Epoch)
	}
	return nil
}

// welcome takes what a node tells of the cluster. The error wraps errOtherCluster.
func (s *seen) welcome(w *agentpb.Welcome) error {
	if w.GetCluster() == "" {
		return nil // of a release that does not tell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.top.Cluster != "" && s.top.Cluster != w.GetCluster() {
		return fmt.Errorf("%w: %s is of %s, and this minion works for %s since %s; if it is to move over, remove %s",
			errOtherCluster, w.GetNode(), w.GetCluster(), s.top.Cluster, s.top.At.UTC().Format(time.RFC3339), s.file.Path())
	}
	p := epoch.Point{Cluster: w.GetCluster(), Epoch: w.GetEpoch(), Revision: w.GetRevision(), At: time.Now().UTC()}
	if p.Epoch < s.top.Epoch {
		s.troubles.set(&s.troubles.past, true, TroublePast)
		s.log.Error("the node's etcd went back: orders are refused", zap.String("node", w.GetNode()), zap.Int64("epoch", p.Epoch), zap.Int64("seen", s.top.Epoch))
		return nil
	}
	s.troubles.set(&s.troubles.past, false, "")
	s.top = p.Raise(s.top)
	if was := s.file.Seen(); was.Cluster == s.top.Cluster && was.Epoch == s.top.Epoch && s.top.Revision-was.Revision < seenStride {
		return nil
	}
	if err := s.file.Save(s.top); err != nil {
		s.log.Error("how far the cluster was seen is not written", zap.Error(err))
	}
	return nil
}

// check returns why nothing may be started by a token; nil: something may. It is durable
// with the token, which the journal has.
func (s *seen) check(t job.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Epoch >= s.top.Epoch {
		s.top.Epoch = t.Epoch
		return nil
	}
	s.metrics.older.Inc()
	err := fmt.Errorf("the minion refuses the order: it is of epoch %d, and the minion has seen epoch %d: etcd went back, or the order is of before a restore", t.Epoch, s.top.Epoch)
	if now := time.Now(); now.Sub(s.loggedAt) >= logRefusals {
		s.loggedAt = now
		s.log.Warn("order refused", zap.Error(err))
	}
	return err
}
