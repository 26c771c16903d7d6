package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// SinkConfig configures a Sink. Zero values mean the defaults.
type SinkConfig struct {
	// Batch is how many waiting records are written without waiting for more.
	// Default 512.
	Batch int
	// Every is the longest that a record waits for others. Default 20 ms.
	Every time.Duration
	// MaxPending bounds the records in memory, those being written included.
	// Default 100,000.
	MaxPending int
	// MaxPendingBytes bounds their approximate size. Default 256 MiB.
	MaxPendingBytes int64
	// Flush bounds the last write after Run's context has ended. Default 5 s.
	Flush time.Duration
}

// SinkDeps are what a Sink works with. Metrics may be nil.
type SinkDeps struct {
	Store   Store
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// fullBytes is from how many bytes on waiting records are written without waiting
// for more, about: one of a run on thousands of minions gains nothing by company.
const fullBytes = 1 << 20

// maxTake bounds, in batches, what one call of the store gets after a jam.
const maxTake = 8

// The pauses between attempts to write a batch.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// errStopped is why records are refused after Run has ended.
var errStopped = fmt.Errorf("history sink has stopped: %w", job.ErrUnavailable)

// entry is a record that waits, and whom to tell.
type entry struct {
	run  job.Run
	size int64
	done func(error)
}

// Sink takes run records and writes them to a Store in batches. Record may be
// called by many goroutines; Run is called once.
type Sink struct {
	cfg     SinkConfig
	store   Store
	log     *zap.Logger
	metrics *metrics
	// wake has one place: a token says that records wait; full, that a batch does.
	wake, full chan struct{}

	// mu guards what follows.
	mu      sync.Mutex
	waiting []entry
	// pending and bytes count what waits and what is being written.
	pending int
	bytes   int64
	stopped bool
}

// NewSink returns a Sink that takes records at once and writes them while Run runs.
func NewSink(cfg SinkConfig, deps SinkDeps) (*Sink, error) {
	if deps.Store == nil || deps.Logger == nil {
		return nil, errors.New("history sink: a store and a logger are needed")
	}
	cfg.Batch = cmp.Or(max(cfg.Batch, 0), 512)
	cfg.Every = cmp.Or(max(cfg.Every, 0), 20*time.Millisecond)
	cfg.MaxPending = cmp.Or(max(cfg.MaxPending, 0), 100_000)
	cfg.MaxPendingBytes = cmp.Or(max(cfg.MaxPendingBytes, 0), 256<<20)
	cfg.Flush = cmp.Or(max(cfg.Flush, 0), 5*time.Second)
	s := &Sink{
		cfg: cfg, store: deps.Store, log: deps.Logger.Named("history"),
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
	var err error
	if s.metrics, err = newMetrics(deps.Metrics, s.load); err != nil {
		return nil, fmt.Errorf("history sink: %w", err)
	}
	return s, nil
}

// Record hands a record over; the run must not be changed afterwards. It never
// blocks. done is called once: with nil when the record is durable, or with an
// error, which wraps job.ErrUnavailable when the same record may be handed over
// again later. done may be called before Record returns, and must not block.
func (s *Sink) Record(run job.Run, done func(error)) {
	e := entry{run: run, size: sizeOf(&run), done: done}
	if err := s.add(e); err != nil {
		s.metrics.records.WithLabelValues("refused").Inc()
		done(err)
	}
}

func (s *Sink) add(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopped
	}
	if s.pending >= s.cfg.MaxPending || (s.pending > 0 && s.bytes+e.size > s.cfg.MaxPendingBytes) {
		return fmt.Errorf("history: %d records (%d bytes) wait already: %w", s.pending, s.bytes, job.ErrUnavailable)
	}
	s.waiting = append(s.waiting, e)
	s.pending++
	s.bytes += e.size
	if len(s.waiting) == 1 {
		signal(s.wake)
	}
	if len(s.waiting) == s.cfg.Batch || e.size >= fullBytes {
		signal(s.full)
	}
	return nil
}

// signal puts a token into a channel of length 1, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sizeOf is about how much memory a run takes.
func sizeOf(r *job.Run) int64 {
	n := int64(512 + len(r.Reason))
	for i := range r.Tasks {
		t := &r.Tasks[i]
		n += int64(400 + len(t.Reason) + len(t.Stdout.Head) + len(t.Stdout.Tail) + len(t.Stderr.Head) + len(t.Stderr.Tail))
	}
	return n
}

// Run writes records until ctx ends, then writes what waits within the
// configured time, and refuses what it could not write. It returns nil.
func (s *Sink) Run(ctx context.Context) error {
	defer s.refuseRest()
	// What is being written when ctx ends gets the same last chance as the rest.
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(s.cfg.Flush, cancel) })
	defer stop()
	for s.await(ctx) {
		s.write(writing, s.take())
	}
	for writing.Err() == nil {
		batch := s.take()
		if len(batch) == 0 {
			break
		}
		s.write(writing, batch)
	}
	return nil
}

// await waits until there is something to write and either enough of it or
// time has passed. It reports false when ctx has ended.
func (s *Sink) await(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.wake:
	}
	timer := time.NewTimer(s.cfg.Every)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.full:
	case <-timer.C:
	}
	return true
}

// take removes what is written next from what waits.
func (s *Sink) take() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.waiting
	if limit := maxTake * s.cfg.Batch; len(batch) > limit {
		batch = batch[:limit:limit]
	}
	s.waiting = s.waiting[len(batch):]
	if len(s.waiting) == 0 {
		s.waiting = nil
		// A token for records that are taken now would end the next wait early.
		select {
		case <-s.full:
		default:
		}
		return batch
	}
	signal(s.wake)
	if len(s.waiting) >= s.cfg.Batch {
		signal(s.full)
	}
	return batch
}

// write appends a batch to the store, again and again while the store cannot
// answer, and tells who waits (S2).
func (s *Sink) write(ctx context.Context, batch []entry) {
	runs := make([]job.Run, len(batch))
	for i := range batch {
		runs[i] = batch[i].run
	}
	err := s.appendRetrying(ctx, runs)
	if err != nil && ctx.Err() != nil && !errors.Is(err, job.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", job.ErrUnavailable, err)
	}
	var bytes int64
	for i := range batch {
		bytes += batch[i].size
	}
	s.mu.Lock()
	s.pending -= len(batch)
	s.bytes -= bytes
	s.mu.Unlock()
	result := "written"
	if err != nil {
		result = "failed"
		s.log.Warn("run records not written", zap.Int("records", len(batch)), zap.Error(err))
	}
	s.metrics.records.WithLabelValues(result).Add(float64(len(batch)))
	for i := range batch {
		batch[i].done(err)
	}
}

func (s *Sink) appendRetrying(ctx context.Context, runs []job.Run) error {
	retry := backoff.Backoff{Least: minBackoff, Most: maxBackoff}
	for {
		start := time.Now()
		err := s.store.Append(ctx, runs)
		s.metrics.seconds.Observe(time.Since(start).Seconds())
		if err == nil || ctx.Err() != nil || !errors.Is(err, job.ErrUnavailable) {
			return err
		}
		s.log.Warn("history cannot be written, trying again", zap.Error(err))
		if !retry.Pause(ctx) {
			return err
		}
	}
}

// refuseRest ends the sink (S5).
func (s *Sink) refuseRest() {
	s.mu.Lock()
	rest := s.waiting
	s.waiting, s.stopped, s.pending, s.bytes = nil, true, 0, 0
	s.mu.Unlock()
	for i := range rest {
		rest[i].done(errStopped)
	}
}

// load returns what is pending, for the metrics.
func (s *Sink) load() (records int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending, s.bytes
}
