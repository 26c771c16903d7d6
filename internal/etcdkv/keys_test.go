package etcdkv

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// The keys are what is stored: a change here is a change of the layout.
func TestKeysGolden(t *testing.T) {
	t.Parallel()
	k := NewKeys("")
	uid, err := job.ParseUID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]string{
		"/carillon/v1/meta":                                     k.Meta(),
		"/carillon/v1/members/n1":                               k.Member("n1"),
		"/carillon/v1/jobs/002a/ns/name":                        k.Job(42, job.Key{Namespace: "ns", Name: "name"}),
		"/carillon/v1/owners/002a":                              k.Owner(42),
		"/carillon/v1/shards/002a/state":                        k.State(42),
		"/carillon/v1/presence/n1/0003":                         k.PresenceBucket("n1", 3),
		"/carillon/v1/minions/m1":                               k.Minion("m1"),
		"/carillon/v1/grants/m1":                                k.Grant("m1"),
		"/carillon/v1/runs/0007/x":                              k.RunSegment(7, "x"),
		"/carillon/v1/locks/ns/name/":                           k.Lock("ns", "name"),
		"/carillon/v1/queues/ns/type/":                          k.Queue("ns", "type"),
		"/carillon/v1/plans/ns/erp/p1":                          k.Plan("ns", "erp", "p1"),
		"/carillon/v1/hooks/plans/ns/erp":                       k.PlanSecret("ns", "erp"),
		"/carillon/v1/planstaging/" + uid.String():              k.PlanStaging(uid),
		"/carillon/v1/plandata/" + uid.String() + "/c/00000200": k.PlanData(uid).Chunk(200),
		"/carillon/v1/scripts/ns/name/00000012":                 k.ScriptVersion(job.Key{Namespace: "ns", Name: "name"}, 12),
		"/carillon/v1/scriptheads/ns/name":                      k.ScriptHead(job.Key{Namespace: "ns", Name: "name"}),
		"/carillon/v1/scriptuses/ns/name":                       k.ScriptUse(job.Key{Namespace: "ns", Name: "name"}),
		"/carillon/v1/shards/002a/deleted/" + uid.String():      k.DeletedJob(42, uid),
		"/carillon/v1/shared/jobs/" + uid.String():              k.SharedJob(uid),
		"/carillon/v1/shared/runs/002a/" + uid.String() + "@1970-01-01T00:00:01Z/manual": k.SharedRun(42, job.FireID{Job: uid, At: 1e9, Trigger: job.TriggerManual}),
		"/carillon/v1/blobs/9f86":                                   k.Blob("9f86"),
		"/carillon/v1/hooks/secrets/" + uid.String():                k.HookSecret(uid),
		"/carillon/v1/hooks/calls/" + uid.String() + "/9f86":        k.HookCall(uid, "9f86"),
		"/carillon/v1/wishes/r1/cancel":                             k.RunCommand("r1", CommandCancel),
		"/carillon/v1/passing/01890a5d-ac96-774b-bcce-b302099a8057": k.PassingJob(uid),
		"/carillon/v1/update/plan":                                  k.UpdatePlan(),
		"/carillon/v1/update/state":                                 k.UpdateState(),
		"/carillon/v1/permits/rack/a%2Fb%201":                       k.Permit("rack", "a/b 1"),
		"/carillon/v1/marks/":                                       k.Marks(),
		"/carillon/v1/auth/ca":                                      k.AuthCA(),
		"/carillon/v1/auth/tickets":                                 k.AuthTickets(),
		"/carillon/v1/auth/tokens/t1":                               k.AuthToken("t1"),
		"/carillon/v1/auth/minions/m1":                              k.AuthMinion("m1"),
		"/carillon/v1/auth/requests/m1":                             k.AuthRequest("m1"),
		"/carillon/v1/auth/revoked/m1":                              k.AuthRevocation("m1"),
		"/carillon/v1/seal/state":                                   k.SealState(),
		"/carillon/v1/seal/holders/n1":                              k.SealHolder("n1"),
		"/carillon/v1/access":                                       k.Access(),
		"/carillon/v1/auth/api/tokens/9f86":                         k.APIToken("9f86"),
		"/carillon/v1/auth/api/names/ci":                            k.APITokenName("ci"),
		"/carillon/v1/auth/api/uses/k3x9":                           k.APITokenUse("k3x9"),
		"/carillon/v1/auth/api/sessions/9f86":                       k.PageSession("9f86"),
		"/carillon/v1/rights/guard":                                 k.RightsGuard(),
		"/carillon/v1/rights/roles/deployer":                        k.Role("deployer"),
		"/carillon/v1/rights/bindings/billing":                      k.RoleBinding("billing"),
		"/carillon/v1/auth/api/bootstrap":                           k.Bootstrap(),
		"/elsewhere/v1/meta":                                        NewKeys("/elsewhere/").Meta(),
		"/carillon/v1/shards/002a/slots/" + "00000000000000ff":      k.Slot(42, 255),
		"/carillon/v1/shards/002a/triggers/01890a5d-ac96-774b-bcce-b302099a8057@0000000000000010": k.Trigger(42, job.FireID{Job: uid, At: 16}),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
		if !strings.HasPrefix(got, k.Root()) && !strings.HasPrefix(got, "/elsewhere/") {
			t.Errorf("key %q does not lie under the root", got)
		}
	}
}

func TestKeysRoundTrip(t *testing.T) {
	t.Parallel()
	k := NewKeys("/p")
	name := rapid.StringMatching(`[a-z0-9][a-z0-9.-]{0,20}`)
	rapid.Check(t, func(rt *rapid.T) {
		shard := job.ShardID(rapid.Uint32().Draw(rt, "shard"))
		key := job.Key{Namespace: name.Draw(rt, "namespace"), Name: name.Draw(rt, "name")}
		if s, got, err := k.ParseJob(k.Job(shard, key)); err != nil || s != shard || got != key {
			rt.Errorf("job key of %v %v reads as %v %v, %v", shard, key, s, got, err)
		}
		if s, err := k.ParseOwner(k.Owner(shard)); err != nil || s != shard {
			rt.Errorf("owner key of %v reads as %v, %v", shard, s, err)
		}
		seq := rapid.Uint64().Draw(rt, "seq")
		s, rest, err := k.ParseShardKey(k.Slot(shard, seq))
		if got, err2 := ParseSlot(rest); err != nil || err2 != nil || s != shard || got != seq {
			rt.Errorf("slot key of %v %d reads as %v %d, %v, %v", shard, seq, s, got, err, err2)
		}
		node, bucket := job.NodeID(name.Draw(rt, "node")), rapid.IntRange(0, 1<<16).Draw(rt, "bucket")
		if n, b, err := k.ParsePresence(k.PresenceBucket(node, bucket)); err != nil || n != node || b != bucket {
			rt.Errorf("presence key of %v %d reads as %v %d, %v", node, bucket, n, b, err)
		}
	})
}

func TestKeysOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	k := NewKeys("/p")
	for _, s := range []string{"", "/p/v1/", "/p/v1/jobs/", "/p/v1/jobs/zz/a/b", "/q/v1/jobs/0001/a/b", "/p/v1/owners/", "/p/v1/owners/x", "/p/v1/shards/0001", "/p/v1/presence/n"} {
		if _, _, err := k.ParseJob(s); err == nil {
			t.Errorf("%q reads as a job's key", s)
		}
		if _, err := k.ParseOwner(s); err == nil {
			t.Errorf("%q reads as an owner's key", s)
		}
		if _, _, err := k.ParseShardKey(s); err == nil {
			t.Errorf("%q reads as a shard's key", s)
		}
		if _, _, err := k.ParsePresence(s); err == nil {
			t.Errorf("%q reads as a presence key", s)
		}
	}
}

// A slot's number sorts as its key does, and shards are used evenly.
func TestKeysOrderAndSpread(t *testing.T) {
	t.Parallel()
	k := NewKeys("")
	rapid.Check(t, func(rt *rapid.T) {
		a, b := rapid.Uint64().Draw(rt, "a"), rapid.Uint64().Draw(rt, "b")
		if (a < b) != (k.Slot(1, a) < k.Slot(1, b)) {
			rt.Errorf("slots %d and %d sort otherwise than their keys", a, b)
		}
	})
	const shards, jobs = 64, 64_000
	var count [shards]int
	for i := range jobs {
		count[ShardOf(job.Key{Namespace: "default", Name: "job-" + strconv.Itoa(i)}, shards)]++
	}
	for s, n := range count {
		if n < jobs/shards*3/4 || n > jobs/shards*5/4 {
			t.Errorf("shard %d has %d jobs, want about %d", s, n, jobs/shards)
		}
	}
	// It is stored: a job must be found where an older release has put it.
	for name, want := range map[string]job.ShardID{"backup": 0, "report": 13, "x": 19} {
		if s := ShardOf(job.Key{Namespace: "default", Name: name}, shards); s != want {
			t.Errorf("default/%s lies in shard %d, want %d", name, s, want)
		}
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	t.Parallel()
	in := Member{Schema: Schema, Node: "n1", Capacity: 2, Phase: PhaseReady, Lease: 1 << 62}
	text, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode[Member]("k", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Errorf("member (-in +out):\n%s", d)
	}
	if _, err := Decode[Member]("/some/key", []byte("{")); err == nil || !strings.Contains(err.Error(), "/some/key") {
		t.Errorf("decode of damaged bytes: %v, want an error that names the key", err)
	}
}

func TestMergeUnknownKeepsFieldsOfNewerReleases(t *testing.T) {
	t.Parallel()
	old := `{"schema":2,"cursor":"2026-01-01T00:00:00Z","jobsRev":5,"seq":7,"claim":"a","weather":{"sun":1}}`
	prev, err := Decode[ShardState]("k", []byte(old))
	if err != nil {
		t.Fatal(err)
	}
	prev.Seq, prev.Claim = 8, ""
	text, err := MergeUnknown([]byte(old), prev)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[map[string]any]("k", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"schema": 2.0, "cursor": "2026-01-01T00:00:00Z", "jobsRev": 5.0, "seq": 8.0, "claim": "",
		"weather": map[string]any{"sun": 1.0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("merged (-want +got):\n%s", d)
	}
	// A known field that was cleared does not come back.
	m, err := MergeUnknown([]byte(`{"node":"n1","site":"east","future":1}`), Member{Node: "n1"})
	if err != nil || strings.Contains(m, "east") || !strings.Contains(m, `"future":1`) {
		t.Errorf("merged %s, %v, want the site gone and the future kept", m, err)
	}
	if m, err := MergeUnknown([]byte("damaged"), Member{Node: "n1"}); err != nil || !strings.Contains(m, "n1") {
		t.Errorf("merge with damaged bytes: %s, %v, want the new value", m, err)
	}
}
