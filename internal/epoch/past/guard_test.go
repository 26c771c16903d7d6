package past

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/epoch"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func TestJudge(t *testing.T) {
	seen := epoch.Point{Cluster: "c", Epoch: 2, Mark: 50, Revision: 100}
	hold := func(s etcdkv.HoldState) *etcdkv.Hold { return &etcdkv.Hold{State: s} }
	for name, c := range map[string]struct {
		found found
		want  verdict
		says  string
	}{
		"as it was":           {found{Point: seen}, fit, ""},
		"newer":               {found{Point: epoch.Point{Cluster: "c", Epoch: 2, Mark: 51, Revision: 101}}, fit, ""},
		"restored, plain":     {found{Point: epoch.Point{Cluster: "c", Epoch: 2, Mark: 40, Revision: 90}}, back, "etcd went back from epoch 2, revision 100, mark 50"},
		"restored, bumped":    {found{Point: epoch.Point{Cluster: "c", Epoch: 2, Mark: 40, Revision: 1_000_000_090}}, back, "carillon restore"},
		"an older epoch":      {found{Point: epoch.Point{Cluster: "c", Epoch: 1, Mark: 500, Revision: 1000}}, back, "recover --adopt"},
		"restored by us":      {found{Point: epoch.Point{Cluster: "c", Epoch: 3, Revision: 9}, hold: hold(etcdkv.HoldRestored)}, held, "carillon recover"},
		"recovered":           {found{Point: epoch.Point{Cluster: "c", Epoch: 3, Revision: 12}}, fit, ""},
		"back, and held":      {found{Point: epoch.Point{Cluster: "c", Epoch: 1, Revision: 9}, hold: hold(etcdkv.HoldRestored)}, back, "went back"},
		"half restored":       {found{Point: epoch.Point{Revision: 9}, hold: hold(etcdkv.HoldRestoring)}, restoring, "--replace"},
		"another cluster":     {found{Point: epoch.Point{Cluster: "d", Epoch: 9, Mark: 900, Revision: 9000}}, other, "holds another cluster"},
		"no cluster any more": {found{Point: epoch.Point{Revision: 9}}, other, "holds no cluster"},
	} {
		got, why := judge(seen, &c.found, "/carillon", "seen.json")
		if got != c.want || !strings.Contains(why, c.says) || (why == "") != (got == fit) {
			t.Errorf("%s: verdict %d, %q; want %d, saying %q", name, got, why, c.want, c.says)
		}
	}
	if got, why := judge(epoch.Point{}, &found{Point: seen}, "", ""); got != fit {
		t.Errorf("a node that has seen nothing: verdict %d, %q", got, why)
	}
}

// etcd is a cluster's keys, and guards that look at them.
type etcd struct {
	*testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
	now    time.Time
	dir    string
}

func setup(t *testing.T) *etcd {
	t.Helper()
	e := &etcd{T: t, client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t)), now: time.Now(), dir: t.TempDir()}
	e.put(e.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "c", Epoch: 1, Shards: 4})
	return e
}

func (e *etcd) put(key string, v any) {
	e.Helper()
	text, err := etcdkv.Encode(v)
	if err == nil {
		_, err = e.client.Put(e.Context(), key, text)
	}
	if err != nil {
		e.Fatal(err)
	}
}

func (e *etcd) open(node string) *Guard {
	e.Helper()
	g, err := New(Config{Node: "n1", Keys: e.keys, File: filepath.Join(e.dir, node)},
		Deps{Client: e.client, Logger: zap.NewNop(), Now: func() time.Time { return e.now }})
	if err != nil {
		e.Fatal(err)
	}
	return g
}

func (e *etcd) begin(node string) *Guard {
	e.Helper()
	g := e.open(node)
	if err := g.Begin(e.Context()); err != nil {
		e.Fatal(err)
	}
	return g
}

func (e *etcd) look(g *Guard) error {
	e.now = e.now.Add(2 * markEvery)
	return g.once(e.Context())
}

func (e *etcd) taken(g *Guard) bool {
	e.Helper()
	resp, err := e.client.Txn(e.Context()).If(g.Fence()...).Then(clientv3.OpPut(e.keys.Owner(1), "n1")).Commit()
	if err != nil {
		e.Fatal(err)
	}
	return resp.Succeeded
}

// A mark is put while something is written, and not otherwise; what was seen of it outlives
// the node.
func TestE1_MarksAreSeenAndKept(t *testing.T) {
	e := setup(t)
	g := e.begin("a")
	for range 3 {
		if err := e.look(g); err != nil {
			t.Fatal(err)
		}
	}
	first := g.Seen()
	if first.Mark == 0 {
		t.Fatal("no mark was put")
	}
	if again := e.begin("a").Seen(); again.Mark != first.Mark || again.Cluster != "c" || again.Epoch != 1 {
		t.Errorf("the next process has seen %v, want %v", again, first)
	}
	idle := etcdtest.Revision(t, e.client)
	for range 3 {
		if err := e.look(g); err != nil {
			t.Fatal(err)
		}
	}
	if now := etcdtest.Revision(t, e.client); now != idle {
		t.Errorf("an idle cluster is written to: from revision %d to %d", idle, now)
	}
}

// A node that has seen more than etcd has is lost, and takes no shard; with a mark that is
// behind also where the revision is far beyond (--bump-revision).
func TestE3_EtcdThatWentBackGivesNoShard(t *testing.T) {
	e := setup(t)
	g := e.begin("a")
	for range 2 {
		if err := e.look(g); err != nil {
			t.Fatal(err)
		}
	}
	if !e.taken(g) {
		t.Fatal("a fit node takes no shard")
	}
	seen := g.Seen()
	seen.Mark++
	seen.Revision = 1
	f, err := epoch.OpenFile(filepath.Join(e.dir, "bumped"))
	if err == nil {
		err = f.Save(seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	after := e.begin("bumped")
	if why := after.Why(); !strings.Contains(why, "etcd went back from") || !strings.Contains(why, "carillon restore") {
		t.Errorf("why: %q", why)
	}
	select {
	case <-after.Lost():
	default:
		t.Error("the node is not lost")
	}
	if e.taken(after) {
		t.Error("a shard was taken")
	}
	// Once etcd is right again, the node opens anew (E5).
	e.put(e.keys.Mark(), &etcdkv.Mark{Schema: 1})
	if err := e.look(after); !errors.Is(err, ErrAnew) {
		t.Errorf("etcd is right again: %v", err)
	}
}

func TestE3_AHeldClusterGivesNoShard(t *testing.T) {
	e := setup(t)
	e.put(e.keys.Hold(), &etcdkv.Hold{Schema: 1, State: etcdkv.HoldRestored, Since: e.now})
	g := e.begin("a")
	if !strings.Contains(g.Why(), "carillon recover") || g.Held() == nil || e.taken(g) {
		t.Errorf("held: %q", g.Why())
	}
	if _, err := e.client.Delete(e.Context(), e.keys.Hold()); err != nil {
		t.Fatal(err)
	}
	if err := e.look(g); err != nil || g.Why() != "" || !e.taken(g) {
		t.Errorf("released: %v, %q", err, g.Why())
	}
}

func TestE5_AnotherEpochOpensTheNodeAnew(t *testing.T) {
	e := setup(t)
	g := e.begin("a")
	e.put(e.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "c", Epoch: 2, Shards: 4})
	if err := e.look(g); !errors.Is(err, ErrAnew) {
		t.Errorf("in another epoch: %v", err)
	}
	if again := e.begin("a"); again.Seen().Epoch != 2 {
		t.Errorf("the node that was opened anew has seen %v", again.Seen())
	}
}

// A node that has belonged to a cluster founds none, and joins no other.
func TestE2_AnotherClusterIsNotJoined(t *testing.T) {
	e := setup(t)
	if e.begin("a").Founds() || !e.open("b").Founds() {
		t.Error("who may found a cluster is wrong")
	}
	e.put(e.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "d", Epoch: 1, Shards: 4})
	if err := e.open("a").Begin(t.Context()); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "remove "+filepath.Join(e.dir, "a")) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := e.client.Delete(t.Context(), e.keys.Meta()); err != nil {
		t.Fatal(err)
	}
	if err := e.open("a").Begin(t.Context()); !errors.Is(err, ErrOther) {
		t.Errorf("no cluster: %v", err)
	}
}
