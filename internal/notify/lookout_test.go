package notify

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// looked is a lookout whose cluster the test says.
func looked(c *cluster, s *Service) *lookout {
	c.t.Helper()
	resp, err := c.client.Put(c.t.Context(), c.keys.Root()+"first", "")
	if err != nil {
		c.t.Fatal(err)
	}
	own := &owned{key: c.keys.Root() + "first", rev: resp.Header.Revision}
	own.held.Store(true)
	return &lookout{s: s, own: own, log: zap.NewNop()}
}

// What is lost is told once it was away for long enough, together, and once when all of it
// is back; also by the next owner, and to nobody who has not asked for it.
func TestLostPartsAreTold(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var lost []Lost
	s, err := New(Config{Keys: c.keys, Shards: 1}, Deps{
		Client: c.client, Send: c.send, Logger: zap.NewNop(), Now: func() time.Time { return time.Unix(0, c.now.Load()) },
		Lost: func(context.Context) ([]Lost, error) { return lost, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	defer func() { stop(); <-done }()
	local := job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "local"}}
	all := job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "all"}, Spec: job.NotifierSpec{Everywhere: true}}
	for _, n := range []job.Notifier{local, all} {
		c.put(c.keys.Notifier(n.Key()), etcdkv.StoredNotifier{Schema: 1, Notifier: n})
	}
	await.Until(t, "the notifiers are read", func() bool { all, _ := s.notifiers.Snapshot(); return len(all) == 2 })
	l := looked(c, s)
	notes := func() []job.Alert {
		t.Helper()
		resp, err := c.client.Get(t.Context(), c.keys.AlertNotes(), clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		var out []job.Alert
		for _, kv := range resp.Kvs {
			n, err := etcdkv.Decode[etcdkv.AlertNote](string(kv.Key), kv.Value)
			if err != nil || !strings.HasPrefix(string(kv.Key), c.keys.AlertNotesOf(all.Key())) {
				t.Fatalf("%s: %v", kv.Key, err)
			}
			out = append(out, n.Alerts...)
		}
		if _, err := c.client.Delete(t.Context(), c.keys.AlertNotes(), clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		return out
	}
	look := func() []job.Alert {
		t.Helper()
		if err := l.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		return notes()
	}
	node := func(name string) Lost { return Lost{Event: job.AlertNodeLost, Name: name, Why: "killed"} }
	lost = []Lost{node("n1")}
	if got := look(); len(got) != 0 {
		t.Errorf("told at once: %+v", got)
	}
	lost = nil
	c.now.Add(int64(time.Minute))
	if got := look(); len(got) != 0 {
		t.Errorf("told of one that is back: %+v", got)
	}
	lost = []Lost{node("n2"), node("n1")}
	look()
	c.now.Add(int64(time.Minute))
	told := look()
	if len(told) != 1 || told[0].Event != job.AlertNodeLost || told[0].About != "node n1, n2" || told[0].Count != 2 || told[0].Reason != "n1: killed; n2: killed" {
		t.Fatalf("%+v", told)
	}
	l = looked(c, s) // the next owner
	lost = []Lost{node("n2"), {Event: job.AlertQuota, Name: "etcd's space", Why: "full"}}
	if got := look(); len(got) != 0 {
		t.Errorf("told again: %+v", got)
	}
	c.now.Add(int64(time.Minute))
	if got := look(); len(got) != 1 || got[0].About != "etcd's space" {
		t.Errorf("%+v", got)
	}
	lost = nil
	got := look()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, a := range got {
		if a.Event != job.AlertRecovered || a.About == told[0].About && a.Trouble != told[0].ID {
			t.Errorf("%+v", a)
		}
	}
	if got := look(); len(got) != 0 {
		t.Errorf("told again that it is back: %+v", got)
	}
	lost = []Lost{node("n1")}
	look()
	c.now.Add(int64(time.Minute))
	_, err = c.client.Put(t.Context(), c.keys.Root()+"first", "another's")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.look(t.Context()); err == nil || len(notes()) != 0 {
		t.Errorf("told by one who is no owner any more: %v", err)
	}
}
