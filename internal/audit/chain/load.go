package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// page is how many keys one read returns.
const page = 1000

// load reads the head, and which records are in no segment (C6).
func (w *work) load(ctx context.Context) error {
	s := w.s
	r := reader{client: s.client, keys: s.cfg.Keys, timeout: s.cfg.Timeout}
	head, rev, err := r.head(ctx)
	if err != nil {
		return err
	}
	w.head, w.headRev, w.rev, r.rev = head.AuditHead, head.rev, rev, rev
	// Not by the head's word: who writes a large number there has no records removed.
	w.head.Bytes = 0
	sealed := map[string]bool{}
	err = r.segments(ctx, 0, func(seg *etcdkv.AuditSegment, err error) error {
		if err != nil {
			s.log.Error("a segment of the audit cannot be read", zap.Error(err))
			return nil
		}
		w.head.Bytes += min(max(seg.Bytes, 0), mostSealed)
		for _, rec := range seg.Records {
			sealed[rec.Name] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.all(ctx, s.cfg.Keys.Audit(), func(kv *mvccpb.KeyValue) error {
		if sealed[string(kv.Key[len(s.cfg.Keys.Audit()):])] {
			return nil
		}
		got, err := r.get(ctx, string(kv.Key))
		if err != nil {
			return err
		}
		for _, kv := range got.Kvs {
			w.add(string(kv.Key), kv.Value, kv.CreateRevision)
		}
		return nil
	}, clientv3.WithKeysOnly())
}

// trim removes segments that are old, or too many, with their records (C5).
func (w *work) trim(ctx context.Context) error {
	s := w.s
	r := reader{client: s.client, keys: s.cfg.Keys, timeout: s.cfg.Timeout}
	for w.head.Seq >= w.head.First && w.head.First > 0 {
		seg, err := w.oldest(ctx, &r)
		if err != nil || seg == nil {
			return err
		}
		old := s.now().Sub(seg.At) > s.cfg.Keep
		if !old && w.head.Bytes <= s.cfg.MaxBytes {
			return nil
		}
		if !old {
			s.log.Warn("audit records go before their time, as all take too much room",
				zap.Int64("bytes", w.head.Bytes), zap.Int64("allowed", s.cfg.MaxBytes), zap.Time("before", seg.At))
		}
		next := w.head
		next.First, next.Prev, next.PrevAt, next.Bytes = seg.Seq+1, seg.Hash, seg.At, max(next.Bytes-seg.Bytes, 0)
		ops := []clientv3.Op{clientv3.OpDelete(s.cfg.Keys.AuditSegment(seg.Seq))}
		for _, rec := range seg.Records {
			ops = append(ops, clientv3.OpDelete(s.cfg.Keys.Audit()+rec.Name))
		}
		if err := w.write(ctx, next, nil, ops...); err != nil {
			return fmt.Errorf("remove segment %d: %w", seg.Seq, err)
		}
	}
	return nil
}

// oldest returns the oldest segment of which the chain tells that it is as it was
// written; nil: there is none. What another one says of its time is nobody's word: it
// stays, so that Verify tells, until one behind it is old (C5).
func (w *work) oldest(ctx context.Context, r *reader) (*etcdkv.AuditSegment, error) {
	seg, err := r.after(ctx, w.head.First-1)
	for seg != nil && err == nil {
		var next *etcdkv.AuditSegment
		if next, err = r.after(ctx, seg.Seq); err != nil {
			break
		}
		named := "" // by what follows it
		switch {
		case next != nil && next.Seq == seg.Seq+1:
			named = next.Prev
		case seg.Seq == w.head.Seq:
			named = w.head.Hash
		}
		if seg.Hash == named && seg.Sum() == seg.Hash {
			return seg, nil
		}
		w.s.log.Error("a segment of the audit is damaged, and is not removed for its age", zap.Int64("segment", seg.Seq))
		seg = next
	}
	return nil, err
}

// reader reads the chain.
type reader struct {
	client  *clientv3.Client
	keys    etcdkv.Keys
	timeout time.Duration
	// rev is as of which revision it reads; 0: each time the newest.
	rev int64
}

func (r *reader) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	resp, err := r.client.Get(bounded, key, append(opts, clientv3.WithRev(r.rev))...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, etcdkv.Unavailable(err))
	}
	return resp, nil
}

// storedHead is the head with its revision; 0: there is none.
type storedHead struct {
	etcdkv.AuditHead
	rev int64
}

// head reads the head, and as of which revision that is.
func (r *reader) head(ctx context.Context) (storedHead, int64, error) {
	resp, err := r.get(ctx, r.keys.AuditHead())
	if err != nil {
		return storedHead{}, 0, err
	}
	if len(resp.Kvs) == 0 {
		return storedHead{}, resp.Header.Revision, nil
	}
	h, err := etcdkv.Decode[etcdkv.AuditHead](r.keys.AuditHead(), resp.Kvs[0].Value)
	return storedHead{h, resp.Kvs[0].ModRevision}, resp.Header.Revision, err
}

// all calls fn with each key under a prefix, in order.
func (r *reader) all(ctx context.Context, prefix string, fn func(*mvccpb.KeyValue) error, opts ...clientv3.OpOption) error {
	return r.between(ctx, prefix, clientv3.GetPrefixRangeEnd(prefix), fn, opts...)
}

func (r *reader) between(ctx context.Context, from, end string, fn func(*mvccpb.KeyValue) error, opts ...clientv3.OpOption) error {
	for {
		resp, err := r.get(ctx, from, append(slices.Clone(opts), clientv3.WithRange(end), clientv3.WithLimit(page))...)
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if err := fn(kv); err != nil {
				return err
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// errDamaged: a segment is not there, or not readable.
var errDamaged = errors.New("a segment of the audit is damaged")

// segment reads one segment. The error is errDamaged where it is not there or not
// readable.
func (r *reader) segment(ctx context.Context, seq int64) (*etcdkv.AuditSegment, error) {
	key := r.keys.AuditSegment(seq)
	resp, err := r.get(ctx, key)
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, fmt.Errorf("segment %d is not there: %w", seq, errDamaged)
	}
	return decodeSegment(resp.Kvs[0], seq)
}

func decodeSegment(kv *mvccpb.KeyValue, seq int64) (*etcdkv.AuditSegment, error) {
	seg, err := etcdkv.Decode[etcdkv.AuditSegment](string(kv.Key), kv.Value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errDamaged)
	}
	if seq != 0 && seg.Seq != seq {
		return nil, fmt.Errorf("%s says that it is segment %d: %w", kv.Key, seg.Seq, errDamaged)
	}
	return &seg, nil
}

// segments calls fn with each segment from one on, in order, or with why it cannot be
// read.
func (r *reader) segments(ctx context.Context, from int64, fn func(*etcdkv.AuditSegment, error) error) error {
	end := clientv3.GetPrefixRangeEnd(r.keys.AuditSegments())
	return r.between(ctx, r.keys.AuditSegment(from), end, func(kv *mvccpb.KeyValue) error {
		return fn(decodeSegment(kv, 0))
	})
}

// after returns the first segment after one that can be read; nil: there is none.
func (r *reader) after(ctx context.Context, seq int64) (*etcdkv.AuditSegment, error) {
	from, end := r.keys.AuditSegment(seq+1), clientv3.GetPrefixRangeEnd(r.keys.AuditSegments())
	for {
		resp, err := r.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1))
		if err != nil || len(resp.Kvs) == 0 {
			return nil, err
		}
		kv := resp.Kvs[0]
		if seg, err := decodeSegment(kv, 0); err == nil && r.keys.AuditSegment(seg.Seq) == string(kv.Key) {
			return seg, nil
		}
		from = string(kv.Key) + "\x00"
	}
}
