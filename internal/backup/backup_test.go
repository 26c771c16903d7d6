package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bed is a prefix of etcd.
type bed struct {
	*testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
}

func newBed(t *testing.T, name string) *bed {
	t.Helper()
	return &bed{t, shared.Server(t).Client(t), etcdkv.NewKeys(etcdtest.Prefix(t) + name)}
}

func (b *bed) put(key string, v any, opts ...clientv3.OpOption) int64 {
	b.Helper()
	text, raw := v.(string)
	if !raw {
		var err error
		if text, err = etcdkv.Encode(v); err != nil {
			b.Fatal(err)
		}
	}
	resp, err := b.client.Put(b.Context(), key, text, opts...)
	if err != nil {
		b.Fatal(err)
	}
	return resp.Header.Revision
}

func (b *bed) all() map[string]*kv {
	b.Helper()
	resp, err := b.client.Get(b.Context(), b.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]*kv{}
	for _, x := range resp.Kvs {
		out[strings.TrimPrefix(string(x.Key), b.keys.Root())] = &kv{x.Value, x.CreateRevision}
	}
	return out
}

type kv struct {
	value  []byte
	create int64
}

func (b *bed) lease() clientv3.OpOption {
	b.Helper()
	l, err := b.client.Grant(b.Context(), 600)
	if err != nil {
		b.Fatal(err)
	}
	return clientv3.WithLease(l.ID)
}

// cluster puts a cluster of which something is known, and something is not.
func (b *bed) cluster() {
	b.Helper()
	b.put(b.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "c", Epoch: 4, Shards: 2})
	known := b.put(b.keys.Job(1, job.Key{Namespace: "t", Name: "zz-known"}), `{"schema":1}`)
	b.put(b.keys.State(1), &etcdkv.ShardState{Schema: 1, JobsRev: known, Seq: 3, Unsent: 3})
	b.put(b.keys.Job(1, job.Key{Namespace: "t", Name: "aa-new"}), `{"schema":1}`)
	b.put(b.keys.Member("n1"), `{}`, b.lease())
	b.put(b.keys.Mark(), &etcdkv.Mark{Schema: 1})
	b.put(b.keys.Blob("abc"), strings.Repeat("x", 300))
}

func (b *bed) take() []byte {
	b.Helper()
	var out bytes.Buffer
	if _, _, err := Take(b.Context(), b.client, b.keys, "v1", &out); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func (b *bed) restore(file []byte, o Options) (Restored, error) {
	return Restore(b.Context(), b.client, b.keys, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }, o)
}

// All keys come back but those on leases, at a higher epoch and held; a job that the last
// commit had known is known, and another is not (B4, B7, B8).
func TestB8_WhatWasKnownIsKnown(t *testing.T) {
	from, to := newBed(t, "from"), newBed(t, "to")
	from.cluster()
	for i := range 1200 { // more than a page and a batch
		from.put(from.keys.Grant(job.MinionID(fmt.Sprintf("m%04d", i))), `{}`)
	}
	file := from.take()
	r, err := to.restore(file, Options{By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	was, is := from.all(), to.all()
	delete(was, "members/n1")
	delete(was, "epoch/mark")
	for key := range was {
		if is[key] == nil {
			t.Errorf("%s is missing", key)
		}
	}
	if len(is) != len(was)+1 || r.NewEpoch != 5 || r.Jobs != 2 {
		t.Errorf("%d keys of %d, epoch %d, %d jobs", len(is), len(was), r.NewEpoch, r.Jobs)
	}
	meta, err := etcdkv.Decode[etcdkv.Meta]("", is["meta"].value)
	if err != nil || meta.Epoch != 5 || meta.ClusterID != "c" {
		t.Errorf("meta %+v, %v", meta, err)
	}
	hold, err := etcdkv.Decode[etcdkv.Hold]("", is["epoch/hold"].value)
	if err != nil || hold.State != etcdkv.HoldRestored || hold.Epoch != 5 || hold.From != 4 || hold.By != "ann" {
		t.Errorf("hold %+v, %v", hold, err)
	}
	st, err := etcdkv.Decode[etcdkv.ShardState]("", is[strings.TrimPrefix(to.keys.State(1), to.keys.Root())].value)
	if err != nil || st.Seq != 3 || st.Unsent != 0 {
		t.Errorf("state %+v, %v", st, err)
	}
	for name, known := range map[string]bool{"zz-known": true, "aa-new": false} {
		key := strings.TrimPrefix(to.keys.Job(1, job.Key{Namespace: "t", Name: name}), to.keys.Root())
		if got := is[key].create <= st.JobsRev; got != known {
			t.Errorf("%s: known is %v, by revision %d of %d", name, got, is[key].create, st.JobsRev)
		}
	}
}

// Of two records of a run the newer one stays so, and what is written from now on is newer
// than both, whatever etcd's revision is.
func TestB8_RecordsKeepTheirOrder(t *testing.T) {
	keys := etcdkv.NewKeys("/x")
	tr, err := newTranslation(keys, Header{Revision: 1000}, 2)
	if err != nil {
		t.Fatal(err)
	}
	key := keys.RunSegment(3, (etcdkv.SegmentName{Newest: 9, Oldest: 1, Bytes: 7, Unique: "u"}).String())
	value := tr.codec.Encode([]etcdkv.SegmentRecord{{At: 9, ID: "a", Rev: 900}, {At: 5, ID: "b", Rev: 1000}, {At: 1, ID: "c"}})
	newKey, text, err := tr.put(&Record{Key: strings.TrimPrefix(key, keys.Root()), Mod: 950, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	_, name, err := keys.ParseRunSegment(newKey)
	if err != nil || name.Bytes != len(text) {
		t.Errorf("name %+v of %d bytes, %v", name, len(text), err)
	}
	records, err := tr.codec.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := records[0].Rev, records[1].Rev, records[2].Rev; a >= c || c >= b || b >= 0 {
		t.Errorf("revisions %d, %d, %d", a, b, c)
	}
}

// A prefix that is in use is left alone, with what is there in the reason (B5).
func TestB5_NothingIsOverwritten(t *testing.T) {
	b := newBed(t, "")
	b.cluster()
	file := b.take()
	refused := func(what string, o Options, says string) {
		t.Helper()
		if _, err := b.restore(file, o); !errors.Is(err, ErrInTheWay) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("live nodes", Options{Replace: true}, "live nodes: [n1]")
	if _, err := b.client.Delete(t.Context(), b.keys.Member("n1")); err != nil {
		t.Fatal(err)
	}
	refused("keys", Options{}, "the cluster c of epoch 4")
	b.put(b.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "c", Epoch: 9, Shards: 2})
	b.put(b.keys.Job(0, job.Key{Namespace: "t", Name: "later"}), `{}`)
	if _, err := b.restore(file, Options{Replace: true, Epoch: 9}); err == nil || !strings.Contains(err.Error(), "it must be 10 or more") {
		t.Errorf("an epoch that is no higher: %v", err)
	}
	r, err := b.restore(file, Options{Replace: true})
	if err != nil || r.NewEpoch != 10 {
		t.Fatalf("epoch %d, %v", r.NewEpoch, err)
	}
	if b.all()["jobs/0000/t/later"] != nil || len(b.all()) != 6 {
		t.Errorf("what was there has stayed: %d keys", len(b.all()))
	}
}

// Whatever is changed or cut is found out before anything is put (B3).
func TestB3_DamageIsFoundOut(t *testing.T) {
	from, to := newBed(t, "from"), newBed(t, "to")
	from.cluster()
	file := from.take()
	for name, change := range map[string]func([]byte) []byte{
		"cut at its end":   func(b []byte) []byte { return b[:len(b)-1] },
		"cut in a chunk":   func(b []byte) []byte { return b[:len(b)/2] },
		"empty":            func([]byte) []byte { return nil },
		"another file":     func(b []byte) []byte { return append([]byte("x"), b...) },
		"a changed header": func(b []byte) []byte { b[40] ^= 1; return b },
		"a changed chunk":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"more at its end":  func(b []byte) []byte { return append(b, 'x') },
	} {
		bad := change(bytes.Clone(file))
		if _, err := to.restore(bad, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(to.all()); n != 0 {
		t.Errorf("%d keys were put", n)
	}
}

// A backup is there only when it is whole, for its owner only; it can be encrypted, listed
// and pruned (B2).
func TestB2_Directory(t *testing.T) {
	b := newBed(t, "")
	b.cluster()
	dir := Directory(filepath.Join(t.TempDir(), "b"))
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := Create(t.Context(), FromEtcd(b.client, b.keys, ""), Wish{To: dir, EtcdSnapshot: b.client.Snapshot})
	if err != nil {
		t.Fatal(err)
	}
	b.put(b.keys.Blob("later"), "x")
	aged, _, err := Create(t.Context(), FromEtcd(b.client, b.keys, ""), Wish{To: dir, Recipients: []age.Recipient{id.Recipient()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain.Path, plain.EtcdSnapshot, aged.Path} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || st.Size() == 0 {
			t.Errorf("%s: %v, %v", path, st, err)
		}
	}
	if _, err := Open(aged.Path, nil); err == nil || !strings.Contains(err.Error(), "--age-identity") {
		t.Errorf("an encrypted one without an identity: %v", err)
	}
	for path, ids := range map[string][]age.Identity{plain.Path: nil, aged.Path: {id}} {
		f, err := Open(path, ids)
		if err != nil {
			t.Fatal(err)
		}
		if h, end, err := Read(f, nil); err != nil || h.Cluster != "c" || end.Jobs != 2 {
			t.Errorf("%s: %+v, %+v, %v", path, h, end, err)
		}
		_ = f.Close()
	}
	all, err := List(t.Context(), dir, time.Now())
	if err != nil || len(all) != 2 || all[0].TakenAt.Before(all[1].TakenAt) || time.Since(all[0].TakenAt) > time.Hour {
		t.Errorf("list: %+v, %v", all, err)
	}
	if gone, err := Prune(t.Context(), dir, 1, true, time.Now()); err != nil || len(gone) != 1 {
		t.Errorf("dry: %v, %v", gone, err)
	}
	if gone, err := Prune(t.Context(), dir, 1, false, time.Now()); err != nil || len(gone) != 1 {
		t.Errorf("prune: %v, %v", gone, err)
	}
	if left, err := os.ReadDir(string(dir)); err != nil || len(left) > 2 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, _, err := Create(t.Context(), FromEtcd(b.client, etcdkv.NewKeys("/nowhere"), ""), Wish{To: dir}); !errors.Is(err, ErrNoCluster) {
		t.Errorf("of nothing: %v", err)
	}
	parts, _ := filepath.Glob(dir.Path("*" + beingWritten))
	if len(parts) > 0 {
		t.Errorf("left behind: %v", parts)
	}
}

// What another one reads from etcd is kept when it is whole; it is asked again when it breaks
// off, and not for ever.
func TestB3_FromStream(t *testing.T) {
	b := newBed(t, "")
	b.cluster()
	whole := b.take()
	for name, c := range map[string]struct {
		cut  int // how many answers are cut short
		asks int
	}{"whole": {0, 1}, "cut once": {1, 2}, "cut each time": {takeTries, takeTries}} {
		dir := Directory(t.TempDir())
		asked := 0
		k, end, err := Create(t.Context(), FromStream(func(context.Context) (io.ReadCloser, error) {
			asked++
			text := whole
			if asked <= c.cut {
				text = whole[:len(whole)-5]
			}
			return io.NopCloser(bytes.NewReader(text)), nil
		}), Wish{To: dir})
		if asked != c.asks || (err == nil) != (c.cut < takeTries) {
			t.Errorf("%s: asked %d times, %v", name, asked, err)
		}
		if err != nil {
			if left, _ := os.ReadDir(string(dir)); len(left) > 0 {
				t.Errorf("%s: left behind: %v", name, left)
			}
			continue
		}
		text, err := os.ReadFile(k.Path)
		if err != nil || !bytes.Equal(text, whole) || end.Jobs != 2 {
			t.Errorf("%s: %d bytes, %+v, %v", name, len(text), end, err)
		}
	}
}
