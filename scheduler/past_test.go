package scheduler

import (
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// pastOf is what a test says of etcd's past.
type pastOf struct {
	mu   sync.Mutex
	why  string
	lost chan struct{}
}

func (p *pastOf) Why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}
func (p *pastOf) Lost() <-chan struct{} { return p.lost }
func (p *pastOf) Fence() []clientv3.Cmp { return nil }
func (p *pastOf) say(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = why
}

// While the cluster is held no shard is taken, and the node says why; once etcd has gone
// back, the node leaves with its lease, and does not come again (package epoch, E2, E3).
func TestNothingIsTakenFromAnEtcdThatWentBack(t *testing.T) {
	b := setup(t)
	p := &pastOf{why: "held since the restore", lost: make(chan struct{})}
	b.adjust = func(_ job.NodeID, _ *Config, d *Deps) { d.Past = p }
	e, _, _ := b.start("n1")
	await.Until(t, "the node is a member", func() bool { _, ok := e.Lease(); return ok })
	ready := strings.Join(e.Ready(), "; ")
	if !strings.Contains(ready, "held since the restore") {
		t.Errorf("ready: %s", ready)
	}
	await.Until(t, "the node has looked at the shards", func() bool { return e.tended.Load() != 0 })
	if n := b.owned("n1"); n != 0 {
		t.Errorf("%d shards were taken while the cluster was held", n)
	}
	p.say("")
	await.Until(t, "the shards are taken", func() bool { return b.owned("n1") == b.meta.Shards })
	p.say("etcd went back")
	close(p.lost)
	await.Until(t, "the node has left", func() bool { _, ok := e.Lease(); return !ok && b.owned("n1") == 0 })
	if ready := strings.Join(e.Ready(), "; "); !strings.Contains(ready, "etcd went back") {
		t.Errorf("ready: %s", ready)
	}
}
