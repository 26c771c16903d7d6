package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/history/historytest"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func newStore(t testing.TB, deps Deps, cfg Config) *Store {
	t.Helper()
	if deps.Logger == nil {
		deps.Logger = zaptest.NewLogger(t)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Hour // etcd is slow on a busy machine
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatalf("new store: %v", err)
	}
	return s
}

// setup returns a store of one bucket with keys of its own.
func setup(t *testing.T, cfg Config) (*Store, *clientv3.Client) {
	t.Helper()
	client := shared.Server(t).Client(t)
	cfg.Buckets, cfg.Keys = 1, etcdkv.NewKeys(etcdtest.Prefix(t))
	return newStore(t, Deps{Client: client}, cfg), client
}

func TestConformance(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	historytest.TestStore(t, func(t *testing.T) historytest.Subject {
		keys := etcdkv.NewKeys(etcdtest.Prefix(t))
		s := newStore(t, Deps{Client: client}, Config{Keys: keys, Keep: historytest.Keep, Buckets: 4})
		// A segment that is less than half garbage stays as it is.
		return historytest.Subject{Store: s, Settle: s.Collect, Slack: historytest.Keep}
	})
}

var someJob = job.Key{Namespace: "default", Name: "some"}

func mustAppend(t *testing.T, s *Store, runs ...job.Run) {
	t.Helper()
	if err := s.Append(t.Context(), runs); err != nil {
		t.Fatalf("append: %v", err)
	}
}

func mustCollect(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Collect(t.Context()); err != nil {
		t.Fatalf("collect: %v", err)
	}
}

func mustList(t *testing.T, s *Store) []job.Run {
	t.Helper()
	p, err := s.List(t.Context(), history.Query{Limit: 10_000})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return p.Runs
}

func segments(t *testing.T, s *Store) []*segment {
	t.Helper()
	l, err := s.list(t.Context(), s.cfg.Keys.Runs())
	if err != nil {
		t.Fatalf("list segments: %v", err)
	}
	return l.segments
}

// A merge gives old records a segment that is younger than a newer version.
func TestH2_VersionTravelsThroughMerges(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	run := historytest.Run(someJob, 0)
	run.Reason = "old"
	mustAppend(t, s, run)
	for n := 1; n < fanIn; n++ {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	l, err := s.list(t.Context(), s.cfg.Keys.Runs())
	if err != nil {
		t.Fatal(err)
	}
	run.Reason = "new"
	mustAppend(t, s, run)
	if err := s.mergeBucket(t.Context(), l.segments, l.rev); err != nil { // without the new version
		t.Fatal(err)
	}
	if n := len(segments(t, s)); n != 2 {
		t.Fatalf("%d segments after the merge, want 2", n)
	}
	for _, when := range []string{"before", "after"} {
		got, err := s.Get(t.Context(), run.RunID)
		if err != nil || got.Reason != "new" {
			t.Errorf("%s the second merge: got %q, %v", when, got.Reason, err)
		}
		mustCollect(t, s)
	}
}

func TestH4_ConcurrentCollectorsLoseNothing(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	keys := etcdkv.NewKeys(etcdtest.Prefix(t))
	var stores []*Store
	for range 3 {
		stores = append(stores, newStore(t, Deps{Client: client, Logger: zap.NewNop()}, Config{Keys: keys, Buckets: 2, Keep: 1000}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var collectors, writers sync.WaitGroup
	for _, s := range stores {
		collectors.Go(func() {
			for ctx.Err() == nil {
				if err := s.Collect(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("collect: %v", err)
				}
			}
		})
	}
	var want []job.Run
	for n := range 200 {
		want = append(want, historytest.Run(someJob, n))
	}
	for i, s := range stores {
		writers.Go(func() {
			for n := i; n < len(want); n += len(stores) {
				if err := s.Append(t.Context(), want[n:n+1]); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	collectors.Wait()
	slices.Reverse(want)
	if d := cmp.Diff(want, mustList(t, stores[0])); d != "" {
		t.Errorf("runs (-want +got):\n%s", d)
	}
}

// A collector that acts on what it saw before another one was there does nothing.
func TestH4_StaleMergeIsRefused(t *testing.T) {
	t.Parallel()
	s, client := setup(t, Config{})
	for n := range fanIn {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	l, err := s.list(t.Context(), s.cfg.Keys.Runs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), l.segments[0].key); err != nil {
		t.Fatal(err)
	}
	if err := s.mergeBucket(t.Context(), l.segments, l.rev); err != nil {
		t.Fatal(err)
	}
	if got := mustList(t, s); len(got) != fanIn-1 {
		t.Errorf("%d runs, want %d: the deleted one came back", len(got), fanIn-1)
	}
}

func TestH6_UnknownFieldsAndSegmentsSurvive(t *testing.T) {
	t.Parallel()
	s, client := setup(t, Config{})
	rec, err := etcdkv.NewSegmentRecord(new(historytest.Run(someJob, 0)))
	if err != nil {
		t.Fatal(err)
	}
	rec.Run = strings.Replace(rec.Run, `{`, `{"fromTheFuture":42,`, 1)
	for _, p := range s.pack(0, []etcdkv.SegmentRecord{rec}, 0) {
		if _, err := client.Put(t.Context(), p.key, string(p.value)); err != nil {
			t.Fatal(err)
		}
	}
	future := etcdkv.SegmentName{Newest: rec.At + 1, Oldest: rec.At, Bytes: 7, Unique: "future"}.String()
	odd := []string{s.cfg.Keys.RunSegment(0, future), s.cfg.Keys.RunSegment(0, "another-kind-of-name")}
	for _, k := range odd {
		if _, err := client.Put(t.Context(), k, "\xffnot for you"); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= fanIn; n++ {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	mustCollect(t, s)
	if got := mustList(t, s); len(got) != fanIn+1 {
		t.Errorf("%d runs, want %d", len(got), fanIn+1)
	}
	for _, k := range odd {
		if resp, err := client.Get(t.Context(), k); err != nil || resp.Count != 1 {
			t.Errorf("%s is gone (%v)", k, err)
		}
	}
	segs := slices.DeleteFunc(segments(t, s), func(seg *segment) bool { return seg.Unique == "future" })
	if len(segs) != 1 || segs[0].Generation == 0 {
		t.Fatalf("segments %v, want one that was merged", segs)
	}
	l, err := s.list(t.Context(), s.cfg.Keys.Runs())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.open(t.Context(), segs, l.rev, false); err != nil {
		t.Fatal(err)
	}
	if last := segs[0].records[len(segs[0].records)-1]; last.Run != rec.Run {
		t.Errorf("the record is now %s", last.Run)
	}
}

func TestCapDropsTheOldest(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	s, _ := setup(t, Config{Keep: 1 << 20, MaxBytes: limit})
	n := 0
	for range 30 {
		var runs []job.Run
		for range 40 {
			runs = append(runs, historytest.Run(someJob, n))
			n++
		}
		mustAppend(t, s, runs...)
		mustCollect(t, s)
		if bytes, _ := measure(segments(t, s)); bytes > limit {
			t.Fatalf("%d bytes are kept, want at most %d", bytes, limit)
		}
	}
	got := mustList(t, s)
	if len(got) < 200 || len(got) == n {
		t.Fatalf("%d of %d runs are kept", len(got), n)
	}
	for i := range got {
		if want := historytest.Run(someJob, n-1-i).RunID; got[i].RunID != want {
			t.Fatalf("run %d from the end is %s, want %s", i, got[i].RunID, want)
		}
	}
}

func TestAgeDropsOldRunsOfAnyJob(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{MaxAge: time.Hour})
	old := historytest.Run(someJob, 0)
	old.FireID.At = time.Now().Add(-2 * time.Hour).UnixNano()
	old.RunID = old.FireID.RunID()
	young := historytest.Run(someJob, 0)
	young.FireID.At = time.Now().UnixNano()
	young.RunID = young.FireID.RunID()
	mustAppend(t, s, old, young)
	mustCollect(t, s)
	if got := mustList(t, s); len(got) != 1 || got[0].RunID != young.RunID {
		t.Errorf("%d runs are kept, want the young one", len(got))
	}
}

func TestLeaderDecidesWhatIsCollected(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Leader: func(int) bool { return false }})
	for n := range 3 * fanIn {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	mustCollect(t, s)
	if n := len(segments(t, s)); n != 3*fanIn {
		t.Errorf("%d segments, want %d", n, 3*fanIn)
	}
}

func TestRunMergesByItself(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Every: 10 * time.Millisecond})
	for n := range 4 * fanIn {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	await.Until(t, "segments are merged", func() bool { return len(segments(t, s)) <= fanIn })
	cancel()
	wg.Wait()
}

// Segments that have not changed are not read again, by readers of any kind.
func TestCacheSparesReads(t *testing.T) {
	t.Parallel()
	s, client := setup(t, Config{})
	for n := range 5 {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	mustList(t, s)
	counter := &countingKV{KV: client.KV}
	s.kv = counter
	mustList(t, s)
	if _, err := s.Get(t.Context(), historytest.Run(someJob, 2).RunID); err != nil {
		t.Fatal(err)
	}
	if counter.txns != 0 {
		t.Errorf("%d requests for segments that have not changed", counter.txns)
	}
	mustAppend(t, s, historytest.Run(someJob, 5))
	counter.txns = 0
	if got := mustList(t, s); len(got) != 6 || counter.txns != 1 {
		t.Errorf("%d runs with %d requests, want 6 with 1", len(got), counter.txns)
	}
}

type countingKV struct {
	clientv3.KV
	txns int
}

func (c *countingKV) Txn(ctx context.Context) clientv3.Txn {
	c.txns++
	return c.KV.Txn(ctx)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(100_000)
	records := []etcdkv.SegmentRecord{{Run: strings.Repeat("x", 30_000)}}
	for i := range 10 {
		c.put(fmt.Sprint(i), 1, records)
		c.get("0", 1) // in use
	}
	if c.bytes > c.limit || len(c.items) != 3 || c.order.Len() != 3 {
		t.Errorf("%d bytes in %d items", c.bytes, len(c.items))
	}
	if c.get("0", 1) == nil || c.get("9", 1) == nil || c.get("8", 2) != nil {
		t.Error("what was used last is not there, or another revision is")
	}
}

func TestVeryWideRunKeepsFailures(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	run := historytest.Run(someJob, 0)
	task := run.Tasks[0]
	run.Tasks = nil
	const tasks = 9_000
	for i := range tasks {
		// What is different in every task does not compress.
		task.Minion = job.MinionID(fmt.Sprintf("%x", time.Duration(i)*7919*time.Microsecond))
		task.Reason = ""
		for part := range 7 {
			task.Reason += historytest.UID(job.Key{Name: fmt.Sprint(task.Minion, part)}).String()
		}
		task.State = job.StateSucceeded
		if i%1000 == 999 {
			task.State = job.StateFailed
		}
		run.Tasks = append(run.Tasks, task)
	}
	mustAppend(t, s, run)
	got, err := s.Get(t.Context(), run.RunID)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, task := range got.Tasks {
		if task.State == job.StateFailed {
			failed++
		}
	}
	if failed != tasks/1000 || !strings.Contains(got.Reason, fmt.Sprintf("of %d tasks", tasks)) {
		t.Errorf("%d tasks, %d of them failed, reason %q", len(got.Tasks), failed, got.Reason)
	}
	if len(run.Tasks) != tasks || run.Tasks[0].Stdout.Truncated {
		t.Error("the caller's run was changed")
	}
}

func TestErrorsSayWhetherToTryAgain(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	s := newStore(t, Deps{Client: server.Client(t)}, Config{Timeout: 300 * time.Millisecond})
	server.Stop()
	if err := s.Append(t.Context(), []job.Run{historytest.Run(someJob, 0)}); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("append: %v, want %v", err, job.ErrUnavailable)
	}
	if _, err := s.List(t.Context(), history.Query{Limit: 1}); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("list: %v, want %v", err, job.ErrUnavailable)
	}
}

func TestH5_ReadOutlivesCompaction(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	client := server.Client(t)
	s := newStore(t, Deps{Client: client}, Config{Buckets: 1})
	for n := range fanIn {
		mustAppend(t, s, historytest.Run(someJob, n))
	}
	tries := 0
	err := s.read(t.Context(), s.cfg.Keys.Runs(), func(l listing) error {
		if tries++; tries == 1 { // between listing and opening
			mustCollect(t, s)
			server.Compact(t, l.rev+1)
		}
		page, err := s.page(t.Context(), history.Query{Limit: 100}, l)
		if err == nil && len(page.Runs) != fanIn {
			t.Errorf("%d runs, want %d", len(page.Runs), fanIn)
		}
		return err
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

// More segments end at one instant than one request opens.
func TestManySegmentsOfOneInstant(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	var want []job.Run
	for _, reason := range []string{"old", "new"} {
		want = nil
		for i := range maxOps + 10 {
			run := historytest.Run(job.Key{Namespace: "default", Name: fmt.Sprintf("job-%d", i)}, 0)
			run.Reason = reason
			mustAppend(t, s, run)
			want = append(want, run)
		}
	}
	for _, run := range want {
		if got, err := s.Get(t.Context(), run.RunID); err != nil || got.Reason != "new" {
			t.Errorf("get %s: %q, %v", run.RunID, got.Reason, err)
		}
	}
	slices.SortFunc(want, func(a, b job.Run) int { return strings.Compare(string(a.RunID), string(b.RunID)) })
	if d := cmp.Diff(want, mustList(t, s)); d != "" {
		t.Errorf("runs (-want +got):\n%s", d)
	}
}

// TestSinceSaysWhetherItIsWhole: what of a job lies after an instant is told with
// whether some of it may have been dropped.
func TestSinceSaysWhetherItIsWhole(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Keep: 5})
	uid, other := job.UID{1}, job.UID{2}
	begun := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	run := func(of job.UID, n int) job.Run {
		at := begun.Add(time.Duration(n) * time.Minute)
		f := job.FireID{Job: of, At: at.UnixNano(), Trigger: job.TriggerSchedule}
		return job.Run{RunID: f.RunID(), FireID: f, Namespace: someJob.Namespace, Job: someJob.Name, State: job.StateSucceeded, ScheduledAt: at}
	}
	since := func(n int) (found int, whole bool) {
		whole, err := s.Since(t.Context(), uid, begun.Add(time.Duration(n)*time.Minute), func(r *job.Run) {
			if r.FireID.Job != uid {
				t.Errorf("a run of another job: %v", r.FireID)
			}
			found++
		})
		if err != nil {
			t.Fatal(err)
		}
		return found, whole
	}
	if found, whole := since(0); found != 0 || !whole {
		t.Errorf("of no run: %d, %v", found, whole)
	}
	for n := range 4 {
		mustAppend(t, s, run(uid, n), run(other, n))
	}
	for n, want := range []int{3, 2, 1, 0} {
		if found, whole := since(n); found != want || !whole {
			t.Errorf("since %d: %d, %v", n, found, whole)
		}
	}
	if found, whole := since(-1); found != 4 || !whole {
		t.Errorf("all of few: %d, %v", found, whole)
	}
	for n := range 8 {
		mustAppend(t, s, run(uid, n))
	}
	mustCollect(t, s)
	if found, whole := since(5); found != 2 || !whole {
		t.Errorf("what is kept: %d, %v", found, whole)
	}
	if found, whole := since(-1); found < 5 || whole {
		t.Errorf("what is dropped in part: %d, %v", found, whole)
	}
}
