package standby

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// site is a cluster, without nodes.
type site struct {
	*testing.T

	client *clientv3.Client
	keys   etcdkv.Keys
	s      *Service
	// recovered counts how often the cluster was to go on.
	mu        sync.Mutex
	recovered []api.RecoverRequest
}

// newSite makes a cluster in an etcd of the given client. Its standby follows active.
func newSite(t *testing.T, c *clientv3.Client, id string, active *site) *site {
	t.Helper()
	x := &site{T: t, client: c, keys: etcdkv.NewKeys(etcdtest.Prefix(t) + id)}
	x.put(x.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: id, Epoch: 1, Shards: 2})
	var err error
	if x.s, err = New(Config{Node: job.NodeID(id), Keys: x.keys, Version: "v1", Site: "site " + id}, Deps{
		Client: c, Held: x.held, Mine: func() bool { return true }, Now: time.Now, Logger: zaptest.NewLogger(t), Metrics: prometheus.NewRegistry(),
		Dial: func(*etcdkv.Following) (Active, error) {
			if active == nil {
				return nil, errors.New("nobody is there")
			}
			return over{active}, nil
		},
		Recover: func(_ context.Context, req api.RecoverRequest) (api.Recovery, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.recovered = append(x.recovered, req)
			return api.Recovery{}, nil
		},
		Audit: func(_ context.Context, action, object string, _ api.Order) (clientv3.Op, error) {
			return clientv3.OpPut(x.keys.Root()+"audit/"+action, object), nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	return x
}

// over is a cluster as its standby reaches it.
type over struct{ *site }

func (o over) Mirror(ctx context.Context, req api.MirrorRequest) (io.ReadCloser, error) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = w.CloseWithError(o.s.Mirror(ctx, req, w)) })
	return &stream{r, func() { cancel(); _ = r.Close(); running.Wait() }}, nil
}

func (o over) HandOver(ctx context.Context, by api.Order) (api.HandedOver, error) {
	return o.s.HandOver(ctx, by)
}

func (o over) Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error) {
	return o.s.Overtaken(ctx, req)
}

func (over) Close() {}

type stream struct {
	io.Reader

	end func()
}

func (s *stream) Close() error { s.end(); return nil }

func (x *site) held() *etcdkv.Hold {
	resp, err := x.client.Get(context.Background(), x.keys.Hold())
	if err != nil || len(resp.Kvs) == 0 {
		return nil
	}
	h, err := etcdkv.Decode[etcdkv.Hold]("hold", resp.Kvs[0].Value)
	if err != nil {
		x.Error(err)
	}
	return &h
}

func (x *site) put(key string, v any, opts ...clientv3.OpOption) int64 {
	x.Helper()
	text, raw := v.(string)
	if !raw {
		var err error
		if text, err = etcdkv.Encode(v); err != nil {
			x.Fatal(err)
		}
	}
	resp, err := x.client.Put(x.Context(), key, text, opts...)
	if err != nil {
		x.Fatal(err)
	}
	return resp.Header.Revision
}

func (x *site) remove(key string, opts ...clientv3.OpOption) {
	x.Helper()
	if _, err := x.client.Delete(x.Context(), key, opts...); err != nil {
		x.Fatal(err)
	}
}

func (x *site) job(name string) string { return x.keys.Job(1, job.Key{Namespace: "t", Name: name}) }

func (x *site) lease() clientv3.OpOption {
	x.Helper()
	l, err := x.client.Grant(x.Context(), 600)
	if err != nil {
		x.Fatal(err)
	}
	return clientv3.WithLease(l.ID)
}

// has is what a standby of the cluster is to have.
func (x *site) has() map[string]string {
	x.Helper()
	resp, err := x.client.Get(x.Context(), x.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		x.Fatal(err)
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		key := strings.TrimPrefix(string(kv.Key), x.keys.Root())
		if kv.Lease == 0 && key != "epoch/hold" && key != "epoch/mark" && key != "auth/following" {
			out[key] = fmt.Sprintf("%d %d %s", kv.CreateRevision, kv.ModRevision, kv.Value)
		}
	}
	return out
}

// copied is the copy of a standby, and what it is of.
func (x *site) copied() (map[string]string, etcdkv.MirrorCursor) {
	x.Helper()
	cur, _, err := readCursor(x.Context(), x.client, x.keys)
	if err != nil {
		x.Fatal(err)
	}
	out := map[string]string{}
	if _, _, err := source(x.Context(), x.client, x.keys, &cur, "v1")(func(r *backup.Record) error {
		out[r.Key] = fmt.Sprintf("%d %d %s", r.Create, r.Mod, r.Value)
		return nil
	}); err != nil {
		x.Fatal(err)
	}
	return out, cur
}

// follows makes the cluster the standby of another one, and runs its service.
func (x *site) follows(active *site) {
	x.Helper()
	if _, err := x.s.FollowActive(x.Context(), api.FollowRequest{Order: api.Order{By: "ann"}, From: "https://active", Replace: true}); err != nil {
		x.Fatal(err)
	}
	x.run()
	x.same(active)
}

// run runs the service until the test ends, or the function is called.
func (x *site) run() (stop func()) {
	ctx, cancel := context.WithCancel(x.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := x.s.Run(ctx); err != nil {
			x.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	x.Cleanup(stop)
	return stop
}

// same waits until the copy is what the active cluster has.
func (x *site) same(active *site) {
	x.Helper()
	await.Missing(x, func() string {
		want := active.has()
		got, cur := x.copied()
		switch {
		case cur.Generation == 0 || cur.AsOf.IsZero():
			return "there is no copy: " + cur.Trouble
		case !maps.Equal(got, want):
			return fmt.Sprintf("the copy has %v, and is to have %v", got, want)
		}
		return ""
	})
}

// The copy becomes what the active cluster has, and stays so; what lies on leases is not in
// it (M1, M5). The standby tells how far it is behind.
func TestM1_TheCopyIsWhatTheActiveHas(t *testing.T) {
	c := shared.Server(t).Client(t)
	a := newSite(t, c, "a", nil)
	for i := range 700 { // more than a page and a batch
		a.put(a.job(fmt.Sprintf("j%03d", i)), `{"schema":1}`)
	}
	a.put(a.keys.Member("n1"), `{}`, a.lease())
	b := newSite(t, c, "b", a)
	b.follows(a)

	a.put(a.job("j001"), `{"schema":2}`)
	a.put(a.job("new"), strings.Repeat("x", 300<<10))
	a.remove(a.job("j002"))
	a.put(a.keys.Owner(1), `{}`, a.lease())
	a.put(a.job("j003"), `{}`, a.lease()) // nothing does that; it is gone for a copy
	a.remove(a.job("j1"), clientv3.WithPrefix())
	for i := range 300 {
		a.put(a.job(fmt.Sprintf("k%03d", i)), strings.Repeat("y", 3<<10))
	}
	b.same(a)

	v, err := b.s.Standby(t.Context())
	if err != nil || v.Role != api.RoleStandby || v.Copy == nil || !v.Copy.Whole || v.Copy.LagSeconds == nil || *v.Copy.LagSeconds > 60 || v.Copy.Jobs < 800 {
		t.Errorf("%+v %+v, %v", v, v.Copy, err)
	}
	if _, ok := b.has()["jobs/0001/t/j001"]; ok {
		t.Error("the copy is among what the cluster has of its own")
	}
}

// A standby that was away goes on from where it was, and begins anew where etcd has
// compacted that (M6). A copy that is whole stays until the next one is (M3).
func TestM6_WhatIsNotContinuedBeginsAnew(t *testing.T) {
	one := etcdtest.Start(t)
	a := newSite(t, one.Client(t), "a", nil)
	b := newSite(t, shared.Server(t).Client(t), "b", a)
	a.put(a.job("x"), `{}`)
	if _, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://active"}); err != nil {
		t.Fatal(err)
	}
	stop := b.run()
	b.same(a)
	stop()
	_, was := b.copied()

	a.put(a.job("y"), `{}`)
	stop = b.run()
	b.same(a)
	stop()
	_, is := b.copied()
	if is.Generation != was.Generation || is.Revision <= was.Revision {
		t.Errorf("a standby that was away for a moment has the copy %+v after %+v", is, was)
	}

	a.remove(a.job("x"))
	one.Compact(t, a.put(a.job("z"), `{}`))
	_, kept := b.copied()
	stop = b.run()
	b.same(a)
	stop()
	_, anew := b.copied()
	if kept.Generation != is.Generation || anew.Generation == is.Generation {
		t.Errorf("after a compaction: %+v, before %+v", anew, kept)
	}

	// Another epoch of the active cluster is another history.
	a.put(a.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "a", Epoch: 2, Shards: 2})
	a.put(a.job("w"), `{}`)
	b.run()
	b.same(a)
}

// Of two that write only one does, and none does once the cluster is held by something else
// (M2, M4).
func TestM2_OneWrites(t *testing.T) {
	b := newSite(t, shared.Server(t).Client(t), "b", nil)
	hold := b.put(b.keys.Hold(), &etcdkv.Hold{Schema: 1, State: etcdkv.HoldStandby})
	writer := func() *copied {
		c := &copied{client: b.client, keys: b.keys, node: "n", now: time.Now, hold: hold}
		if err := c.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, two := writer(), writer()
	if err := one.begin(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := two.begin(t.Context(), 1); !errors.Is(err, errNotAlone) {
		t.Errorf("the second one writes: %v", err)
	}
	b.put(b.keys.Hold(), &etcdkv.Hold{Schema: 1, State: etcdkv.HoldRestoring})
	if err := one.complete(t.Context(), &Head{}); !errors.Is(err, errNotAlone) {
		t.Errorf("a cluster that is promoted has its copy written: %v", err)
	}
}

// Changes go in whole revisions, but for one that is too large for a transaction (M1).
func TestM1_RevisionsAreNotCut(t *testing.T) {
	a := newSite(t, shared.Server(t).Client(t), "a", nil)
	src := &Source{Client: a.client, Keys: a.keys, Now: time.Now}
	var events []*clientv3.Event
	rev := int64(1)
	for _, n := range []int{60, 60, 1, 99, 250, 2} {
		rev++
		for i := range n {
			e := &clientv3.Event{Kv: newKV(fmt.Sprintf("%sjobs/%d/%d", a.keys.Root(), rev, i), rev)}
			events = append(events, e)
		}
	}
	var out bytes.Buffer
	if err := src.changes(events, map[string]bool{}, &out); err != nil {
		t.Fatal(err)
	}
	seen, whole := 0, map[int64]int{}
	for r := newReader(&out); ; {
		k, payload, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || k != kindChanges {
			t.Fatal(k, err)
		}
		c, edits, err := readChanges(payload)
		if err != nil || len(edits) > batchOps {
			t.Errorf("%d changes in one frame, %v", len(edits), err)
		}
		for i := range edits {
			if edits[i].Mod > c.Revision {
				t.Errorf("a change of revision %d in a frame up to %d", edits[i].Mod, c.Revision)
			}
			whole[edits[i].Mod]++
		}
		for at, n := range whole {
			if want := []int{60, 60, 1, 99, 250, 2}[at-2]; !c.More && at <= c.Revision && n != want {
				t.Errorf("after the frame of revision %d: %d of %d changes of revision %d", c.Revision, n, want, at)
			}
		}
		seen += len(edits)
	}
	if seen != len(events) {
		t.Errorf("%d of %d changes", seen, len(events))
	}
}

// A planned switch: the active stops, the standby has all and takes its place in a later
// epoch, and the former active knows (M7, M8, M9). It can become the standby then.
func TestM8_APromotedStandbyGoesOn(t *testing.T) {
	c := shared.Server(t).Client(t)
	a := newSite(t, c, "a", nil)
	a.put(a.job("x"), `{"schema":1}`)
	a.put(a.keys.Owner(1), `{}`)
	for _, key := range []string{a.keys.KnownNode("e1"), a.keys.LostSite("north"), a.keys.Drain("e1")} { // M10
		a.put(key, `{"schema":1}`)
	}
	b := newSite(t, c, "b", a)
	b.put(b.job("own"), `{"schema":1}`)
	if _, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://active"}); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "job t/own") {
		t.Fatalf("a cluster with a job becomes a standby: %v", err)
	}
	plan, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://active", DryRun: true})
	if err != nil || len(plan.Lost) != 1 || plan.Cluster != "a" || b.held() != nil {
		t.Fatalf("%+v, %v", plan, err)
	}
	b.follows(a)
	dry, err := b.s.PromoteCluster(t.Context(), api.PromoteRequest{DryRun: true, Planned: true})
	if err != nil || dry.Epoch != 2 || dry.Copy.Jobs != 1 || a.held() != nil {
		t.Fatalf("%+v, %v", dry, err)
	}

	done, err := b.s.PromoteCluster(t.Context(), api.PromoteRequest{Order: api.Order{By: "ann", Reason: "works"}, Planned: true})
	if err != nil || done.Epoch != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if owners, err := c.Get(t.Context(), a.keys.Owners(), clientv3.WithPrefix()); err != nil || len(owners.Kvs) != 0 {
		t.Errorf("shards of the former active still have owners: %v, %v", owners, err)
	}
	meta, err := b.s.meta(t.Context())
	if err != nil || meta.ClusterID != "a" || meta.Epoch != 2 || strings.Join(meta.Replaces, " ") != "b" {
		t.Errorf("%+v, %v", meta, err)
	}
	if has := b.has(); has["jobs/0001/t/x"] == "" || has["jobs/0001/t/own"] != "" {
		t.Errorf("the promoted cluster has %v", has)
	}
	for _, of := range []string{b.keys.KnownNodes(), b.keys.LostSites(), b.keys.Drains()} {
		if r, err := c.Get(t.Context(), of, clientv3.WithPrefix()); err != nil || len(r.Kvs) != 0 {
			t.Errorf("nodes of the former active are known: %v, %v", r, err)
		}
	}
	if h := b.held(); h == nil || h.State != etcdkv.HoldRestored || h.Then == nil {
		t.Errorf("the promoted cluster is held by %+v", h)
	}
	await.Until(t, "the cluster is recovered", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.recovered) > 0 && b.recovered[0].By == "ann" && b.recovered[0].Reason == "works" && !b.recovered[0].AcceptUnknown
	})
	await.Until(t, "the former active knows", func() bool { h := a.held(); return h != nil && h.State == etcdkv.HoldOvertaken && h.Epoch == 2 })
	if why := Refuses(a.held()); !strings.Contains(why, "site b") {
		t.Errorf("the former active says %q", why)
	}
}

// A site that lives though its standby was promoted stops when it is told, and lists what
// was changed in it since when it becomes a standby.
func TestOvertakenSitesListWhatIsLost(t *testing.T) {
	c := shared.Server(t).Client(t)
	b := newSite(t, c, "a", nil) // of the same cluster, as it was promoted
	b.put(b.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "a", Epoch: 5, Shards: 2})
	a := newSite(t, c, "a", b)
	a.keys = etcdkv.NewKeys(a.keys.Prefix() + "old")
	a.s.cfg.Keys = a.keys
	a.put(a.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "a", Epoch: 4, Shards: 2})
	known := a.put(a.job("known"), `{}`)
	a.put(a.job("after"), `{}`)
	for _, epoch := range []int64{3, 4} {
		if _, err := a.s.Overtaken(t.Context(), api.OvertakenRequest{Cluster: "a", Epoch: epoch}); !errors.Is(err, job.ErrConflict) {
			t.Errorf("epoch %d overtakes: %v", epoch, err)
		}
	}
	if _, err := a.s.Overtaken(t.Context(), api.OvertakenRequest{Cluster: "other", Epoch: 9}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("another cluster overtakes: %v", err)
	}
	v, err := a.s.Overtaken(t.Context(), api.OvertakenRequest{Cluster: "a", Epoch: 5, Revision: known, Site: "west"})
	if err != nil || v.Role != api.RoleOvertaken || v.From != "west" {
		t.Fatalf("%+v, %v", v, err)
	}
	plan, err := a.s.FollowActive(t.Context(), api.FollowRequest{From: "https://west", DryRun: true})
	if err != nil || len(plan.Lost) != 1 || plan.Lost[0].Name != "t/after" {
		t.Errorf("%+v, %v", plan, err)
	}
	a.follows(b)
	if err := a.s.StopFollowing(t.Context(), api.Order{}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("a former active goes on by itself: %v", err)
	}
}

// A cluster does not follow itself, by whatever address: it would stop, and have no copy to
// go on from.
func TestAClusterDoesNotFollowItself(t *testing.T) {
	c := shared.Server(t).Client(t)
	var a site
	x := newSite(t, c, "a", &a)
	a.s = x.s
	if _, err := x.s.FollowActive(t.Context(), api.FollowRequest{From: "https://here", Replace: true}); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "this cluster itself") {
		t.Errorf("%v", err)
	}
	if h := x.held(); h != nil {
		t.Errorf("it is held: %+v", h)
	}
}

// A promotion whose node was killed is ended by the next node that starts, and whom it
// followed is still known (M8).
func TestM8_ABrokenPromotionIsEnded(t *testing.T) {
	c := shared.Server(t).Client(t)
	a := newSite(t, c, "a", nil)
	a.put(a.job("x"), `{"schema":1}`)
	b := newSite(t, c, "b", a)
	b.follows(a)
	h := b.held()
	b.remove(b.keys.Root(), clientv3.WithPrefix()) // as a restore begins
	h.State, h.Epoch = etcdkv.HoldRestoring, 2
	h.Then = &etcdkv.HoldThen{Reason: "it burns", Last: map[string][]byte{b.keys.Following(): []byte(`{"ended":true}`)}}
	b.put(b.keys.Hold(), h)
	live := b.lease()
	b.put(b.keys.Member("b"), `{}`, live)
	waits, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Resume(waits, c, b.keys, "v1", zaptest.NewLogger(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("while a node lives: %v", err)
	}
	b.remove(b.keys.Member("b"))
	if err := Resume(t.Context(), c, b.keys, "v1", zaptest.NewLogger(t)); err != nil {
		t.Fatal(err)
	}
	meta, err := b.s.meta(t.Context())
	if err != nil || meta.ClusterID != "a" || meta.Epoch != 3 {
		t.Errorf("%+v, %v", meta, err)
	}
	if has := b.has(); has["jobs/0001/t/x"] == "" {
		t.Errorf("it has %v", has)
	}
	if h := b.held(); h == nil || h.State != etcdkv.HoldRestored || h.Then == nil || h.Then.Reason != "it burns" || h.Then.Last != nil {
		t.Errorf("it is held by %+v", h)
	}
	if resp, err := c.Get(t.Context(), b.keys.Following()); err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != `{"ended":true}` {
		t.Errorf("whom it followed: %v, %v", resp, err)
	}
	if err := Resume(t.Context(), c, b.keys, "v1", zaptest.NewLogger(t)); err != nil {
		t.Errorf("when none is under way: %v", err)
	}
}
