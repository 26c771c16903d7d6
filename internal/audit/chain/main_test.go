package chain

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	os.Exit(shared.Run(m,
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	))
}

// bed is keys of its own in an etcd.
type bed struct {
	t    *testing.T
	cli  *clientv3.Client
	keys etcdkv.Keys
	n    int
}

func newBed(t *testing.T) *bed {
	t.Helper()
	return &bed{t: t, cli: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t))}
}

// write writes a record, as of a time, and returns its name.
func (b *bed) write(at time.Time) string {
	b.t.Helper()
	b.n++
	id := fmt.Sprintf("%04d", b.n)
	text, err := etcdkv.Encode(etcdkv.Audit{Schema: 1, At: at, By: "ada", Action: "job.change", Object: "job ops/" + id})
	if err != nil {
		b.t.Fatal(err)
	}
	key := b.keys.AuditRecord(at, id)
	b.put(key, text)
	return key[len(b.keys.Audit()):]
}

func (b *bed) put(key, value string) {
	b.t.Helper()
	if _, err := b.cli.Put(b.t.Context(), key, value); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) sealer(edits ...func(*Config, *Deps)) *Sealer {
	b.t.Helper()
	cfg := Config{Keys: b.keys, Node: "n1", Epoch: 1, Every: 5 * time.Millisecond}
	deps := Deps{Client: b.cli, Mine: func() bool { return true }}
	for _, edit := range edits {
		edit(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// run runs a sealer until stop is called, or the test ends.
func (b *bed) run(s *Sealer) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

func (b *bed) reader() *Reader { return &Reader{Client: b.cli, Keys: b.keys} }

func (b *bed) verify() Verdict {
	b.t.Helper()
	v, err := b.reader().Verify(b.t.Context(), Expectation{})
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// sealed waits until so many records are sealed, and none waits.
func (b *bed) sealed(n int) Verdict {
	b.t.Helper()
	var v Verdict
	await.Until(b.t, "the records are sealed", func() bool {
		v = b.verify()
		return v.Records == n && v.Waiting == 0
	})
	return v
}

// atOnce seals what there is now in segments of their own, and removes what is old,
// without a lease.
func (b *bed) atOnce(now time.Time) {
	b.t.Helper()
	s := b.sealer(func(_ *Config, d *Deps) { d.Now = func() time.Time { return now } })
	w := &work{s: s, fence: clientv3.Compare(clientv3.CreateRevision(b.keys.AuditSealer()), "=", 0)}
	if err := w.load(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := w.seal(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := w.trim(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}
