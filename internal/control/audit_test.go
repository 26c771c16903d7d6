package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apply"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// stateAt is all that is stored at a revision but audit records.
func (e *env) stateAt(t *testing.T, rev int64) (state, records map[string]string) {
	t.Helper()
	root := strings.TrimSuffix(e.keys.Audit(), "audit/")
	resp, err := e.cli.Get(t.Context(), root, clientv3.WithPrefix(), clientv3.WithRev(rev))
	if err != nil {
		t.Fatal(err)
	}
	state, records = map[string]string{}, map[string]string{}
	for _, kv := range resp.Kvs {
		to := state
		if strings.HasPrefix(string(kv.Key), e.keys.Audit()) {
			to = records
		}
		to[string(kv.Key)] = fmt.Sprint(kv.ModRevision, string(kv.Value))
	}
	return state, records
}

// TestI9_EachChangeIsRecorded: whatever people change or start by hand leaves a record
// in the very revision in which it is changed: who, from where, by which request, why,
// what.
func TestI9_EachChangeIsRecorded(t *testing.T) {
	t.Parallel()
	minions := fakeMinions{{ID: "web1", Node: "n1", ConnectedSince: time.Unix(1, 0)}}
	e := alone(t, func(_ *Config, d *Deps) { d.Minions = minions })
	e = withNodes(t, e)
	ctx := caller.WithRequest(t.Context(), caller.Request{ID: "req-1", From: "10.0.0.7", By: "ada", Reason: "why"})
	o := api.Order{By: "ada", Reason: "why"}
	put := func(objects ...manifest.Object) func() error {
		return func() error {
			_, err := e.Apply(ctx, "f", encode(t, objects...), false)
			return err
		}
	}
	calendar := manifest.Object{Kind: job.KindCalendar, Metadata: job.Metadata{Namespace: "ops", Name: "shut"}, Calendar: job.CalendarSpec{Closed: []string{"2026-12-25"}}}
	open := calendar
	open.Calendar.Closed = []string{"2026-12-26"}
	hosts := func(match string) manifest.Object {
		return manifest.Object{Kind: job.KindHostGroup, Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: "web"}, HostGroup: job.HostGroupSpec{Match: match}}
	}
	key := jobNamed("j")
	run := func() job.RunID { return e.runs.live[0].RunID }
	var backfill string
	for _, step := range []struct {
		do   func() error
		want string
		// changes are some of what the record tells.
		changes string
	}{
		{put(object("j", func(o *manifest.Object) { o.Spec.Env = map[string]job.EnvValue{"PGPASSWORD": job.Text("hunter2")} })), "job.create job ops/j", `spec.env.PGPASSWORD: -> "***"`},
		{put(object("j", func(o *manifest.Object) { o.Spec.User = "u" })), "job.change job ops/j", `spec.user: -> "u"`},
		{put(group("g", job.GroupSpec{})), "group.create group ops/g", ""},
		{put(group("g", job.GroupSpec{Nodes: []job.NodeID{"n1"}})), "group.change group ops/g", `spec.nodes: -> ["n1"]`},
		{put(calendar), "calendar.create calendar ops/shut", ""},
		{put(open), "calendar.change calendar ops/shut", "spec.closed"},
		{put(script("s", "echo 1")), "script.create script ops/s", `spec.source: -> "echo 1"`},
		{put(script("s", "echo 2")), "script.change script ops/s", `spec.source: "echo 1" -> "echo 2"`},
		{put(hosts("web*")), "hostgroup.create hostgroup web", `spec.match: -> "web*"`},
		{put(hosts("web1")), "hostgroup.change hostgroup web", `spec.match: "web*" -> "web1"`},
		{put(object("k"), object("l")), "job.create job ops/k, job.create job ops/l", ""},
		{func() error { _, err := e.SetEnabled(ctx, key, false, o); return err }, "job.disable job ops/j", `spec.enabled: -> false`},
		{func() error { _, err := e.SetEnabled(ctx, key, true, o); return err }, "job.enable job ops/j", ""},
		{func() error {
			_, err := e.Start(ctx, key, api.StartRequest{By: "ada", Params: map[string]string{"n": "1", "token": "hunter2"}})
			return err
		}, "job.start job ops/j", `params.token: -> "***"`},
		{func() error {
			_, err := e.Exec(ctx, "f", encode(t, object("x", func(o *manifest.Object) {
				o.Spec = job.Spec{Command: []string{"rm", "-rf", "x"}, Target: job.Target{Match: "web1"}}
			})), api.StartRequest{By: "ada"})
			return err
		}, "exec job ops/exec-", `job.command: -> ["rm","-rf","x"]`},
		{func() error {
			v, err := e.Backfill(ctx, jobNamed("k"), api.BackfillRequest{From: e.now().Add(-5 * time.Hour), To: e.now(), Order: o})
			backfill = v.ID
			return err
		}, "job.backfill job ops/k from", "from: ->"},
		{func() error { return e.EndBackfill(ctx, backfill, o) }, "backfill.end ", ""},
		{func() error {
			e.runs.begin(someRun(e.storedJob(t, "j").UID, "j", e.now(), job.StateRunning))
			return e.Cancel(ctx, run(), o)
		}, "run.cancel ", `kind: -> "cancel"`},
		{func() error {
			r := e.runs.live[0]
			r.State = job.StateFailed
			e.runs.end(r)
			_, err := e.Redo(ctx, r.RunID, nil, o)
			return err
		}, "run.redo ", "run: -> "},
		{func() error {
			_, err := e.Pause(ctx, api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, time.Time{}, o)
			return err
		}, "job.pause ", `name: -> "j"`},
		{func() error {
			_, err := e.Resume(ctx, api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, o)
			return err
		}, "job.resume ", "until"},
		{func() error { return e.DrainNode(ctx, "n1", o) }, "node.drain n1", `node: -> "n1"`},
		{func() error { return e.UndrainNode(ctx, "n1", o) }, "node.undrain n1", `node: "n1" ->`},
		{func() error { _, err := e.Delete(ctx, key); return err }, "job.delete job ops/j", `spec.user: "u" ->`},
		{func() error { return e.DeleteGroup(ctx, jobNamed("g")) }, "group.delete group ops/g", `spec.nodes: ["n1"] ->`},
		{func() error { return e.DeleteCalendar(ctx, jobNamed("shut")) }, "calendar.delete calendar ops/shut", "spec.closed"},
		{func() error { return e.DeleteScript(ctx, jobNamed("s")) }, "script.delete script ops/s", `spec.source: "echo 2" ->`},
		{func() error { return e.DeleteHostGroup(ctx, "web") }, "hostgroup.delete hostgroup web", `spec.match: "web1" ->`},
	} {
		e.pass(time.Minute)
		_, before := e.stateAt(t, 0)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.want, err)
		}
		rev := int64(0)
		after, recs := e.stateAt(t, 0)
		for k, v := range recs {
			if _, old := before[k]; !old {
				_, _ = fmt.Sscan(v, &rev)
			}
		}
		if len(recs) != len(before)+1 || rev == 0 {
			t.Errorf("%s: %d records came, want one", step.want, len(recs)-len(before))
			continue
		}
		was, _ := e.stateAt(t, rev-1)
		is, _ := e.stateAt(t, rev)
		if cmp.Equal(was, is) || !cmp.Equal(is, after) {
			t.Errorf("%s: the record is not in the transaction of the change", step.want)
		}
		var told []string
		for _, r := range e.records(t, 20) {
			if !r.At.Equal(e.now()) {
				continue
			}
			told = append(told, r.Action+" "+r.Object)
			if r.By != "ada" || r.From != "10.0.0.7" || r.Request != "req-1" || r.Reason != "why" {
				t.Errorf("%s: %+v", step.want, r)
			}
			var changes strings.Builder
			for _, c := range r.Changes {
				fmt.Fprintln(&changes, strings.Join(strings.Fields(c.Path+": "+c.Before+" -> "+c.After), " "))
			}
			if !strings.Contains(changes.String(), step.changes) || strings.Contains(changes.String(), "hunter2") {
				t.Errorf("%s: changes\n%s, want %s", step.want, changes.String(), step.changes)
			}
		}
		if got := strings.Join(told, ", "); !strings.HasPrefix(got, step.want) {
			t.Errorf("%q is recorded, want %q", got, step.want)
		}
	}
}

// TestNothingIsRecordedOfNothing: what is as it was, what is only tried, and what a
// program starts by a webhook leave no record.
func TestNothingIsRecordedOfNothing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	hooked := object("j", func(o *manifest.Object) {
		o.Spec.Webhook = &job.Webhook{TokenSHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"} // of test
	})
	e.apply(t, hooked)
	e.apply(t, hooked)
	if _, err := e.Apply(t.Context(), "f", encode(t, object("new")), true); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Hook(t.Context(), jobNamed("j"), webhook.Call{Token: "test", From: "10.0.0.9"}); err != nil {
		t.Fatal(err)
	}
	if got := e.records(t, 10); len(got) != 1 || got[0].Action != "job.create" {
		t.Errorf("%+v", got)
	}
}

// TestI2_RecordsTakeOneOperation: as many objects are applied at once as before, each is
// in the record, and a record of large objects is small.
func TestI2_RecordsTakeOneOperation(t *testing.T) {
	t.Parallel()
	e := alone(t)
	objects := make([]manifest.Object, apply.MaxAtomicOps/2-2)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("j%03d", i), func(o *manifest.Object) {
			o.Spec.Env = map[string]job.EnvValue{}
			for n := range 20 {
				o.Spec.Env[fmt.Sprint("V", n)] = job.Text(strings.Repeat("v", 300))
			}
			o.Spec.Env["V0"] = job.Text(strings.Repeat("<v>", 100)) // takes more room than it has letters
		})
	}
	e.apply(t, objects...)
	_, recs := e.stateAt(t, 0)
	if len(recs) != 1 {
		t.Fatalf("%d records, want one", len(recs))
	}
	for _, v := range recs {
		if len(v) > 192<<10 {
			t.Errorf("it has %d bytes", len(v))
		}
	}
	page, err := e.Audit(t.Context(), api.AuditQuery{Limit: 50})
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	names := map[string]bool{}
	for {
		for _, r := range page.Records {
			if r.Action != "job.create" || names[r.Object] || len(r.Changes) == 0 || r.LeftOut == 0 {
				t.Fatalf("%+v", r)
			}
			names[r.Object] = true
		}
		if page.Next == "" {
			break
		}
		if page, err = e.Audit(t.Context(), api.AuditQuery{Limit: 50, After: page.Next}); err != nil {
			t.Fatal(err)
		}
	}
	if len(names) != len(objects) {
		t.Errorf("%d objects are told, want %d", len(names), len(objects))
	}
}

// auditRecord puts a record as of a time.
// auditRecords stores records, many in a transaction.
func (e *env) auditRecords(t *testing.T, records map[string]etcdkv.Audit) {
	t.Helper()
	var ops []clientv3.Op
	for id, rec := range records {
		rec.Schema = 1
		text, err := etcdkv.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, clientv3.OpPut(e.keys.AuditRecord(rec.At, id), text))
	}
	for chunk := range slices.Chunk(ops, 100) {
		if _, err := e.cli.Txn(t.Context()).Then(chunk...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuditPages: pages neither lose nor repeat a record, whatever the times between
// the records are, and what is selected is selected.
func TestAuditPages(t *testing.T) {
	t.Parallel()
	e := setup(t)
	begin := e.now().Add(-400 * 24 * time.Hour)
	var all []string
	records := map[string]etcdkv.Audit{}
	add := func(at time.Time, by, action, object string) {
		id := fmt.Sprintf("%04d", len(all))
		records[id] = etcdkv.Audit{At: at, By: by, Action: action, Object: object}
		all = append(all, id)
	}
	for i := range 1500 { // more than a page of keys at once
		add(begin.Add(time.Duration(i)*time.Nanosecond), "ada", "job.change", "job ops/a")
	}
	for i := range 20 { // far apart
		add(begin.Add(time.Duration(i+1)*17*24*time.Hour), "bob", "job.delete", fmt.Sprint("job ops/", i))
	}
	add(e.now().Add(time.Hour), "bob", "node.drain", "n1") // a clock that was ahead
	e.auditRecords(t, records)
	slices.Reverse(all)
	collect := func(q api.AuditQuery) (ids []string) {
		t.Helper()
		for {
			page, err := e.Audit(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) > q.Limit {
				t.Fatalf("%d records, want at most %d", len(page.Records), q.Limit)
			}
			for _, r := range page.Records {
				ids = append(ids, r.ID[strings.Index(r.ID, "-")+1:])
			}
			if page.Next == "" {
				return ids
			}
			if want := int64(len(all) - len(ids)); q.By+q.Action+q.Object == "" && q.Since.IsZero() && q.Until.IsZero() && page.Older != want {
				t.Errorf("%d older records are told after %d, want %d", page.Older, len(ids), want)
			}
			q.After = page.Next
		}
	}
	for _, limit := range []int{331, 500, api.MaxAudit} {
		if d := cmp.Diff(all, collect(api.AuditQuery{Limit: limit})); d != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, d)
		}
	}
	for name, c := range map[string]struct {
		q    api.AuditQuery
		want int
	}{
		"by":           {api.AuditQuery{By: "bob"}, 21},
		"action":       {api.AuditQuery{Action: "job.delete"}, 20},
		"first word":   {api.AuditQuery{Action: "node"}, 1},
		"object":       {api.AuditQuery{Object: "ops/a"}, 1500},
		"since":        {api.AuditQuery{Since: begin.Add(24 * time.Hour)}, 21},
		"since, exact": {api.AuditQuery{Since: begin.Add(17 * 24 * time.Hour)}, 21},
		"until":        {api.AuditQuery{Until: begin.Add(24 * time.Hour)}, 1500},
		"until, exact": {api.AuditQuery{Until: begin.Add(17 * 24 * time.Hour)}, 1501},
		"between":      {api.AuditQuery{Since: begin.Add(24 * time.Hour), Until: begin.Add(40 * 24 * time.Hour)}, 2},
		"none":         {api.AuditQuery{By: "eve"}, 0},
		"no time":      {api.AuditQuery{Since: e.now(), Until: e.now().Add(-time.Hour)}, 0},
	} {
		c.q.Limit = 499
		if got := collect(c.q); len(got) != c.want {
			t.Errorf("%s: %d records, want %d", name, len(got), c.want)
		}
	}
	if _, err := e.Audit(t.Context(), api.AuditQuery{Limit: 1, After: "x"}); refusal(err) == "" {
		t.Error("a position that is none is taken")
	}
}
