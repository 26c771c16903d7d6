package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

// Config says where a Store reads and writes. All must be set.
type Config struct {
	Keys etcdkv.Keys
	Meta etcdkv.Meta
	// Timeout bounds one request to etcd.
	Timeout time.Duration
}

// Deps is what a Store stands on. All but Seal must be set.
type Deps struct {
	Client *clientv3.Client
	// Seal seals what is secret in what is written, and opens it. Nil: it is in the clear.
	Seal *sealing.Keeper
	// Now is the clock.
	Now    func() time.Time
	Logger *zap.Logger
}

// Store reads and writes etcd. Use New.
type Store struct {
	Config
	Client *clientv3.Client
	Now    func() time.Time
	seal   *sealing.Keeper
	log    *zap.Logger
}

// New returns a Store.
func New(cfg Config, deps Deps) *Store {
	return &Store{Config: cfg, Client: deps.Client, Now: deps.Now, seal: deps.Seal, log: deps.Logger}
}

// Tries is how often a write is worked out anew when what it was worked out
// from changes meanwhile.
const Tries = 20

// ListAll reads all records under prefix. One that cannot be read is logged and
// left out, so that it does not hide all others.
func ListAll[T any](ctx context.Context, c *Store, doing, prefix string) ([]T, error) {
	var all []T
	err := c.List(ctx, doing, prefix, func(kv *mvccpb.KeyValue) error {
		v, err := Decode[T](kv)
		if err != nil {
			c.log.Warn("record unreadable", zap.Error(err))
			return nil
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

// ListAs is ListAll, in the order of the keys, with what of makes of each record. It
// never returns nil without an error.
func ListAs[T, V any](ctx context.Context, c *Store, doing, prefix string, of func(*T) V) ([]V, error) {
	all, err := ListAll[T](ctx, c, doing, prefix)
	if err != nil {
		return nil, err
	}
	out := make([]V, len(all))
	for i := range all {
		out[i] = of(&all[i])
	}
	return out, nil
}

// Shards calls fn with the shards in order, at most n at a time: the hash
// shards, then those of the groups.
func (s *Store) Shards(ctx context.Context, n int, fn func(part []job.ShardID) error) error {
	all := make([]job.ShardID, 0, s.Meta.Shards)
	for i := range s.Meta.Shards {
		all = append(all, job.ShardID(i))
	}
	groups, err := ListAll[etcdkv.StoredGroup](ctx, s, "list groups", s.Keys.Groups())
	if err != nil {
		return err
	}
	for i := range groups {
		all = append(all, groups[i].Shard)
	}
	slices.Sort(all)
	for part := range slices.Chunk(all, n) {
		if err := fn(part); err != nil {
			return err
		}
	}
	return nil
}

// PageSize is how many keys one range read returns; slots may be large.
const (
	PageSize = 1000
	SlotPage = 64
)

// MaxOps is how many operations one transaction may hold; etcd's default
// limit is 128.
const MaxOps = 120

// Bounded bounds one request to etcd.
func (s *Store) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.Timeout)
}

// Error tells what doing with etcd did not work. The caller's own
// cancellation stays one; all else means that the cluster cannot answer now.
func Error(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: etcd does not answer: %w", doing, job.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w: %w", doing, job.ErrUnavailable, err)
}

// Do runs one transaction. What is secret in what is put is sealed.
func (s *Store) Do(ctx context.Context, doing string, cmps []clientv3.Cmp, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	tctx, cancel := s.Bounded(ctx)
	defer cancel()
	resp, err := sealing.Commit(tctx, s.seal, s.Client, cmps, ops, nil)
	return resp, Error(ctx, doing, err)
}

// Get reads one key, and opens what is secret in it; the pair is nil when there is none.
func (s *Store) Get(ctx context.Context, doing, key string) (*mvccpb.KeyValue, error) {
	gctx, cancel := s.Bounded(ctx)
	defer cancel()
	resp, err := s.Client.Get(gctx, key)
	if err != nil {
		return nil, Error(ctx, doing, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	kvs, err := sealing.Opened(s.seal, resp.Kvs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return kvs[0], nil
}

// GetAs reads the value of a key; the zero value: there is none.
func GetAs[T any](ctx context.Context, c *Store, doing, key string) (T, error) {
	var none T
	kv, err := c.Get(ctx, doing, key)
	if err != nil || kv == nil {
		return none, err
	}
	return Decode[T](kv)
}

// List calls fn with every pair under prefix, in order of keys, as of one
// revision, unless that is compacted on the way. What is sealed stays sealed.
func (s *Store) List(ctx context.Context, doing, prefix string, fn func(*mvccpb.KeyValue) error) error {
	return s.ListPages(ctx, doing, prefix, PageSize, fn)
}

// ListPages is List with so many keys in one answer.
func (s *Store) ListPages(ctx context.Context, doing, prefix string, page int64, fn func(*mvccpb.KeyValue) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	from, rev := prefix, int64(0)
	for {
		resp, err := s.RangePage(ctx, from, end, rev, page)
		if errors.Is(err, rpctypes.ErrCompacted) && rev != 0 {
			// The revision was compacted under a slow reader: go on from the
			// same key with the newest one rather than fail.
			rev = 0
			continue
		}
		if err != nil {
			return Error(ctx, doing, err)
		}
		rev = resp.Header.Revision
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

// RangePage reads up to page pairs from a key on, as of a revision; 0: the newest.
func (s *Store) RangePage(ctx context.Context, from, end string, rev, page int64) (*clientv3.GetResponse, error) {
	gctx, cancel := s.Bounded(ctx)
	defer cancel()
	return s.Client.Get(gctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(rev))
}

// GetAll reads many keys, in the order given; a pair is nil where there is none.
func (s *Store) GetAll(ctx context.Context, doing string, keys []string) ([]*mvccpb.KeyValue, error) {
	kvs := make([]*mvccpb.KeyValue, 0, len(keys))
	for from := 0; from < len(keys); from += MaxOps {
		part := keys[from:min(from+MaxOps, len(keys))]
		ops := make([]clientv3.Op, len(part))
		for i, k := range part {
			ops[i] = clientv3.OpGet(k)
		}
		resp, err := s.Do(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for _, r := range resp.Responses {
			var kv *mvccpb.KeyValue
			if got := r.GetResponseRange().GetKvs(); len(got) > 0 {
				kv = got[0]
			}
			kvs = append(kvs, kv)
		}
	}
	return kvs, nil
}

// Decode reads the record of a pair.
func Decode[T any](kv *mvccpb.KeyValue) (T, error) {
	return etcdkv.Decode[T](string(kv.Key), kv.Value)
}

// DefaultQuota is etcd's, when the server does not tell.
const DefaultQuota = 2 << 30

// Status asks one endpoint how it is.
func (s *Store) Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	sctx, cancel := s.Bounded(ctx)
	defer cancel()
	resp, err := s.Client.Status(sctx, endpoint)
	return resp, Error(ctx, "status", err)
}

// Edited notes in a change that its owners must know it before they plan (see
// scheduler's view.go).
func (s *Store) Edited(key string) clientv3.Op {
	return clientv3.OpPut(key, s.Now().UTC().Format(time.RFC3339Nano))
}

// Revision is in which revision a pair was written; 0: there is none.
func Revision(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}

// SameJSON reports whether a and b are written the same.
func SameJSON(a, b any) (bool, error) {
	x, err := etcdkv.Encode(a)
	if err != nil {
		return false, err
	}
	y, err := etcdkv.Encode(b)
	return x == y, err
}
