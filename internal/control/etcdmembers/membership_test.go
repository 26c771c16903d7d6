package etcdmembers

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// A member that has been told to leave counts as gone before it is: while it is one still,
// no other is removed. One whose node is dead leaves nobody waiting.
func TestWhoLeavesIsWaitedFor(t *testing.T) {
	t.Parallel()
	record := func(node job.NodeID, member bool) *mvccpb.KeyValue {
		text, err := etcdkv.Encode(etcdkv.EtcdNode{Schema: etcdkv.Schema, Node: node, Member: member})
		if err != nil {
			t.Fatal(err)
		}
		return &mvccpb.KeyValue{Key: []byte(node), Value: []byte(text)}
	}
	for name, c := range map[string]struct {
		c      bool // n3 is to be a member
		live   bool
		remove roster.ID
		want   job.NodeID
	}{
		"nobody leaves":         {c: true, live: true, remove: 2},
		"another leaves":        {live: true, remove: 2, want: "n3"},
		"it leaves itself":      {live: true, remove: 3},
		"the one that is dead":  {remove: 2},
		"all are to be members": {c: true, remove: 3},
	} {
		v := &view{
			all:   []roster.Status{{Member: roster.Member{ID: 1, Name: "n1"}}, {Member: roster.Member{ID: 2, Name: "n2"}}, {Member: roster.Member{ID: 3, Name: "n3"}}},
			nodes: map[job.NodeID]*mvccpb.KeyValue{"n1": record("n1", true), "n3": record("n3", c.c)},
			live:  map[job.NodeID]bool{"n1": true, "n2": true, "n3": c.live},
		}
		if got, err := v.leaving(c.remove); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}
