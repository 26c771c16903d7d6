package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// segment is a segment's key, and its records once it is open.
type segment struct {
	etcdkv.SegmentName
	key    string
	bucket int
	modRev int64
	// records are in the order of lists; they are shared and must not be
	// changed. They are nil when the segment cannot be read.
	records []etcdkv.SegmentRecord
}

// listing is what there was at one revision, by falling newest instant.
type listing struct {
	rev      int64
	segments []*segment
}

// readRetries is how often a read begins anew because its revision is gone.
const readRetries = 3

// Get returns one record, or that of the row that stands for it, or an error that wraps
// job.ErrNotFound.
func (s *Store) Get(ctx context.Context, id job.RunID) (job.Run, error) {
	notFound := fmt.Errorf("run %s: %w", id, job.ErrNotFound)
	if !id.Valid() {
		return job.Run{}, notFound
	}
	var found *walk
	var row *etcdkv.SegmentRecord
	err := s.read(ctx, s.cfg.Keys.RunBucket(id.Bucket(s.cfg.Buckets)), func(l listing) error {
		found, row = nil, nil
		for segs := l.segments; len(segs) > 0; {
			// A newer version of the record cannot lie in segments that end before it.
			if found != nil && segs[0].Newest < found.record().At {
				return nil
			}
			n := openable(segs)
			if err := s.open(ctx, segs[:n], l.rev, true); err != nil {
				return err
			}
			for _, seg := range segs[:n] {
				i := slices.IndexFunc(seg.records, func(r etcdkv.SegmentRecord) bool { return r.ID == id })
				if w := (walk{seg: seg, i: i}); i >= 0 && (found == nil || w.counts(found)) {
					found = &w
				}
			}
			segs = segs[n:]
		}
		if found == nil {
			row = inRow(l.segments, id)
		}
		return nil
	})
	switch {
	case err != nil:
		return job.Run{}, fmt.Errorf("run %s: %w", id, err)
	case found != nil:
		return found.record().Decode()
	case row != nil:
		return row.Decode()
	}
	return job.Run{}, notFound
}

// List returns a page of records.
func (s *Store) List(ctx context.Context, q history.Query) (history.Page, error) {
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	prefix := s.cfg.Keys.Runs()
	if !q.UID.IsZero() {
		prefix = s.cfg.Keys.RunBucket(q.UID.RunBucket(s.cfg.Buckets))
	}
	var page history.Page
	err := s.read(ctx, prefix, func(l listing) error {
		var err error
		page, err = s.page(ctx, q, l)
		return err
	})
	if err != nil {
		return history.Page{}, fmt.Errorf("list runs: %w", err)
	}
	return page, nil
}

// page merges segments, newest first, and opens only those that it comes to.
func (s *Store) page(ctx context.Context, q history.Query, l listing) (history.Page, error) {
	page := history.Page{Runs: []job.Run{}}
	segs := l.segments
	var after *history.Position
	if q.Cursor != "" {
		p, err := history.ParseCursor(q.Cursor)
		if err != nil {
			return page, err
		}
		after = &p
		segs = slices.DeleteFunc(segs, func(seg *segment) bool { return seg.Oldest > p.At })
	}
	var m merger
	for {
		at, ok := m.top()
		if len(segs) > 0 && (!ok || segs[0].Newest >= at) {
			n := openable(segs)
			if err := s.open(ctx, segs[:n], l.rev, true); err != nil {
				return page, err
			}
			for _, seg := range segs[:n] {
				m.add(seg, after)
			}
			segs = segs[n:]
			continue
		}
		if !ok {
			return page, nil
		}
		w := m.next()
		r := w.record()
		if !q.Selects(r.Key, r.Job, r.State) {
			continue
		}
		if len(page.Runs) == q.Limit {
			page.Next = history.PositionOf(&page.Runs[q.Limit-1]).Cursor()
			return page, nil
		}
		run, err := r.Decode()
		if err != nil {
			return page, err
		}
		page.Runs = append(page.Runs, run)
	}
}

// read calls fn with what is under prefix now, and again when the revision was
// compacted meanwhile.
func (s *Store) read(ctx context.Context, prefix string, fn func(listing) error) error {
	for try := 1; ; try++ {
		l, err := s.list(ctx, prefix)
		if err == nil {
			err = fn(l)
		}
		if try == readRetries || !errors.Is(err, rpctypes.ErrCompacted) {
			return etcdkv.Unavailable(err)
		}
	}
}

// list reads the keys under prefix.
func (s *Store) list(ctx context.Context, prefix string) (listing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	resp, err := s.kv.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return listing{}, fmt.Errorf("list segments: %w", err)
	}
	l := listing{rev: resp.Header.Revision, segments: make([]*segment, 0, len(resp.Kvs))}
	for _, kv := range resp.Kvs {
		bucket, name, err := s.cfg.Keys.ParseRunSegment(string(kv.Key))
		if err != nil {
			s.log.Warn("key is left alone", zap.Error(err)) // of a newer release, maybe (H6)
			continue
		}
		l.segments = append(l.segments, &segment{SegmentName: name, key: string(kv.Key), bucket: bucket, modRev: kv.ModRevision})
	}
	slices.SortFunc(l.segments, func(a, b *segment) int {
		if a.Newest != b.Newest {
			if a.Newest > b.Newest {
				return -1
			}
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	return l, nil
}

// openable returns how many of the segments are opened with one request.
func openable(segs []*segment) int {
	bytes := 0
	for i, seg := range segs {
		bytes += seg.Bytes
		if i > 0 && (i == maxOps || bytes > maxValue) {
			return i
		}
	}
	return len(segs)
}

// open reads the records of segments, as they were at rev, from the cache or
// from etcd. What it reads goes into the cache if keep is true.
func (s *Store) open(ctx context.Context, segs []*segment, rev int64, keep bool) error {
	var missing []*segment
	var ops []clientv3.Op
	for _, seg := range segs {
		if seg.records = s.cache.get(seg.key, seg.modRev); seg.records == nil {
			missing = append(missing, seg)
			ops = append(ops, clientv3.OpGet(seg.key, clientv3.WithRev(rev)))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	resp, err := s.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return fmt.Errorf("read segments: %w", err)
	}
	for i, seg := range missing {
		kvs := resp.Responses[i].GetResponseRange().Kvs
		if len(kvs) != 1 {
			return fmt.Errorf("segment %s is not there at revision %d: %w", seg.key, rev, job.ErrConflict)
		}
		s.metrics.readBytes.Add(float64(len(kvs[0].Value)))
		records, err := s.codec.Decode(kvs[0].Value)
		if err != nil {
			s.metrics.unreadable.Inc()
			s.log.Error("segment cannot be read and is left alone", zap.String("key", seg.key), zap.Error(err))
			continue
		}
		seg.records = records
		if keep {
			s.cache.put(seg.key, seg.modRev, records)
		}
	}
	return nil
}
