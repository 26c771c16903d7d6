package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// noon is when the tests' records are of.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// TestC1_RecordsAreSealed: those that are there, and those that come, in the order in
// which they come, whatever their times are.
func TestC1_RecordsAreSealed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	now := time.Now()
	var names []string
	for range 2*segmentRecords + 10 {
		names = append(names, b.write(now))
	}
	b.run(b.sealer())
	b.sealed(len(names))
	names = append(names, b.write(now.Add(-30*time.Second)), b.write(now.Add(-time.Minute)))
	v := b.sealed(len(names))
	if len(v.Problems) > 0 || v.First != 1 || v.Last < 4 || !v.Begins.IsZero() {
		t.Errorf("%+v", v)
	}
	var got []string
	for seq := v.First; seq <= v.Last; seq++ {
		s, err := b.reader().Segment(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range s.Records {
			got = append(got, r.Name)
			if rec, err := s.Decode(i); err != nil || !strings.HasSuffix(r.Name, strings.TrimPrefix(rec.Object, "job ops/")) {
				t.Fatalf("%s: %+v, %v", r.Name, rec, err)
			}
		}
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("sealed in another order than written:\n%v\n%v", got, names)
	}
}

// TestC3_ASealerThatStoodStill: a sealer whose lease has ended writes nothing, whether
// another one has written meanwhile or not; nor does one that was not alone.
func TestC3_ASealerThatStoodStill(t *testing.T) {
	t.Parallel()
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprint(another), func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.write(time.Now())
			sess, err := lock.Open(t.Context(), lock.SessionConfig{Holder: "n1", TTL: 10 * time.Second, Epoch: 1, Marks: b.keys.Marks()}, lock.Deps{Client: b.cli})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sess.Close(context.WithoutCancel(t.Context())) })
			owned, err := sess.Claim(t.Context(), lock.Grant{Key: b.keys.AuditSealer(), Value: "n1"})
			if err != nil {
				t.Fatal(err)
			}
			w := &work{s: b.sealer(), fence: owned.Fence()}
			if err := w.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			// It stands still here, and its lease ends.
			if _, err := b.cli.Revoke(t.Context(), sess.Lease()); err != nil {
				t.Fatal(err)
			}
			want := int64(0)
			if another {
				stop := b.run(b.sealer(func(c *Config, _ *Deps) { c.Node = "n2" }))
				b.sealed(1)
				stop()
				want = 1
			}
			if err := w.seal(t.Context()); !errors.Is(err, errMoved) {
				t.Errorf("it goes on: %v", err)
			}
			head, err := b.reader().Head(t.Context())
			if err != nil || head.Seq != want {
				t.Fatalf("the chain ends with %d, want %d; %v", head.Seq, want, err)
			}
			if v := b.verify(); len(v.Problems) > 0 || v.Records != int(want) || v.Waiting != 1-int(want) {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestC3_OneAtATime: many nodes that all believe that they ought to seal make one chain.
func TestC3_OneAtATime(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for i := range 3 {
		b.run(b.sealer(func(c *Config, _ *Deps) { c.Node, c.LeaseTTL = job.NodeID(fmt.Sprint("n", i)), time.Second }))
	}
	for i := range 50 {
		b.write(time.Now())
		if i%10 == 9 { // whoever seals loses its lease
			b.sealed(i + 1)
			got, err := b.cli.Get(t.Context(), b.keys.AuditSealer())
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range got.Kvs {
				_, _ = b.cli.Revoke(t.Context(), clientv3.LeaseID(kv.Lease))
			}
		}
	}
	if v := b.sealed(50); len(v.Problems) > 0 {
		t.Errorf("%+v", v)
	}
}

// cutKV does a transaction that writes, the n-th, and loses the answer, or loses the
// transaction itself.
type cutKV struct {
	clientv3.KV
	n    int
	done bool
}

func (k *cutKV) Txn(ctx context.Context) clientv3.Txn { return &cutTxn{k.KV.Txn(ctx), k} }

type cutTxn struct {
	clientv3.Txn
	kv *cutKV
}

func (x *cutTxn) If(c ...clientv3.Cmp) clientv3.Txn  { x.Txn = x.Txn.If(c...); return x }
func (x *cutTxn) Then(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(o...); return x }

func (x *cutTxn) Commit() (*clientv3.TxnResponse, error) {
	x.kv.n--
	if x.kv.n != 0 {
		return x.Txn.Commit()
	}
	if x.kv.done {
		_, _ = x.Txn.Commit()
	}
	return nil, errors.New("the wire is cut")
}

// TestC6_CrashesOfTheSealer: a sealer that dies, or is cut off, before any of its writes
// or after it, leaves a chain that the next one goes on with: each record is sealed once.
func TestC6_CrashesOfTheSealer(t *testing.T) {
	t.Parallel()
	const records = 3*segmentRecords - 50
	for n := 1; n <= 4; n++ { // three segments, and the first to be removed
		for _, done := range []bool{false, true} {
			for _, dies := range []bool{false, true} {
				t.Run(fmt.Sprintf("write %d, done %v, dies %v", n, done, dies), func(t *testing.T) {
					t.Parallel()
					b := newBed(t)
					now := time.Now()
					for range records {
						b.write(now)
					}
					cli := shared.Server(t).Client(t)
					kv := &cutKV{KV: cli.KV, n: n, done: done}
					cli.KV = kv
					// Old segments go all the time, so that these writes are hit as well.
					one := b.sealer(func(c *Config, d *Deps) { c.Keep, d.Client = time.Nanosecond, cli })
					w := &work{s: one, fence: clientv3.Compare(clientv3.CreateRevision(b.keys.AuditSealer()), "=", 0)}
					err := errors.Join(w.load(t.Context()), w.seal(t.Context()), w.trim(t.Context()))
					if err == nil {
						t.Fatal("no write was cut off")
					}
					if !dies { // it reads all anew
						if w = (&work{s: one, fence: w.fence}); w.load(t.Context()) != nil {
							t.Fatal("it does not read the chain again")
						}
						if err := w.seal(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					stop := b.run(b.sealer(func(c *Config, _ *Deps) { c.Node = "n2" }))
					await.Until(t, "all is sealed", func() bool {
						head, err := b.reader().Head(t.Context())
						return err == nil && head.Seq >= 3 && b.verify().Waiting == 0
					})
					stop()
					v := b.verify()
					head, err := b.reader().Head(t.Context())
					if err != nil || len(v.Problems) > 0 || head.Seq != 3 {
						t.Errorf("%+v, head %+v, %v", v, head, err)
					}
				})
			}
		}
	}
}

// TestC5_OldSegmentsGo: with their records, the oldest first, and Verify knows where
// the chain begins; what is young stays, unless all take too much room.
func TestC5_OldSegmentsGo(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	begin := time.Now().Add(-10 * time.Hour)
	for i := range 10 {
		at := begin.Add(time.Duration(i) * time.Hour)
		b.write(at)
		b.write(at)
		b.atOnce(at)
	}
	stop := b.run(b.sealer(func(c *Config, _ *Deps) { c.Keep = 3*time.Hour + 30*time.Minute }))
	v := b.sealed(6)
	stop()
	if len(v.Problems) > 0 || v.First != 8 || v.Last != 10 || !v.Begins.Equal(begin.Add(6*time.Hour)) {
		t.Errorf("%+v", v)
	}
	left, err := b.cli.Get(t.Context(), b.keys.Audit(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || left.Count != 6 {
		t.Errorf("%d records are left, %v", left.Count, err)
	}
	head, err := b.reader().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop = b.run(b.sealer(func(c *Config, _ *Deps) { c.MaxBytes = head.Bytes / 2 }))
	v = b.sealed(2)
	stop()
	if len(v.Problems) > 0 || v.First != 10 {
		t.Errorf("%+v", v)
	}
	stop = b.run(b.sealer(func(c *Config, _ *Deps) { c.Keep = time.Minute }))
	v = b.sealed(0)
	b.write(time.Now())
	v = b.sealed(1)
	stop()
	if len(v.Problems) > 0 || v.First != 11 || v.Last != 11 {
		t.Errorf("%+v", v)
	}
	want, err := b.reader().Verify(t.Context(), Expectation{Seq: 10, Hash: head.Hash})
	if err != nil || len(want.Problems) > 0 {
		t.Errorf("the segment before the first: %v, %v", want.Problems, err)
	}
}

// TestC6_GoesOnWhereACopyWasRestored: all keys are put anew, in another order, so that
// no revision is what it was.
func TestC6_GoesOnWhereACopyWasRestored(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	now := time.Now()
	for range segmentRecords + 5 {
		b.write(now)
	}
	b.atOnce(now)
	b.write(now) // not sealed when the copy was made
	copied := &bed{t: t, cli: etcdtest.Start(t).Client(t), keys: b.keys, n: 1000}
	got, err := b.cli.Get(t.Context(), strings.TrimSuffix(b.keys.Audit(), "audit/"), clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range got.Kvs {
		copied.put(string(kv.Key), string(kv.Value))
	}
	copied.write(now)
	copied.run(copied.sealer())
	if v := copied.sealed(segmentRecords + 7); len(v.Problems) > 0 || v.Last != 3 {
		t.Errorf("%+v", v)
	}
}

// TestVerifyKnowsWhatIsExpected: a chain that was written all anew is another one than
// an export has.
func TestVerifyKnowsWhatIsExpected(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for i := range 3 {
		b.write(noon)
		b.atOnce(noon.Add(time.Duration(i) * time.Minute))
	}
	seg, err := b.reader().Segment(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for text, c := range map[string]struct {
		want Expectation
		told string
	}{
		"as it is":     {Expectation{2, seg.Hash}, ""},
		"another hash": {Expectation{2, "abc"}, "segment 2 is another one than is expected"},
		"cut off":      {Expectation{4, seg.Hash}, "segment 4 is expected, and the chain ends with 3"},
	} {
		v, err := b.reader().Verify(t.Context(), c.want)
		if err != nil || (c.told == "") != (len(v.Problems) == 0) || !strings.Contains(strings.Join(v.Problems, "\n"), c.told) {
			t.Errorf("%s: %q, %v", text, v.Problems, err)
		}
	}
}

// TestSince: the first segment that may have records of a time.
func TestSince(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for i := range 5 {
		b.write(noon)
		b.atOnce(noon.Add(time.Duration(i) * time.Hour))
	}
	for after, want := range map[time.Duration]int64{-time.Hour: 1, 0: 1, time.Minute: 2, 4 * time.Hour: 5, 5 * time.Hour: 6} {
		if got, err := b.reader().Since(t.Context(), noon.Add(after)); err != nil || got != want {
			t.Errorf("%v: segment %d, %v; want %d", after, got, err, want)
		}
	}
}

// edit changes a stored JSON object.
func (b *bed) edit(key string, change func(map[string]any)) {
	b.t.Helper()
	got, err := b.cli.Get(b.t.Context(), key)
	if err != nil || len(got.Kvs) != 1 {
		b.t.Fatal(key, got, err)
	}
	var v map[string]any
	if err := json.Unmarshal(got.Kvs[0].Value, &v); err != nil {
		b.t.Fatal(err)
	}
	change(v)
	text, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(key, string(text))
}

func (b *bed) remove(key string) {
	b.t.Helper()
	if got, err := b.cli.Delete(b.t.Context(), key); err != nil || got.Deleted != 1 {
		b.t.Fatal(key, got, err)
	}
}

// names are the records that there are.
func (b *bed) names() []string {
	b.t.Helper()
	got, err := b.cli.Get(b.t.Context(), b.keys.Audit(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		b.t.Fatal(err)
	}
	names := make([]string, len(got.Kvs))
	for i, kv := range got.Kvs {
		names[i] = string(kv.Key[len(b.keys.Audit()):])
	}
	return names
}
