// Package historytest holds the one suite that every history store passes, and
// a store in memory for the tests of other packages.
package historytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/job"
)

// Keep is how many runs of a job the stores under test must keep.
const Keep = 20

// Subject is a store under test. It is empty, and keeps Keep runs of a job.
type Subject struct {
	Store history.Store
	// Settle has the store do its housekeeping; nil when it has none.
	Settle func(context.Context) error
	// Slack is how many runs of a job beyond Keep may remain after Settle.
	Slack int
}

// TestStore runs the suite. open is called once per test.
func TestStore(t *testing.T, open func(t *testing.T) Subject) {
	tests := map[string]func(*testing.T, Subject){
		"GetReturnsWhatWasAppended": testGet,
		"ListIsNewestFirst":         testOrder,
		"ListFilters":               testFilters,
		"ListRefusesBadQueries":     testBadQueries,
		"PagesAreStable":            testPages,
		"AppendReplaces":            testReplace,
		"AFormerOwnerHidesNothing":  testFormerOwner,
		"KeepsTheNewestOfEachJob":   testKeep,
		"LargeOutput":               testLargeOutput,
		"Concurrency":               testConcurrency,
		"LatestOfEachJob":           testLatest,
		"SkipsPushOutNoFailure":     testSkips,
		"SkipsBecomeRows":           testRows,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func key(i int) job.Key {
	return job.Key{Namespace: fmt.Sprintf("ns-%d", i%3), Name: fmt.Sprintf("job-%d", i)}
}

func (s Subject) mustAppend(t *testing.T, runs ...job.Run) {
	t.Helper()
	if err := s.Store.Append(t.Context(), runs); err != nil {
		t.Fatalf("append %d records: %v", len(runs), err)
	}
}

func (s Subject) mustSettle(t *testing.T) {
	t.Helper()
	if s.Settle == nil {
		return
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

func (s Subject) mustList(t *testing.T, q history.Query) history.Page {
	t.Helper()
	p, err := s.Store.List(t.Context(), q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return p
}

// all reads all pages.
func (s Subject) all(t *testing.T, q history.Query) []job.Run {
	t.Helper()
	var runs []job.Run
	for {
		p := s.mustList(t, q)
		if len(p.Runs) > q.Limit {
			t.Fatalf("a page of at most %d has %d runs", q.Limit, len(p.Runs))
		}
		runs = append(runs, p.Runs...)
		if q.Cursor = p.Next; q.Cursor == "" {
			return runs
		}
		if len(p.Runs) != q.Limit {
			t.Fatalf("a page that is not the last has %d runs, want %d", len(p.Runs), q.Limit)
		}
	}
}

// sorted returns runs in the order of lists.
func sorted(runs []job.Run) []job.Run {
	return slices.SortedFunc(slices.Values(runs), func(a, b job.Run) int {
		return history.PositionOf(&a).Compare(history.PositionOf(&b))
	})
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func testGet(t *testing.T, s Subject) {
	run := Run(key(1), 7)
	run.Reason = "because \x01 of «this»\n"
	run.Tasks[0].Exit.Signal = "SIGKILL"
	missed := Run(key(1), 8)
	missed.State, missed.Tasks, missed.Count, missed.Until = job.StateMissed, []job.Task{}, 3, missed.ScheduledAt.Add(2*time.Second)
	s.mustAppend(t, run, missed)
	for _, want := range []job.Run{run, missed} {
		got, err := s.Store.Get(t.Context(), want.RunID)
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		diff(t, "run", want, got)
	}
	for _, id := range []job.RunID{Run(key(1), 9).RunID, Run(key(2), 7).RunID, "no run id", ""} {
		if _, err := s.Store.Get(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("get %q: error %v, want %v", id, err, job.ErrNotFound)
		}
	}
	s.mustAppend(t) // nothing is nothing
}

func testOrder(t *testing.T, s Subject) {
	var want []job.Run
	for i := range 12 {
		for n := range 6 {
			want = append(want, Run(key(i), n)) // 12 runs of each instant
		}
	}
	shuffled := slices.Clone(want)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for batch := range slices.Chunk(shuffled, 5) {
		s.mustAppend(t, batch...)
	}
	for _, limit := range []int{1, 7, 12, 1000} {
		diff(t, fmt.Sprintf("pages of %d", limit), sorted(want), s.all(t, history.Query{Limit: limit}))
	}
	s.mustSettle(t)
	diff(t, "settled", sorted(want), s.all(t, history.Query{Limit: 7}))
	if p := s.mustList(t, history.Query{Limit: len(want)}); p.Next != "" {
		t.Errorf("the page that ends with the last run has a next one: %q", p.Next)
	}
}

func testFilters(t *testing.T, s Subject) {
	states := []job.State{job.StateSucceeded, job.StateFailed, job.StateSkipped}
	var every []job.Run
	for i := range 6 {
		for n := range 9 {
			r := Run(key(i), n)
			r.State = states[n%len(states)]
			every = append(every, r)
		}
	}
	s.mustAppend(t, every...)
	k := key(4)
	for _, q := range []history.Query{
		{},
		{Namespace: k.Namespace},
		{Namespace: k.Namespace, Job: k.Name},
		{UID: UID(k)},
		{Namespace: k.Namespace, Job: k.Name, UID: UID(k), State: job.StateFailed},
		{State: job.StateSkipped},
		{State: job.StateMissed},
		{Namespace: "nowhere"},
		{Namespace: k.Namespace, Job: k.Name, UID: UID(key(1))},
	} {
		var want []job.Run
		for _, r := range sorted(every) {
			if (q.Namespace == "" || r.Namespace == q.Namespace) && (q.Job == "" || r.Job == q.Job) &&
				(q.State == "" || r.State == q.State) && (q.UID.IsZero() || r.FireID.Job == q.UID) {
				want = append(want, r)
			}
		}
		q.Limit = 4
		diff(t, fmt.Sprintf("%+v", q), want, s.all(t, q))
	}
}

func testBadQueries(t *testing.T, s Subject) {
	for _, q := range []history.Query{{}, {Limit: -1}, {Limit: 1, Job: "x"}, {Limit: 1, Cursor: "zzz"}} {
		_, err := s.Store.List(t.Context(), q)
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("list %+v: error %v, want a *job.InvalidError", q, err)
		}
	}
}

func testPages(t *testing.T, s Subject) {
	var want []job.Run
	for i := range 8 {
		for n := range 10 {
			want = append(want, Run(key(i), n))
		}
	}
	s.mustAppend(t, want...)
	want = sorted(want)
	q := history.Query{Limit: 7}
	var got []job.Run
	for n := 0; ; n++ {
		p := s.mustList(t, q)
		got = append(got, p.Runs...)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
		// New runs, and housekeeping, must not move what is still to come.
		s.mustAppend(t, Run(key(n%8), 10+n/8), p.Runs[0])
		if n%4 == 0 {
			s.mustSettle(t)
		}
	}
	diff(t, "pages while runs are added", want, got)
}

func testReplace(t *testing.T, s Subject) {
	var want []job.Run
	for n := range 10 {
		want = append(want, Run(key(1), n))
	}
	s.mustAppend(t, want...)
	s.mustAppend(t, want...)
	for round := range 12 {
		for i := range want {
			want[i].Reason = fmt.Sprintf("round %d", round)
		}
		twice := slices.Clone(want)
		for i := range twice {
			twice[i].Reason = "replaced within the batch"
		}
		s.mustAppend(t, append(twice, want...)...)
		if round%5 == 0 {
			s.mustSettle(t)
		}
	}
	check := func(when string) {
		diff(t, "list "+when, sorted(want), s.all(t, history.Query{Limit: 3}))
		got, err := s.Store.Get(t.Context(), want[4].RunID)
		if err != nil {
			t.Fatalf("get %s: %v", when, err)
		}
		diff(t, "get "+when, want[4], got)
	}
	check("before housekeeping")
	s.mustSettle(t)
	check("after housekeeping")
}

// testFormerOwner: an owner that was cut off appends what it had to record after its
// successor has.
func testFormerOwner(t *testing.T, s Subject) {
	counts := Run(key(1), 4)
	counts.Token, counts.Reason = job.Token{Epoch: 1, Revision: 770}, "its successor's"
	late := counts
	late.Token.Revision, late.Reason, late.State = 321, "the former owner's", job.StateSkipped
	s.mustAppend(t, counts)
	for range 12 {
		s.mustAppend(t, late)
	}
	for _, when := range []string{"before housekeeping", "after housekeeping"} {
		diff(t, "list "+when, []job.Run{counts}, s.all(t, history.Query{Limit: 3}))
		got, err := s.Store.Get(t.Context(), counts.RunID)
		if err != nil {
			t.Fatalf("get %s: %v", when, err)
		}
		diff(t, "get "+when, counts, got)
		s.mustSettle(t)
	}
	counts.Token.Revision, counts.Reason = 801, "a later owner's"
	s.mustAppend(t, counts)
	diff(t, "list of the latest", []job.Run{counts}, s.all(t, history.Query{Limit: 3}))
}

// testLatest: how the latest runs of each job ended is known, before and after
// housekeeping, and of two records of a run the one that counts is.
func testLatest(t *testing.T, s Subject) {
	check := func(when string, k job.Key, want ...string) {
		t.Helper()
		latest, err := history.LatestOf(t.Context(), s.Store)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range latest(UID(k)) {
			got = append(got, fmt.Sprintf("%d %s", (o.At-Epoch.UnixNano())/1e9, o.State))
		}
		diff(t, when, want, got)
	}
	check("nothing yet", key(1))
	bad := Run(key(1), 7)
	bad.State = job.StateFailed
	s.mustAppend(t, Run(key(1), 3), Run(key(2), 1), bad, Run(key(1), 5))
	check("a few", key(1), "7 failed", "5 succeeded", "3 succeeded")
	for n := range 7 {
		s.mustAppend(t, Run(key(1), 10+n))
	}
	s.mustAppend(t, Run(key(1), 1)) // older than all that are told
	check("the latest five", key(1), "16 succeeded", "15 succeeded", "14 succeeded", "13 succeeded", "12 succeeded")
	check("of another job", key(2), "1 succeeded")
	late := Run(key(1), 16)
	late.Token.Revision, late.State = 1, job.StateSkipped
	s.mustAppend(t, late)
	counts := Run(key(2), 1)
	counts.State = job.StateTimedOut
	s.mustAppend(t, counts)
	for _, when := range []string{"before housekeeping", "after housekeeping"} {
		check(when, key(1), "16 succeeded", "15 succeeded", "14 succeeded", "13 succeeded", "12 succeeded")
		check(when, key(2), "1 timed-out")
		s.mustSettle(t)
	}
}

func testKeep(t *testing.T, s Subject) {
	rare := []job.Run{Run(key(0), 0), Run(key(0), 1)}
	s.mustAppend(t, rare...)
	busy := map[int][]job.Run{1: nil, 2: nil, 5: nil}
	for n := range 5 * Keep {
		for i := range busy {
			busy[i] = append(busy[i], Run(key(i), n))
			s.mustAppend(t, busy[i][n])
		}
		if n%Keep == 0 {
			s.mustSettle(t)
		}
	}
	s.mustSettle(t)
	diff(t, "runs of the rare job", sorted(rare), s.all(t, history.Query{UID: UID(key(0)), Limit: 100}))
	for i, runs := range busy {
		got := s.all(t, history.Query{UID: UID(key(i)), Limit: 7})
		if len(got) < Keep || len(got) > Keep+s.Slack {
			t.Errorf("%d runs of %s are kept, want %d to %d", len(got), key(i), Keep, Keep+s.Slack)
			continue
		}
		diff(t, "the newest", sorted(runs)[:Keep], got[:Keep])
	}
}

// testSkips: what did not run, and what went well, pushes out no failure.
func testSkips(t *testing.T, s Subject) {
	bad := Run(key(1), 0)
	bad.State = job.StateFailed
	good := Run(key(1), 1)
	s.mustAppend(t, bad, good)
	for n := range 3 * Keep {
		skip := Run(key(1), 2+n)
		skip.State, skip.Tasks = job.StateSkipped, nil
		s.mustAppend(t, skip)
	}
	s.mustSettle(t)
	for _, want := range []job.Run{bad, good} {
		got := s.all(t, history.Query{UID: UID(key(1)), State: want.State, Limit: 10})
		diff(t, "what ran", []job.Run{want}, got)
	}
	if n := len(s.all(t, history.Query{UID: UID(key(1)), State: job.StateSkipped, Limit: 10})); n < Keep || n > 2*Keep+s.Slack { // those before the newest make a row each, as they differ
		t.Errorf("%d skips are kept", n)
	}
	for n := range 3 * Keep {
		s.mustAppend(t, Run(key(1), 1000+n))
	}
	s.mustSettle(t)
	diff(t, "the failure", []job.Run{bad}, s.all(t, history.Query{UID: UID(key(1)), State: bad.State, Limit: 10}))
}

func testLargeOutput(t *testing.T, s Subject) {
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rand.IntN(64)]
		}
		return string(b)
	}
	wide := Run(key(1), 1)
	wide.State = job.StateFailed
	wide.Tasks = nil
	for i := range 200 {
		task := Run(key(1), 1).Tasks[0]
		task.Minion = job.MinionID(fmt.Sprintf("host-%d", i))
		task.Stdout = job.Output{Head: noise(job.MaxOutputPart), Tail: noise(job.MaxOutputPart), Bytes: 1 << 30, Truncated: true}
		task.Stderr = task.Stdout
		wide.Tasks = append(wide.Tasks, task)
	}
	wide.Tasks[150].State = job.StateFailed
	var plain []job.Run
	for n := range 15 {
		r := Run(key(2), n)
		r.Tasks[0].Stdout = job.Output{Head: noise(job.MaxOutputPart), Tail: noise(job.MaxOutputPart), Bytes: 1 << 30, Truncated: true}
		r.Tasks[0].Stderr = job.Output{Head: strings.Repeat("x", job.MaxOutputPart)}
		plain = append(plain, r)
	}
	s.mustAppend(t, append([]job.Run{wide}, plain...)...)
	s.mustSettle(t)
	diff(t, "output as large as a task's may be", sorted(plain), s.all(t, history.Query{UID: UID(key(2)), Limit: 4}))

	// A store may cut output of a run with very many tasks, but not lose the run.
	got, err := s.Store.Get(t.Context(), wide.RunID)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if got.State != wide.State || !got.ScheduledAt.Equal(wide.ScheduledAt) {
		t.Errorf("got a run in state %s of %s", got.State, got.ScheduledAt)
	}
	if !slices.ContainsFunc(got.Tasks, func(task job.Task) bool { return task.State == job.StateFailed }) {
		t.Error("the task that failed is not among those that are kept")
	}
}

func testConcurrency(t *testing.T, s Subject) {
	const writers, rounds = 6, 15
	stop := make(chan struct{})
	var readers, appenders sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := s.Store.List(t.Context(), history.Query{Limit: 50})
				if err != nil {
					t.Errorf("list: %v", err)
					return
				}
				if !slices.IsSortedFunc(p.Runs, func(a, b job.Run) int { return history.PositionOf(&a).Compare(history.PositionOf(&b)) }) {
					t.Error("a page is out of order")
				}
				if len(slices.CompactFunc(slices.Clone(p.Runs), func(a, b job.Run) bool { return a.RunID == b.RunID })) != len(p.Runs) {
					t.Error("a page has a run twice")
				}
			}
		})
	}
	readers.Go(func() { // housekeeping at the same time
		for s.Settle != nil {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Settle(t.Context()); err != nil {
				t.Errorf("settle: %v", err)
				return
			}
		}
	})
	for w := range writers {
		appenders.Go(func() {
			for n := range rounds {
				r := Run(key(w), n)
				if err := s.Store.Append(t.Context(), []job.Run{r}); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				if _, err := s.Store.Get(t.Context(), r.RunID); err != nil {
					t.Errorf("get what was just appended: %v", err)
				}
			}
		})
	}
	appenders.Wait()
	close(stop)
	readers.Wait()
	if got := s.all(t, history.Query{Limit: 13}); len(got) != writers*rounds {
		t.Errorf("%d runs are there, want %d", len(got), writers*rounds)
	}
}
