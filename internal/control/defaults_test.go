package control

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// Jobs get the defaults of their namespace as they are applied, those of the same file
// before those that are stored; what is stored stays until it is applied again.
func TestDefaults(t *testing.T) {
	t.Parallel()
	e := setup(t)
	defaults := func(s job.DefaultsSpec) manifest.Object {
		return manifest.Object{Kind: job.KindDefaults, Metadata: job.Metadata{Namespace: "ops", Name: job.DefaultsName}, Defaults: s}
	}
	plain := func(name string) manifest.Object {
		return manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Namespace: "ops", Name: name}, Spec: job.Spec{Schedules: []string{"0 3 * * *"}, Command: []string{"true"}}}
	}
	results, err := e.Apply(t.Context(), "f", encode(t, plain("a"), defaults(job.DefaultsSpec{TimeZone: "Europe/Berlin", User: "www", Env: map[string]string{"A": "1"}})), false)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, r := range results {
		told += r.Name + ": " + strings.Join(r.Defaults, ", ") + "\n"
	}
	if !strings.Contains(told, "user www, by the defaults of namespace ops") {
		t.Errorf("apply tells %s", told)
	}
	if s := e.storedJob(t, "a").Spec; s.TimeZone != "Europe/Berlin" || s.User != "www" || s.Env["A"].Text != "1" {
		t.Errorf("%+v", s)
	}
	if got := e.apply(t, plain("a"))["a"]; got != api.ActionUnchanged {
		t.Errorf("the same file again: %s", got)
	}
	if got := e.apply(t, defaults(job.DefaultsSpec{Timeout: job.Duration(time.Minute)}))[job.DefaultsName]; got != api.ActionUpdated {
		t.Errorf("other defaults: %s", got)
	}
	if s := e.storedJob(t, "a").Spec; s.User != "www" || s.Timeout != 0 {
		t.Errorf("a stored job has changed with the defaults: %+v", s)
	}
	if got := e.apply(t, plain("a"))["a"]; got != api.ActionUpdated {
		t.Errorf("applied with other defaults: %s", got)
	}
	if s := e.storedJob(t, "a").Spec; s.User != "" || s.Timeout != job.Duration(time.Minute) {
		t.Errorf("%+v", s)
	}
	other := plain("b")
	other.Metadata.Namespace = "shop"
	e.apply(t, other)
	if _, err := e.SetEnabled(t.Context(), jobNamed("a"), false, api.Order{}); err != nil {
		t.Fatal(err)
	}
	all, err := e.Defaults(t.Context(), "")
	if err != nil || len(all) != 1 || all[0].Spec.Timeout != job.Duration(time.Minute) {
		t.Errorf("%+v %v", all, err)
	}
	key := job.Key{Namespace: "ops", Name: job.DefaultsName}
	if err := e.DeleteDefaults(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteDefaults(t.Context(), key); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	var done []string
	for _, rec := range e.records(t, 30) {
		done = append(done, rec.Action+" "+rec.Object)
	}
	if !slices.ContainsFunc(done, func(s string) bool { return strings.Contains(s, "delete defaults ops/defaults") }) {
		t.Errorf("records: %v", done)
	}
}

// What a job was before an edit is kept, for so many edits, and is applied again by who
// rolls it back; the audit tells of it. It goes with the job.
func TestVersions(t *testing.T) {
	t.Parallel()
	e := setup(t)
	as := func(n int) manifest.Object {
		return manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Namespace: "ops", Name: "v", Labels: map[string]string{"n": strconv.Itoa(n)}}, Spec: job.Spec{Command: []string{"echo", strconv.Itoa(n)}}}
	}
	const edits = etcdkv.KeptVersions + 2
	for n := range edits {
		e.apply(t, as(n+1))
		e.apply(t, as(n+1)) // unchanged: no version
	}
	key := jobNamed("v")
	all, err := e.Versions(t.Context(), key)
	if err != nil || len(all) != etcdkv.KeptVersions || all[0].Generation != edits-1 || all[0].Spec.Command[1] != strconv.Itoa(edits-1) || all[len(all)-1].Generation != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	for _, gone := range []int64{1, edits, edits + 1} {
		if _, err := e.RollBack(t.Context(), key, gone, api.Order{}); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("version %d: %v", gone, err)
		}
	}
	r, err := e.RollBack(t.Context(), key, 5, api.Order{By: "me"})
	if err != nil || r.Action != api.ActionUpdated {
		t.Fatalf("%+v %v", r, err)
	}
	if j := e.storedJob(t, "v"); j.Spec.Command[1] != "5" || j.Labels["n"] != "5" || j.Generation != edits+1 {
		t.Errorf("%+v", j)
	}
	if recs := e.records(t, 50); !slices.ContainsFunc(recs, func(r api.AuditRecord) bool {
		return r.Action == "job.rollback" && r.Object == "job ops/v" && r.Reason == "rolled back to version 5" && r.By == "me"
	}) {
		t.Errorf("%+v", recs)
	}
	uid := e.storedJob(t, "v").UID
	if _, err := e.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	resp, err := e.cli.Get(t.Context(), e.keys.JobVersions(uid), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%d versions are left of a job that is gone: %v", resp.Count, err)
	}
}
