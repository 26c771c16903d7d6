package history_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/history/historytest"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(n int) job.Run {
	return historytest.Run(job.Key{Namespace: "default", Name: "some"}, n)
}

// store counts batches, and waits or fails when it is told to.
type store struct {
	*historytest.Memory

	// mu guards what follows.
	mu      sync.Mutex
	batches []int
	gate    chan struct{} // nil: open
	err     error
}

func (s *store) Append(ctx context.Context, runs []job.Run) error {
	s.mu.Lock()
	gate, err := s.gate, s.err
	s.batches = append(s.batches, len(runs))
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return fmt.Errorf("append: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		return err
	}
	return s.Memory.Append(ctx, runs)
}

func (s *store) set(gate chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate, s.err = gate, err
}

// sizes are those of the batches so far.
func (s *store) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

// bench is a sink in a bubble of time, with what became of its records.
type bench struct {
	*history.Sink
	store *store
	reg   *prometheus.Registry
	stop  func() // ends Run and waits for it

	// mu guards what follows.
	mu   sync.Mutex
	done map[int][]error
}

func (b *bench) record(n int) {
	b.Record(run(n), func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.done[n] = append(b.done[n], err)
	})
}

// outcome is how often done was called for record n, and the last error.
func (b *bench) outcome(n int) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.done[n]) == 0 {
		return 0, nil
	}
	return len(b.done[n]), b.done[n][len(b.done[n])-1]
}

func inBubble(t *testing.T, cfg history.SinkConfig, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{store: &store{Memory: historytest.NewMemory(1 << 20)}, reg: prometheus.NewRegistry(), done: map[int][]error{}}
		sink, err := history.NewSink(cfg, history.SinkDeps{Store: b.store, Logger: zap.NewNop(), Metrics: b.reg})
		if err != nil {
			t.Fatal(err)
		}
		b.Sink = sink
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := sink.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		}()
		b.stop = func() { cancel(); <-ended }
		test(t, b)
		b.stop()
		time.Sleep(time.Minute) // let timers end; time is the bubble's
	})
}

func TestS1_RecordsAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{Batch: 10, Every: 20 * time.Millisecond}, func(t *testing.T, b *bench) {
		start := time.Now()
		for n := range 3 {
			b.record(n)
		}
		synctest.Wait()
		if calls, _ := b.outcome(0); calls != 0 {
			t.Error("written before there was a batch")
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		for n := 3; n < 13; n++ {
			b.record(n)
		}
		synctest.Wait() // a full batch does not wait
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("%s have passed", d)
		}
		for n := range 13 {
			if calls, err := b.outcome(n); calls != 1 || err != nil {
				t.Errorf("record %d: done %d times, %v", n, calls, err)
			}
		}
		if got := fmt.Sprint(b.store.sizes()); got != "[3 10]" {
			t.Errorf("batches %s, want [3 10]", got)
		}
	})
}

func TestS1_LargeRecordDoesNotWaitForOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{Batch: 10, Every: 20 * time.Millisecond}, func(t *testing.T, b *bench) {
		large := run(0)
		large.Tasks = make([]job.Task, 5000)
		written := false
		b.Record(large, func(err error) { written = err == nil })
		synctest.Wait()
		if !written {
			t.Error("a record of 5,000 tasks waits for others")
		}
	})
}

func TestS2_DoneFollowsTheStore(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{}, func(t *testing.T, b *bench) {
		gate := make(chan struct{})
		b.store.set(gate, nil)
		b.record(1)
		time.Sleep(time.Minute)
		if calls, _ := b.outcome(1); calls != 0 {
			t.Error("done before the store has answered")
		}
		close(gate)
		synctest.Wait()
		if calls, err := b.outcome(1); calls != 1 || err != nil {
			t.Errorf("done %d times, %v", calls, err)
		}
	})
}

func TestS2_TransientErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{}, func(t *testing.T, b *bench) {
		b.store.set(nil, fmt.Errorf("no leader: %w", job.ErrUnavailable))
		b.record(1)
		time.Sleep(time.Minute)
		if calls, _ := b.outcome(1); calls != 0 {
			t.Error("given up")
		}
		if n := len(b.store.sizes()); n < 20 || n > 60 {
			t.Errorf("%d attempts in a minute", n)
		}
		b.store.set(nil, nil)
		time.Sleep(3 * time.Second)
		if calls, err := b.outcome(1); calls != 1 || err != nil {
			t.Errorf("done %d times, %v", calls, err)
		}
	})
}

func TestS2_OtherErrorsGoToTheCaller(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{}, func(t *testing.T, b *bench) {
		broken := errors.New("broken")
		b.store.set(nil, broken)
		b.record(1)
		time.Sleep(time.Second)
		if calls, err := b.outcome(1); calls != 1 || !errors.Is(err, broken) {
			t.Errorf("done %d times, %v", calls, err)
		}
		b.store.set(nil, nil)
		b.record(1)
		time.Sleep(time.Second)
		if calls, err := b.outcome(1); calls != 2 || err != nil {
			t.Errorf("done %d times, %v", calls, err)
		}
	})
}

func TestS3_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]history.SinkConfig{
		"records": {Batch: 1, MaxPending: 5},
		"bytes":   {Batch: 1, MaxPendingBytes: 5 * 1100}, // a record counts for about 1000
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, cfg, func(t *testing.T, b *bench) {
				gate := make(chan struct{})
				b.store.set(gate, nil)
				b.record(0)
				synctest.Wait() // it is being written, and still counts
				for n := 1; n < 8; n++ {
					b.record(n)
				}
				for n := range 8 {
					calls, err := b.outcome(n)
					if n < 5 && calls != 0 {
						t.Errorf("record %d: done %d times, %v", n, calls, err)
					}
					if n >= 5 && (calls != 1 || !errors.Is(err, job.ErrUnavailable)) {
						t.Errorf("record %d: done %d times, %v, want refusal", n, calls, err)
					}
				}
				close(gate)
				time.Sleep(time.Second)
				b.record(5)
				time.Sleep(time.Second)
				for n := range 6 {
					if _, err := b.outcome(n); err != nil {
						t.Errorf("record %d: %v", n, err)
					}
				}
				want := map[string]float64{"written": 6, "refused": 3}
				for result, n := range want {
					if got := counter(t, b.reg, result); got != n {
						t.Errorf("%v records %s, want %v", got, result, n)
					}
				}
			})
		})
	}
}

func counter(t *testing.T, reg *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "carillon_history_records_total" && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestS4_AJamKeepsTheOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{Batch: 2}, func(t *testing.T, b *bench) {
		gate := make(chan struct{})
		b.store.set(gate, nil)
		for n := range 100 {
			r := run(0)
			r.Reason = fmt.Sprint(n)
			b.Record(r, func(error) {})
		}
		close(gate)
		time.Sleep(time.Second)
		if got, err := b.store.Get(t.Context(), run(0).RunID); err != nil || got.Reason != "99" {
			t.Errorf("the last version is %q, %v", got.Reason, err)
		}
		for _, n := range b.store.sizes() {
			if n > 16 {
				t.Errorf("a batch has %d records", n)
			}
		}
	})
}

func TestS5_RunFlushesWhenItEnds(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{Every: time.Hour, Batch: 4}, func(t *testing.T, b *bench) {
		gate := make(chan struct{})
		b.store.set(gate, nil)
		for n := range 4 { // being written
			b.record(n)
		}
		synctest.Wait()
		for n := 4; n < 50; n++ {
			b.record(n)
		}
		time.AfterFunc(2*time.Second, func() { close(gate) })
		b.stop()
		for n := range 50 {
			if calls, err := b.outcome(n); calls != 1 || err != nil {
				t.Errorf("record %d: done %d times, %v", n, calls, err)
			}
		}
		b.record(50)
		if calls, err := b.outcome(50); calls != 1 || !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("record after the end: done %d times, %v", calls, err)
		}
	})
}

func TestS5_TheFlushIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, history.SinkConfig{Batch: 1, Flush: 3 * time.Second}, func(t *testing.T, b *bench) {
		b.store.set(make(chan struct{}), nil)
		for n := range 20 {
			b.record(n)
		}
		synctest.Wait()
		start := time.Now()
		b.stop()
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("run ended after %s", d)
		}
		for n := range 20 {
			if calls, err := b.outcome(n); calls != 1 || !errors.Is(err, job.ErrUnavailable) {
				t.Errorf("record %d: done %d times, %v", n, calls, err)
			}
		}
	})
}
