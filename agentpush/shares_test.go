package agentpush_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// answering is an agentpush.Shared that tells who was asked, and about whom. What says
// "wait" is not answered before the caller has gone.
type answering struct{ node job.NodeID }

func (a answering) Do(ctx context.Context, task job.TaskID, shard job.ShardID, token job.Token, request []byte) []byte {
	if string(request) == `"wait"` {
		<-ctx.Done()
	}
	text, err := json.Marshal(shared.Answer{Code: shared.CodeOK, Value: fmt.Sprintf("%s %s %v %v %s", a.node, task.Minion, shard, token, request)})
	if err != nil {
		panic(err)
	}
	return text
}

// share asks as a minion, which claims to be another.
func (r *raw) share(id uint64, shard job.ShardID, request string) {
	r.c.t.Helper()
	task := agentpb.FromTask(job.TaskID{Fire: job.FireID{Job: job.UID{1}, At: 1, Trigger: job.TriggerManual}, Minion: "another", Attempt: 1})
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Shared{Shared: &agentpb.Shared{
		Id: id, Task: task, Shard: uint32(shard), TokenEpoch: 1, TokenRevision: 2, Request: []byte(request),
	}}})
}

func (r *raw) answer() (uint64, shared.Answer) {
	r.c.t.Helper()
	for {
		if f := r.next().GetShared(); f != nil {
			var a shared.Answer
			if err := json.Unmarshal(f.GetAnswer(), &a); err != nil {
				r.c.t.Fatal(err)
			}
			return f.GetId(), a
		}
	}
}

// TestShared: what a task asks is answered by the node that owns its shard, wherever its
// minion is, about the minion that has asked, whatever it says (I9); what waits is told when
// the owner has gone.
func TestShared(t *testing.T) {
	t.Parallel()
	c := newClusterWith(t, 2, nil, func(n *node, d *agentpush.Deps) { d.Shared = answering{n.id} })
	c.own(1, c.nodes[0].id)
	c.own(2, c.nodes[1].id)
	c.own(3, "")
	m := c.raw("m1", c.nodes[0])
	for shard, want := range map[job.ShardID]string{
		1: `node-0 m1 1 1.2 "r"`,
		2: `node-1 m1 2 1.2 "r"`,
	} {
		m.share(uint64(shard), shard, `"r"`)
		if id, a := m.answer(); id != uint64(shard) || a.Value != want {
			t.Errorf("shard %v: %d %+v, want %s", shard, id, a, want)
		}
	}
	m.share(3, 3, `"r"`)
	if id, a := m.answer(); id != 3 || a.Code != shared.CodeUnavailable {
		t.Errorf("without an owner: %d %+v", id, a)
	}
	// Each is answered for itself.
	m.share(4, 2, `"wait"`)
	m.share(5, 2, `"r"`)
	if id, a := m.answer(); id != 5 || a.Code != shared.CodeOK {
		t.Errorf("behind one that waits: %d %+v", id, a)
	}
	c.nodes[1].kill()
	if id, a := m.answer(); id != 4 || a.Code != shared.CodeUnsure {
		t.Errorf("the owner has gone: %d %+v", id, a)
	}
	// More than a minion may ask at a time is not answered, and harms nobody.
	for i := range agentpb.MaxShared + 50 {
		m.share(uint64(100+i), 1, `"wait"`)
	}
	m.share(6, 1, `"r"`)
	other := c.raw("m2", c.nodes[0])
	other.share(7, 1, `"r"`)
	if id, a := other.answer(); id != 7 || a.Code != shared.CodeOK {
		t.Errorf("another minion: %d %+v", id, a)
	}
}
