package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Head tells where the chain begins and ends; Seq is 0 where nothing is sealed yet.
func (r *Reader) Head(ctx context.Context) (etcdkv.AuditHead, error) {
	head, _, err := r.at(0).head(ctx)
	return head.AuditHead, err
}

// Sealed is a segment with its records.
type Sealed struct {
	etcdkv.AuditSegment
	// Values are the records' bytes, in the order of Records; nil: it was removed.
	Values [][]byte
}

// ErrGone: a segment is not there any more.
var ErrGone = errors.New("the segment is not there any more")

// Segment reads a segment with its records, which it does not verify. The error wraps
// ErrGone when it is not there.
func (r *Reader) Segment(ctx context.Context, seq int64) (Sealed, error) {
	at := r.at(0)
	seg, err := at.segment(ctx, seq)
	if errors.Is(err, errDamaged) {
		return Sealed{}, fmt.Errorf("%w: %w", err, ErrGone)
	}
	if err != nil {
		return Sealed{}, err
	}
	s := Sealed{AuditSegment: *seg, Values: make([][]byte, len(seg.Records))}
	for i, rec := range seg.Records {
		got, err := at.get(ctx, r.Keys.Audit()+rec.Name)
		if err != nil {
			return Sealed{}, err
		}
		if len(got.Kvs) > 0 {
			s.Values[i] = got.Kvs[0].Value
		}
	}
	return s, nil
}

// Since returns the number of the first segment that may have records from a time on;
// one more than the last one's when none has.
func (r *Reader) Since(ctx context.Context, from time.Time) (int64, error) {
	at := r.at(0)
	head, _, err := at.head(ctx)
	if err != nil {
		return 0, err
	}
	low, high := max(head.First, 1), head.Seq+1
	for low < high {
		mid := low + (high-low)/2
		seg, err := at.segment(ctx, mid)
		switch {
		case errors.Is(err, errDamaged):
			return low, nil // it cannot be told: from there on, then
		case err != nil:
			return 0, err
		case seg.At.Before(from):
			low = mid + 1
		default:
			high = mid
		}
	}
	return low, nil
}

// Decode reads a record of a segment.
func (s *Sealed) Decode(i int) (etcdkv.Audit, error) {
	if s.Values[i] == nil {
		return etcdkv.Audit{}, fmt.Errorf("record %s was removed", s.Records[i].Name)
	}
	return etcdkv.Decode[etcdkv.Audit](s.Records[i].Name, s.Values[i])
}
