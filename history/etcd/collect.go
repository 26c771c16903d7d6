package etcd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// settled is the generation of segments that only a sweep rewrites.
	settled = 3
	// fanIn is how many segments of one generation make a merge worthwhile.
	fanIn = 8
	// calmBytes is the size up to which a bucket is cheap to sweep.
	calmBytes = 256 << 10
	// A bucket in which something has changed is swept after so long at the
	// latest: one that is cheap to sweep, and any other.
	calmSweep, fullSweep = time.Minute, 10 * time.Minute
)

// sweep is what the last sweep of a bucket left behind.
type sweep struct {
	at     time.Time
	bytes  int64
	modRev int64
}

// sweeps remembers the last sweep of each bucket. A node that has just become
// a bucket's leader knows of none, and sweeps.
type sweeps struct {
	// mu guards what follows.
	mu      sync.Mutex
	buckets map[int]sweep
}

// Run merges and sweeps the buckets that this node leads, until ctx ends. It
// returns nil.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.collect(ctx, false); err != nil && ctx.Err() == nil {
			s.log.Warn("history not collected, will be tried again", zap.Error(err))
		}
	}
}

// Collect merges and sweeps all buckets that this node leads, now.
func (s *Store) Collect(ctx context.Context) error { return s.collect(ctx, true) }

func (s *Store) collect(ctx context.Context, force bool) error {
	l, err := s.list(ctx, s.cfg.Keys.Runs())
	if err != nil {
		return fmt.Errorf("collect history: %w", etcdkv.Unavailable(err))
	}
	buckets, total := byBucket(l)
	s.metrics.bytes.Set(float64(total))
	s.metrics.segments.Set(float64(len(l.segments)))
	for b, segs := range buckets {
		if !s.cfg.Leader(b) {
			continue
		}
		if err := s.mergeBucket(ctx, segs, l.rev); err != nil {
			return fmt.Errorf("merge history bucket %d: %w", b, etcdkv.Unavailable(err))
		}
		if force || s.sweepDue(b, segs, total) {
			if err := s.sweepBucket(ctx, b); err != nil {
				return fmt.Errorf("sweep history bucket %d: %w", b, etcdkv.Unavailable(err))
			}
		}
	}
	if total <= s.cfg.MaxBytes {
		return nil
	}
	if err := s.enforceCap(ctx); err != nil {
		return fmt.Errorf("cap history: %w", etcdkv.Unavailable(err))
	}
	return nil
}

func byBucket(l listing) (buckets map[int][]*segment, total int64) {
	buckets = map[int][]*segment{}
	for _, seg := range l.segments {
		buckets[seg.bucket] = append(buckets[seg.bucket], seg)
		total += int64(seg.Bytes)
	}
	return buckets, total
}

// measure returns the size and the last revision of a bucket.
func measure(segs []*segment) (bytes, modRev int64) {
	for _, seg := range segs {
		bytes += int64(seg.Bytes)
		modRev = max(modRev, seg.modRev)
	}
	return bytes, modRev
}

// mergeBucket merges the segments of each generation of which there are enough.
func (s *Store) mergeBucket(ctx context.Context, segs []*segment, rev int64) error {
	for gen := range settled {
		var same []*segment
		for _, seg := range slices.Backward(segs) { // oldest first
			if seg.Generation == gen {
				same = append(same, seg)
			}
		}
		for len(same) >= fanIn {
			n := openable(same)
			if err := s.open(ctx, same[:n], rev, false); err != nil {
				return err
			}
			if group := readable(same[:n]); len(group) > 1 {
				if err := s.rewrite(ctx, group, recordsOf(s.newest(group, false)), gen+1); err != nil {
					return err
				}
			}
			same = same[n:]
		}
	}
	return nil
}

func readable(segs []*segment) []*segment {
	return slices.DeleteFunc(slices.Clone(segs), func(seg *segment) bool { return seg.records == nil })
}

// newest returns what of the segments' records is to be kept, going by these
// segments alone: the newest version of the newest Keep runs of each class of each job, if
// they are not too old. Of those that did not run the ones before that are kept, too: as
// many as make Keep rows, where these are all segments of their bucket.
func (s *Store) newest(segs []*segment, whole bool) []kept {
	var m merger
	for _, seg := range segs {
		m.add(seg, nil)
	}
	oldest := int64(0)
	if s.cfg.MaxAge > 0 {
		oldest = time.Now().Add(-s.cfg.MaxAge).UnixNano()
	}
	var all []kept
	type shelf struct {
		job   job.UID
		class history.Class
	}
	count := map[shelf]int{}
	rows := map[job.UID]*rowsOf{}
	for _, ok := m.top(); ok; _, ok = m.top() {
		w := m.next()
		r := w.record()
		on := shelf{r.Job, history.ClassOf(r.State)}
		count[on]++
		old := rows[r.Job]
		switch {
		case s.cfg.MaxAge > 0 && lastOf(r) < oldest:
		case count[on] <= s.cfg.Keep:
			all = append(all, kept{walk: w})
		case on.class == history.NotRun:
			if old == nil {
				old = &rowsOf{}
				rows[r.Job] = old
			}
			if newer, room := old.take(w, s.cfg.Keep); room || !whole {
				all = append(all, kept{walk: w, old: true, newer: newer})
			}
			continue
		}
		if old != nil {
			old.end() // what comes before is in no row with what came after
		}
	}
	return all
}

// recordsOf returns the records of what is kept as they are.
func recordsOf(all []kept) []etcdkv.SegmentRecord {
	records := make([]etcdkv.SegmentRecord, len(all))
	for i := range all {
		records[i] = *all[i].record()
		records[i].Rev = all[i].rev()
	}
	return records
}

// rewrite replaces segments of one bucket by new ones that hold the given
// records, which must be in the order of lists. When one of the segments is no
// longer there, nothing happens (H4).
func (s *Store) rewrite(ctx context.Context, segs []*segment, records []etcdkv.SegmentRecord, generation int) error {
	cmps := make([]clientv3.Cmp, len(segs))
	ops := make([]clientv3.Op, len(segs))
	for i, seg := range segs {
		cmps[i] = clientv3.Compare(clientv3.ModRevision(seg.key), "=", seg.modRev)
		ops[i] = clientv3.OpDelete(seg.key)
	}
	for _, p := range s.pack(segs[0].bucket, records, generation) {
		ops = append(ops, clientv3.OpPut(p.key, string(p.value)))
	}
	ok, err := s.commit(ctx, cmps, ops)
	if err == nil && !ok {
		s.log.Debug("segments were merged by another node", zap.Int("bucket", segs[0].bucket))
	}
	return err
}

// sweepDue reports whether enough has changed since a bucket's last sweep.
func (s *Store) sweepDue(bucket int, segs []*segment, total int64) bool {
	s.sweeps.mu.Lock()
	last, known := s.sweeps.buckets[bucket]
	s.sweeps.mu.Unlock()
	bytes, modRev := measure(segs)
	if !known || bytes >= last.bytes*3/2+calmBytes {
		return true
	}
	if total > s.cfg.MaxBytes && bytes > s.share() && bytes >= last.bytes*11/10 {
		return true
	}
	after := calmSweep
	if bytes > calmBytes {
		after = fullSweep
	}
	changed := modRev != last.modRev || s.cfg.MaxAge > 0
	return changed && time.Since(last.at) >= after
}

// share is what a bucket may hold when there is too much in all.
func (s *Store) share() int64 { return s.cfg.MaxBytes / int64(s.cfg.Buckets) }

// sweepBucket reads a whole bucket, deletes segments that hold nothing that is
// to be kept, and rewrites those that are small or mostly garbage.
func (s *Store) sweepBucket(ctx context.Context, bucket int) error {
	l, err := s.list(ctx, s.cfg.Keys.RunBucket(bucket))
	if err != nil {
		return err
	}
	for segs := l.segments; len(segs) > 0; {
		n := openable(segs)
		if err := s.open(ctx, segs[:n], l.rev, false); err != nil {
			return err
		}
		segs = segs[n:]
	}
	segs := readable(l.segments)
	all := s.newest(segs, true)
	live, held := make(map[*segment]int, len(segs)), make(map[*segment]bool, len(segs))
	for i := range all {
		held[all[i].seg] = true
		if !all[i].old || all[i].newer.seg == nil { // else it becomes a part of another record
			live[all[i].seg]++
		}
	}
	var dead, group []*segment
	for _, seg := range slices.Backward(segs) { // oldest first
		garbage := live[seg]*2 <= len(seg.records)
		switch {
		case !held[seg]:
			dead = append(dead, seg)
		case garbage || !isFull(sizeOf(seg)):
			group = append(group, seg)
		}
	}
	if err := s.drop(ctx, dead, "garbage"); err != nil {
		return err
	}
	for len(group) > 0 {
		n := openable(group)
		if some := group[:n]; n > 1 || live[some[0]]*2 <= len(some[0].records) {
			mine, err := folded(slices.DeleteFunc(slices.Clone(all), func(k kept) bool { return !slices.Contains(some, k.seg) }))
			if err != nil {
				return err
			}
			if err := s.rewrite(ctx, some, mine, settled); err != nil {
				return err
			}
		}
		group = group[n:]
	}
	return s.swept(ctx, bucket)
}

// swept remembers what a sweep left behind.
func (s *Store) swept(ctx context.Context, bucket int) error {
	l, err := s.list(ctx, s.cfg.Keys.RunBucket(bucket))
	if err != nil {
		return err
	}
	done := sweep{at: time.Now()}
	done.bytes, done.modRev = measure(l.segments)
	s.sweeps.mu.Lock()
	s.sweeps.buckets[bucket] = done
	s.sweeps.mu.Unlock()
	return nil
}

func sizeOf(seg *segment) int {
	n := 0
	for i := range seg.records {
		n += seg.records[i].Size()
	}
	return n
}

// drop deletes segments, unless somebody else has.
func (s *Store) drop(ctx context.Context, segs []*segment, cause string) error {
	s.metrics.dropped.WithLabelValues(cause).Add(float64(len(segs)))
	for group := range slices.Chunk(segs, maxOps) {
		if err := s.rewrite(ctx, group, nil, settled); err != nil {
			return err
		}
	}
	return nil
}

// enforceCap deletes the oldest segments of buckets that hold more than their
// share, when all together hold too much. It goes a fifth below the share, so
// that not every pass has to.
func (s *Store) enforceCap(ctx context.Context) error {
	l, err := s.list(ctx, s.cfg.Keys.Runs())
	if err != nil {
		return err
	}
	buckets, total := byBucket(l)
	if total <= s.cfg.MaxBytes {
		return nil
	}
	for b, segs := range buckets {
		bytes, _ := measure(segs)
		if !s.cfg.Leader(b) || bytes <= s.share() {
			continue
		}
		var dead []*segment
		for _, seg := range slices.Backward(segs) {
			if bytes <= s.share()*4/5 || len(dead) == len(segs)-1 {
				break
			}
			dead = append(dead, seg)
			bytes -= int64(seg.Bytes)
		}
		s.log.Warn("history is full, the oldest runs are dropped", zap.Int("bucket", b), zap.Int("segments", len(dead)))
		if err := s.drop(ctx, dead, "cap"); err != nil {
			return err
		}
		if err := s.swept(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
