package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Journal shows audit records. Use NewJournal. It may be used by many goroutines at once.
type Journal struct {
	db    *store.Store
	chain *chain.Reader
	log   *zap.Logger
}

// NewJournal returns a Journal of the records in db.
func NewJournal(db *store.Store, log *zap.Logger) *Journal {
	return &Journal{db: db, chain: &chain.Reader{Client: db.Client, Keys: db.Keys, Timeout: db.Timeout}, log: log}
}

// maxScan bounds how many stored records one request looks at.
const maxScan = 20_000

// Audit returns the records that q selects, newest first.
func (j *Journal) Audit(ctx context.Context, q api.AuditQuery) (api.AuditPage, error) {
	page := api.AuditPage{Records: []api.AuditRecord{}}
	if q.Limit <= 0 || q.Limit > api.MaxAudit {
		return page, apiview.Invalid("limit", fmt.Sprintf("%d is out of range; want 1 to %d", q.Limit, api.MaxAudit))
	}
	after, entry, err := parseAfter(q.After)
	if err != nil {
		return page, err
	}
	w := walk{j: j, prefix: j.db.Keys.Audit()}
	w.low, w.high = w.prefix, clientv3.GetPrefixRangeEnd(w.prefix)
	if !q.Since.IsZero() {
		w.low = w.prefix + etcdkv.AuditTime(q.Since)
	}
	if !q.Until.IsZero() {
		w.high = w.prefix + etcdkv.AuditTime(q.Until.Add(1)) // up to and with
	}
	if after != "" {
		w.high = min(w.high, w.prefix+after+"\x00")
	}
	scanned := 0
	last, err := w.back(ctx, func(kv *mvccpb.KeyValue) bool {
		name := string(kv.Key[len(w.prefix):])
		rec, err := store.Decode[etcdkv.Audit](kv)
		if err != nil {
			j.log.Warn("record unreadable", zap.Error(err))
			return true
		}
		for i, v := range apiview.Audit(name, &rec) {
			if name == after && i < entry || !selects(&q, &v) {
				continue
			}
			if len(page.Records) == q.Limit {
				page.Next, page.Older = name+"."+strconv.Itoa(i), 1
				return false
			}
			page.Records = append(page.Records, v)
		}
		if scanned++; scanned == maxScan {
			page.Next = name + "." + strconv.Itoa(len(rec.Objects)+1)
			return false
		}
		return true
	})
	if err != nil || page.Next == "" {
		return page, err
	}
	older, err := w.count(ctx, w.low, last)
	page.Older += older
	return page, err
}

// selects reports whether a query selects a record, whose time does.
func selects(q *api.AuditQuery, r *api.AuditRecord) bool {
	return (q.By == "" || r.By == q.By) &&
		(q.Action == "" || r.Action == q.Action || strings.HasPrefix(r.Action, q.Action+".")) &&
		strings.Contains(r.Object, q.Object)
}

// parseAfter reads a position: the name of a record, and the first of its entries that
// have not been told.
func parseAfter(text string) (name string, entry int, err error) {
	if text == "" {
		return "", 0, nil
	}
	at := strings.LastIndexByte(text, '.')
	if at > 0 {
		name = text[:at]
		if entry, err = strconv.Atoi(text[at+1:]); err == nil {
			_, err = etcdkv.ParseAuditTime(name)
		}
	}
	if at <= 0 || err != nil {
		return "", 0, apiview.Invalid("after", fmt.Sprintf("%q is no position; give next of the answer before", text))
	}
	return name, entry, nil
}

// walk goes through the records between two keys, the newest first. etcd reads all of a
// range to sort it, so it is asked for windows of time that hold at most one page of
// records, as far as it counts.
type walk struct {
	j                 *Journal
	prefix, low, high string
}

// windows of time: the first, and the least.
const (
	firstWindow = time.Minute
	leastWindow = time.Millisecond
)

// back calls fn with one record after the other until it is false, and returns the key
// of the last one.
func (w *walk) back(ctx context.Context, fn func(*mvccpb.KeyValue) bool) (last string, err error) {
	oldest, newest, err := w.ends(ctx)
	if err != nil || oldest.IsZero() {
		return "", err
	}
	high, to, window := w.high, newest.Add(1), firstWindow
	for {
		from := to.Add(-window)
		low := w.prefix + etcdkv.AuditTime(from)
		if !from.After(oldest) || low < w.low {
			low = w.low
		}
		if window > leastWindow {
			n, err := w.count(ctx, low, high)
			if err != nil {
				return last, err
			}
			if n > store.PageSize {
				window /= 4
				continue
			}
		}
		kvs, err := w.between(ctx, low, high)
		if err != nil {
			return last, err
		}
		for _, kv := range slices.Backward(kvs) {
			if last = string(kv.Key); !fn(kv) {
				return last, nil
			}
		}
		if low == w.low {
			return last, nil
		}
		high, to, window = low, from, window*4
	}
}

// ends returns the times of the oldest record and of the newest that there may be.
func (w *walk) ends(ctx context.Context) (oldest, newest time.Time, err error) {
	kvs, _, err := w.page(ctx, w.low, w.high, 1)
	if err != nil || len(kvs) == 0 {
		return oldest, newest, err
	}
	if oldest, err = etcdkv.ParseAuditTime(string(kvs[0].Key[len(w.prefix):])); err != nil {
		oldest = time.Unix(0, 0) // whatever it is, all records come after that
	}
	newest = w.j.db.Now()
	if at, err := etcdkv.ParseAuditTime(strings.TrimPrefix(w.high, w.prefix)); err == nil {
		newest = at
	}
	if newest.Before(oldest) {
		newest = oldest
	}
	return oldest, newest, nil
}

// between reads all records between two keys.
func (w *walk) between(ctx context.Context, low, high string) (kvs []*mvccpb.KeyValue, err error) {
	for {
		part, more, err := w.page(ctx, low, high, store.PageSize)
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, part...)
		if !more || len(part) == 0 {
			return kvs, nil
		}
		low = string(part[len(part)-1].Key) + "\x00"
	}
}

func (w *walk) page(ctx context.Context, low, high string, limit int64) ([]*mvccpb.KeyValue, bool, error) {
	if low >= high {
		return nil, false, nil
	}
	resp, err := w.j.db.RangePage(ctx, low, high, 0, limit)
	if err != nil {
		return nil, false, store.Error(ctx, "list audit records", err)
	}
	return resp.Kvs, resp.More, nil
}

// count returns how many records there are between two keys. etcd counts without reading
// them.
func (w *walk) count(ctx context.Context, low, high string) (int64, error) {
	if low >= high {
		return 0, nil
	}
	bounded, cancel := w.j.db.Bounded(ctx)
	defer cancel()
	resp, err := w.j.db.Client.Get(bounded, low, clientv3.WithRange(high), clientv3.WithCountOnly())
	if err != nil {
		return 0, store.Error(ctx, "count audit records", err)
	}
	return resp.Count, nil
}

// VerifyAudit checks all records and the segments that they are sealed in, and that a
// segment has a hash, unless its number is 0.
func (j *Journal) VerifyAudit(ctx context.Context, segment int64, hash string) (api.AuditVerdict, error) {
	if segment < 0 || (segment == 0) != (hash == "") {
		return api.AuditVerdict{}, apiview.Invalid("segment", "segment and sha256 belong together; give both, or neither")
	}
	v, err := j.chain.Verify(ctx, chain.Expectation{Seq: segment, Hash: hash})
	out := api.AuditVerdict{
		First: v.First, Last: v.Last, SHA256: v.Hash, SealedAt: v.At, Begins: v.Begins, Sealed: v.Records, Waiting: v.Waiting,
		Problems: v.Problems, More: v.More,
	}
	if out.Problems == nil {
		out.Problems = []string{}
	}
	return out, store.Error(ctx, "verify the audit", err)
}

// feedSegments bounds the segments of one answer.
const feedSegments = 20

// AuditFeed returns the records of the segments after one; of those that may have
// records since a time, unless that is zero. After -1 there are none: Last tells where
// the chain ends.
func (j *Journal) AuditFeed(ctx context.Context, after int64, since time.Time) (api.AuditFeed, error) {
	feed := api.AuditFeed{Records: []api.AuditRecord{}, Seals: []api.AuditSeal{}, Last: after}
	head, err := j.chain.Head(ctx)
	if err != nil {
		return feed, store.Error(ctx, "read the audit", err)
	}
	if !since.IsZero() {
		first, err := j.chain.Since(ctx, since)
		if err != nil {
			return feed, store.Error(ctx, "read the audit", err)
		}
		feed.Last = max(after, first-1)
	}
	if after < 0 && since.IsZero() {
		feed.Last = head.Seq
	}
	feed.Last = max(feed.Last, head.First-1, 0)
	for n := 0; n < feedSegments && feed.Last < head.Seq; n++ {
		s, err := j.chain.Segment(ctx, feed.Last+1)
		if err != nil && !errors.Is(err, chain.ErrGone) {
			return feed, store.Error(ctx, "read the audit", err)
		}
		feed.Last++
		if err != nil {
			continue // verify tells
		}
		for _, r := range RecordsOf(&s) {
			if !r.At.Before(since) {
				feed.Records = append(feed.Records, r)
			}
		}
		feed.Seals = append(feed.Seals, SealOf(&s))
	}
	return feed, nil
}

// RecordsOf returns the records of a segment, as far as they are there.
func RecordsOf(s *chain.Sealed) []api.AuditRecord {
	var out []api.AuditRecord
	for i := range s.Values {
		rec, err := s.Decode(i)
		if err != nil {
			continue // verify tells
		}
		out = append(out, apiview.Audit(s.Records[i].Name, &rec)...)
	}
	for i := range out {
		out[i].Segment = s.Seq
	}
	return out
}

// SealOf is what is told of a segment.
func SealOf(s *chain.Sealed) api.AuditSeal {
	return api.AuditSeal{Segment: s.Seq, SHA256: s.Hash, Before: s.Prev, SealedAt: s.At, Records: len(s.Records)}
}
