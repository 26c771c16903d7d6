package worker

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// Once a minion has seen an epoch it starts nothing by an order of one before, on whatever
// shard, also after a restart (I15).
func TestI15_OrdersOfAnOlderEpochAreRefused(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	_, stop := start(t, n, dir)
	n.connected()
	run := func(what string, epoch int64, shard job.ShardID, want job.State) {
		t.Helper()
		o := shell("true")
		o.Token, o.Shard = job.Token{Epoch: epoch, Revision: 1000}, shard
		n.order(o)
		r := n.final(o)
		if r.State != want || want == job.StateRejected && !strings.Contains(r.Reason, "of epoch 1, and the minion has seen epoch 2") {
			t.Errorf("%s: %s, %q; want %s", what, r.State, r.Reason, want)
		}
	}
	run("the first epoch", 1, 1, job.StateSucceeded)
	run("the next", 2, 1, job.StateSucceeded)
	run("the first again, of another shard", 1, 2, job.StateRejected)
	stop()
	start(t, n, dir)
	run("in the next process", 1, 3, job.StateRejected)
	run("the next, there", 2, 3, job.StateSucceeded)
}

// A minion works for one cluster, and keeps on its disk which, and how far it has seen it.
func TestI15_AMinionWorksForOneCluster(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	tell := func(cluster string, epoch int64) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.cluster, n.epoch = cluster, epoch
	}
	tell("c", 3)
	_, stop := start(t, n, dir)
	n.connected()
	stop()
	tell("c", 2)
	m, stop := start(t, n, dir)
	n.connected()
	n.await("trouble", func() bool { return strings.Contains(strings.Join(m.Status().Trouble, " "), TroublePast) })
	o := shell("true")
	o.Token = job.Token{Epoch: 2, Revision: 1000}
	n.order(o)
	if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, "the minion has seen epoch 3") {
		t.Errorf("by what it was told in a welcome: %s, %q", r.State, r.Reason)
	}
	stop()
	tell("d", 9)
	m, _ = start(t, n, dir)
	sessions := func() int {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.sessions
	}
	was := sessions()
	n.await("further tries", func() bool { return n.sessions >= was+2 })
	if m.Status().Node != "" {
		t.Error("the minion works for another cluster")
	}
}
