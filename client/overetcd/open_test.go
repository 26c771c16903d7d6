package overetcd

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	os.Exit(shared.Run(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	))
}

// cluster makes what a first node would, sealed or not, and returns a client of it.
func cluster(t *testing.T, access string, sealed bool) *Client {
	t.Helper()
	server, prefix := shared.Server(t), etcdtest.Prefix(t)
	kv, keys := server.Client(t), etcdkv.NewKeys(prefix)
	put := func(key string, v any) {
		t.Helper()
		text, err := etcdkv.Encode(v)
		if err == nil {
			_, err = kv.Put(t.Context(), key, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(keys.Meta(), etcdkv.Meta{Schema: etcdkv.Schema, ClusterID: "c1", Epoch: 1, Shards: 4, LabelsGranted: true})
	if access != "" {
		put(keys.Access(), etcdkv.Access{Schema: etcdkv.Schema, State: access})
	}
	if sealed {
		put(keys.SealState(), etcdkv.SealState{Schema: etcdkv.Schema, Key: "k1", SettledAt: time.Now()})
	}
	c, err := Open(t.Context(), Config{Endpoints: server.Endpoints, Prefix: prefix, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRegister: a job is registered by one call, checked as the API does it, in a cluster
// that is closed and without a node; the audit tells by whom and how (E1, E2).
func TestRegister(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), cluster(t, "closed", false)
	nightly := job.Key{Namespace: "ops", Name: "nightly"}
	spec := job.Spec{Schedules: []string{"0 2 * * *"}, Command: []string{"go:nightly"}}
	done, err := c.Jobs.Register(ctx, nightly, spec)
	if err != nil || done.Action != api.ActionCreated {
		t.Fatalf("register: %+v, %v", done, err)
	}
	if done, err = c.Jobs.Register(ctx, nightly, spec); err != nil || done.Action != api.ActionUnchanged {
		t.Errorf("register again: %+v, %v", done, err)
	}
	spec.Schedules = []string{"every now and then"}
	var invalid *job.InvalidError
	if _, err := c.Jobs.Register(ctx, nightly, spec); err == nil || errors.As(err, &invalid) || !strings.Contains(err.Error(), "every now and then") {
		t.Errorf("a bad schedule: %v", err)
	}
	if j, err := c.Jobs.Get(ctx, nightly); err != nil || j.NextAt.IsZero() || j.AppliedBy != "ada (etcd)" {
		t.Errorf("the job: %+v, %v", j, err)
	}
	if started, err := c.Jobs.Start(ctx, nightly, api.StartRequest{}); err != nil || started.RunID == "" {
		t.Errorf("start: %+v, %v", started, err)
	}
	page, err := c.Runs.List(ctx, api.RunQuery{})
	if err != nil || len(page.Missing) != 1 || len(page.Missing[0].Shards) != 4 {
		t.Errorf("what only nodes know is not told as missing: %+v, %v", page, err)
	}
	records, err := c.Audit.List(ctx, api.AuditQuery{Limit: 100})
	if err != nil || len(records.Records) == 0 {
		t.Fatalf("audit: %+v, %v", records, err)
	}
	for _, r := range records.Records {
		if r.By != "ada (etcd)" || r.From != "etcd" {
			t.Errorf("the audit tells %q from %q", r.By, r.From)
		}
	}
}

// TestQueue: queues are registered and filled in the same way.
func TestQueue(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), cluster(t, "", false)
	mail := job.Key{Namespace: "default", Name: "mail"}
	if _, err := c.Queues.Register(ctx, mail, job.QueueSpec{Command: []string{"go:mail"}, PayloadSchema: `{"type":"object"}`}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Queues.Put(ctx, mail, []api.NewItem{{ID: "1", Payload: `{}`}}, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Queues.Put(ctx, mail, []api.NewItem{{ID: "2", Payload: `1`}}, api.Order{}); err == nil {
		t.Error("a payload off the schema was put")
	}
	if q, err := c.Queues.Get(ctx, mail); err != nil || q.Waiting != 1 {
		t.Errorf("the queue: %+v, %v", q, err)
	}
}

// TestSealed: what is sealed is not written without the key, and all else is (E3).
func TestSealed(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), cluster(t, "", true)
	k := job.Key{Namespace: "default", Name: "hooked"}
	if _, err := c.Jobs.Register(ctx, k, job.Spec{Command: []string{"true"}, Webhook: &job.Webhook{Signed: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Jobs.WebhookSecret(ctx, k, "", api.Order{}); err == nil || !strings.Contains(err.Error(), "seal key file") {
		t.Errorf("a secret was written without the key: %v", err)
	}
}

// TestNoCluster: where there is none, it is said, and nothing is made.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	server, prefix := shared.Server(t), etcdtest.Prefix(t)
	if _, err := Open(t.Context(), Config{Endpoints: server.Endpoints, Prefix: prefix}); !errors.Is(err, ErrNoCluster) {
		t.Errorf("got %v", err)
	}
	if got, err := server.Client(t).Get(t.Context(), prefix, clientv3.WithPrefix()); err != nil || got.Count != 0 {
		t.Errorf("%d keys were made, %v", got.Count, err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("no endpoints are taken")
	}
}
