package sharing

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var etcd etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(etcd.Run(m)) }

// stored is the store of a cluster of which a test is every node.
type stored struct {
	*Etcd
	t *testing.T
}

func newStored(t *testing.T) *stored {
	t.Helper()
	return &stored{&Etcd{Client: etcd.Server(t).Client(t), Keys: etcdkv.NewKeys(etcdtest.Prefix(t))}, t}
}

// put writes a key, and returns at which revision.
func (s *stored) put(key, value string) int64 {
	s.t.Helper()
	resp, err := s.Client.Put(s.t.Context(), key, value)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

// own has a shard be owned anew.
func (s *stored) own() Fence {
	return Fence{Shard: testShard, Owner: job.Token{Epoch: 1, Revision: s.put(s.Keys.Owner(testShard), "a node")}}
}

// want compares a value and its revision.
func (s *stored) want(key, value string) int64 {
	s.t.Helper()
	got, rev, err := s.Read(s.t.Context(), key)
	if err != nil || string(got) != value || (rev == 0) != (value == "") {
		s.t.Errorf("%s is %q at revision %d, %v; want %q", key, got, rev, err, value)
	}
	return rev
}

// TestStoreWrites: a write compares the shard's owner, the value as it was read, and, for
// what is a job's, that the job is there (H2); the error tells which of them it was.
func TestStoreWrites(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newStored(t)
	of := job.Key{Namespace: "ops", Name: "j"}
	f := s.own()
	run, jobs := s.Keys.SharedRun(testShard, fireAt(1)), s.Keys.SharedJob(job.UID{1})
	write := func(what string, f Fence, key string, rev int64, value string, want error) {
		t.Helper()
		if err := s.Write(ctx, f, key, rev, value); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	write("a first value", f, run, 0, "one", nil)
	first := s.want(run, "one")
	write("a first value where there is one", f, run, 0, "two", ErrChanged)
	write("the next value", f, run, first, "two", nil)
	write("a value that was read before", f, run, first, "three", ErrChanged)
	second := s.want(run, "two")

	later := s.own()
	write("by an owner that was replaced", f, run, second, "three", ErrFenced)
	write("by one that was replaced, of a value that it has not read", f, run, first, "three", ErrChanged)
	s.want(run, "two")
	write("by its successor", later, run, second, "three", nil)
	s.want(run, "three")
	other := later
	other.Shard++
	write("by the owner of another shard", other, run, s.want(run, "three"), "four", ErrFenced)

	ofJob := later
	ofJob.Job = of
	write("of a job that there is not", ofJob, jobs, 0, "one", ErrFenced)
	s.put(s.Keys.Job(testShard, of), "the job")
	write("of a job", ofJob, jobs, 0, "one", nil)
	if _, err := s.Client.Delete(ctx, s.Keys.Job(testShard, of)); err != nil {
		t.Fatal(err)
	}
	write("of a job that was deleted", ofJob, jobs, s.want(jobs, "one"), "two", ErrFenced)
	s.want(jobs, "one")
}

// TestStoreRemoves: what a run has left is removed by the shard's owner alone (H2, H8); what
// is not there is removed already.
func TestStoreRemoves(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newStored(t)
	f := s.own()
	mine, next := s.Keys.SharedRun(testShard, fireAt(1)), s.Keys.SharedRun(testShard, fireAt(11))
	s.put(mine, "value")
	s.put(next, "value")
	later := s.own()
	if err := s.Remove(ctx, f, mine); !errors.Is(err, ErrFenced) {
		t.Errorf("by an owner that was replaced: %v", err)
	}
	s.want(mine, "value")
	for range 2 {
		if err := s.Remove(ctx, later, mine); err != nil {
			t.Error(err)
		}
	}
	s.want(mine, "")
	s.want(next, "value")
}

// TestStoreListsRuns: all runs' keys are listed, however many, and no others.
func TestStoreListsRuns(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newStored(t)
	s.put(s.Keys.SharedJob(job.UID{1}), "a job's")
	s.put(s.Keys.Owner(testShard), "an owner")
	if keys, err := s.Runs(ctx); err != nil || len(keys) != 0 {
		t.Errorf("of no run: %q, %v", keys, err)
	}
	const more = page + 3
	var want []string
	for n := 0; n < more; {
		var ops []clientv3.Op
		for ; n < more && len(ops) < 100; n++ {
			key := s.Keys.SharedRun(job.ShardID(n%4), fireAt(int64(n+1)))
			want = append(want, key)
			ops = append(ops, clientv3.OpPut(key, fmt.Sprint(n)))
		}
		if _, err := s.Client.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	keys, err := s.Runs(ctx)
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("%d keys, want %d: %v", len(keys), len(want), err)
	}
	for _, key := range keys[:3] {
		if _, _, err := s.Keys.ParseSharedRun(key); err != nil {
			t.Error(err)
		}
	}
}
