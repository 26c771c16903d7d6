package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Slack is how much older than the segment before its own a record may be: clocks of
// nodes differ, and a write takes a while.
const Slack = 2 * time.Minute

// MaxProblems bounds how many problems are told.
const MaxProblems = 100

// Reader reads the chain. Client and Keys must be set. It may be used by many
// goroutines at once.
type Reader struct {
	Client *clientv3.Client
	Keys   etcdkv.Keys
	// Timeout bounds one request to etcd. Zero: DefaultTimeout.
	Timeout time.Duration
}

func (r *Reader) at(rev int64) *reader {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return &reader{client: r.Client, keys: r.Keys, timeout: timeout, rev: rev}
}

// Expectation is a segment as somebody knows it who keeps that elsewhere. Seq 0: none.
type Expectation struct {
	Seq  int64
	Hash string
}

// Verdict is what Verify found.
type Verdict struct {
	// First and Last are the numbers of the segments that are kept; Last is less than
	// First when there are none. Begins is from when on records are kept: those from
	// before were removed when they were old; zero: none was.
	First, Last int64
	Begins      time.Time
	// Hash is that of the last segment, At is when it was written.
	Hash string
	At   time.Time
	// Records are sealed, Waiting are not yet.
	Records, Waiting int
	// Problems tell what does not fit: at most MaxProblems; More is how many there are
	// besides.
	Problems []string
	More     int
}

func (v *Verdict) problem(format string, args ...any) {
	if len(v.Problems) == MaxProblems {
		v.More++
		return
	}
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// verifyTries is how often Verify begins anew when what it reads was compacted.
const verifyTries = 3

// Verify checks all records and segments, as they are at one revision. The error is of
// etcd; what does not fit is told in the Verdict.
func (r *Reader) Verify(ctx context.Context, want Expectation) (Verdict, error) {
	for try := 1; ; try++ {
		v, err := r.verify(ctx, want)
		if try == verifyTries || !errors.Is(err, rpctypes.ErrCompacted) {
			return v, err
		}
	}
}

func (r *Reader) verify(ctx context.Context, want Expectation) (Verdict, error) {
	at := r.at(0)
	head, rev, err := at.head(ctx)
	if err != nil {
		return Verdict{}, err
	}
	at.rev = rev
	c := &check{want: want, head: head, v: Verdict{First: max(head.First, 1), Last: head.Seq, Begins: head.PrevAt, Hash: head.Hash, At: head.At}, sums: map[string]string{}}
	if err := at.all(ctx, r.Keys.Audit(), func(kv *mvccpb.KeyValue) error {
		c.sums[string(kv.Key[len(r.Keys.Audit()):])] = etcdkv.AuditSum(kv.Value)
		return nil
	}); err != nil {
		return c.v, err
	}
	c.next, c.prev, c.prevAt = c.v.First, head.Prev, head.PrevAt
	err = at.segments(ctx, 0, func(seg *etcdkv.AuditSegment, err error) error {
		if err != nil {
			c.v.problem("%v", err)
			return nil
		}
		c.segment(seg)
		return nil
	})
	if err != nil {
		return c.v, err
	}
	c.end()
	return c.v, nil
}

// check goes through the segments in their order.
type check struct {
	want Expectation
	head storedHead
	v    Verdict
	// sums are the hashes of records that no segment has named yet; seen are the names
	// of those that one has.
	sums map[string]string
	seen map[string]int64
	// next, prev and prevAt are what the next segment is to be.
	next   int64
	prev   string
	prevAt time.Time
	met    bool
	// bytes is the size of the records of all segments.
	bytes int64
}

func (c *check) segment(seg *etcdkv.AuditSegment) {
	switch {
	case seg.Seq > c.next:
		c.v.problem("segments %d to %d are not there", c.next, seg.Seq-1)
		c.prevAt = time.Time{}
	case seg.Seq < c.next:
		c.v.problem("segment %d is not of the chain, which begins with %d", seg.Seq, c.v.First)
		return
	case seg.Prev != c.prev:
		c.v.problem("segment %d does not follow the one before it: it names %.12q, and that is %.12q", seg.Seq, seg.Prev, c.prev)
	}
	if sum := seg.Sum(); sum != seg.Hash {
		c.v.problem("segment %d was changed: its hash is %.12s, and it says %.12s", seg.Seq, sum, seg.Hash)
	}
	if seg.Seq == c.want.Seq {
		c.met = true
		if seg.Hash != c.want.Hash {
			c.v.problem("segment %d is another one than is expected: its hash is %.12s, and not %.12s", seg.Seq, seg.Hash, c.want.Hash)
		}
	}
	if c.seen == nil {
		c.seen = map[string]int64{}
	}
	for _, rec := range seg.Records {
		c.record(seg, &rec)
	}
	c.next, c.prev, c.prevAt = seg.Seq+1, seg.Hash, seg.At
	c.bytes += seg.Bytes
}

func (c *check) record(seg *etcdkv.AuditSegment, rec *etcdkv.SealedRecord) {
	sum, there := c.sums[rec.Name]
	switch before, twice := c.seen[rec.Name]; {
	case twice:
		c.v.problem("record %s is in segment %d, and in segment %d again", rec.Name, before, seg.Seq)
		return
	case !there:
		c.v.problem("record %s was removed; segment %d has it", rec.Name, seg.Seq)
	case sum != rec.SHA256:
		c.v.problem("record %s was changed after it was written; segment %d has its hash", rec.Name, seg.Seq)
	case late(rec.Name, c.prevAt):
		c.v.problem("record %s was put in later: segment %d, of %s, has it, and the one before, of %s, has not", rec.Name, seg.Seq, seg.At.Format(time.RFC3339), c.prevAt.Format(time.RFC3339))
	}
	c.seen[rec.Name] = seg.Seq
	delete(c.sums, rec.Name)
	c.v.Records++
}

// late reports whether a record's name says that it is from long before a segment, in
// which it would be then.
func late(name string, segment time.Time) bool {
	at, err := etcdkv.ParseAuditTime(name)
	return !segment.IsZero() && (err != nil || at.Before(segment.Add(-Slack)))
}

func (c *check) end() {
	for name := range c.sums {
		if late(name, c.head.At) {
			c.v.problem("record %s was put in later: it is in no segment, and there is one of %s", name, c.head.At.Format(time.RFC3339))
			continue
		}
		c.v.Waiting++
	}
	switch {
	case c.head.rev == 0 && c.next > 1:
		c.v.problem("there are segments, and the head of the chain is not there")
		c.v.Last = c.next - 1
	case c.next-1 < c.head.Seq:
		c.v.problem("segments %d to %d are not there: the chain ends with %d", c.next, c.head.Seq, c.head.Seq)
	case c.next-1 > c.head.Seq:
		c.v.problem("segment %d is there, and the chain ends with %d", c.next-1, c.head.Seq)
	case c.prev != c.head.Hash:
		c.v.problem("the head of the chain has another hash than its last segment, %d", c.head.Seq)
	case c.head.rev != 0 && c.next > c.v.First && !c.prevAt.Equal(c.head.At):
		c.v.problem("the head of the chain has another time than its last segment, %d: %s, and not %s", c.head.Seq, c.head.At.Format(time.RFC3339), c.prevAt.Format(time.RFC3339))
	case c.head.rev != 0 && len(c.v.Problems) == 0 && c.bytes != c.head.Bytes:
		c.v.problem("the head of the chain counts %d bytes of records, and its segments %d", c.head.Bytes, c.bytes)
	}
	switch {
	case c.want.Seq == 0 || c.met:
	case c.want.Seq > c.head.Seq:
		c.v.problem("segment %d is expected, and the chain ends with %d: what came after was removed, or a backup was restored", c.want.Seq, c.head.Seq)
	case c.want.Seq == c.v.First-1:
		if c.want.Hash != c.head.Prev {
			c.v.problem("segment %d was another one than is expected: the next one follows %.12s, and not %.12s", c.want.Seq, c.head.Prev, c.want.Hash)
		}
	case c.want.Seq < c.v.First:
		c.v.problem("segment %d is expected, and was removed when it was old: expect one from %d on", c.want.Seq, c.v.First-1)
	}
}
