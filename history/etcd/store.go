package etcd

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Limits of what goes into etcd.
const (
	// targetBytes is how much a segment holds, before compression.
	targetBytes = 1 << 20
	// maxValue is the longest value; etcd takes requests of 1.5 MiB.
	maxValue = 1 << 20
	// maxOps is how many segments one transaction writes, reads or replaces. A
	// replacement has at most as many puts as deletes; etcd takes 128 operations.
	maxOps = 50
)

// Config configures a Store. Zero values mean the defaults.
type Config struct {
	Keys etcdkv.Keys
	// Buckets is over how many buckets jobs are spread. It must be the same on
	// all nodes, and must not change while there is data. Default 16.
	Buckets int
	// Keep is how many runs of each class of a job are kept. Zero: DefaultKeep.
	Keep int
	// MaxBytes bounds all segments together. Zero: DefaultMaxBytes. What etcd keeps of
	// deleted segments until it compacts comes on top.
	MaxBytes int64
	// MaxAge, when positive, drops records that were due longer ago, those of
	// jobs that no longer exist among them.
	MaxAge time.Duration
	// Every is how often segments are merged. Default 2 s.
	Every time.Duration
	// CacheBytes bounds the decoded segments that are kept in memory for
	// readers. Default 64 MiB.
	CacheBytes int64
	// Timeout bounds a request to etcd. Default 5 s.
	Timeout time.Duration
	// Leader says whether this node looks after a bucket. It is asked again for
	// every pass; two nodes that both think so do no harm. Nil: after all.
	Leader func(bucket int) bool
}

// Deps are what a Store works with. Metrics may be nil.
type Deps struct {
	Client  *clientv3.Client
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// Store keeps run records in etcd. All methods may be called by many goroutines.
type Store struct {
	cfg     Config
	kv      clientv3.KV
	log     *zap.Logger
	metrics *metrics
	codec   *etcdkv.SegmentCodec
	cache   *cache
	// writer and seq make the names of segments unique.
	writer   string
	seq      atomic.Uint64
	sweeps   sweeps
	outcomes outcomes
}

var _ history.Store = (*Store)(nil)

// Defaults of Config, and of the settings of a node.
const (
	DefaultKeep           = 50
	DefaultMaxBytes int64 = 64 << 20
)

// New returns a Store. Somebody must run Run on at least one node, or etcd fills up.
func New(cfg Config, deps Deps) (*Store, error) {
	if deps.Client == nil || deps.Logger == nil {
		return nil, errors.New("history in etcd: a client and a logger are needed")
	}
	if cfg.Keys == (etcdkv.Keys{}) {
		cfg.Keys = etcdkv.NewKeys("")
	}
	cfg.Buckets = cmp.Or(max(cfg.Buckets, 0), 16)
	cfg.Keep = cmp.Or(max(cfg.Keep, 0), DefaultKeep)
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), DefaultMaxBytes)
	cfg.Every = cmp.Or(max(cfg.Every, 0), 2*time.Second)
	cfg.CacheBytes = cmp.Or(max(cfg.CacheBytes, 0), 64<<20)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), 5*time.Second)
	if cfg.Leader == nil {
		cfg.Leader = func(int) bool { return true }
	}
	codec, err := etcdkv.NewSegmentCodec()
	if err != nil {
		return nil, fmt.Errorf("history in etcd: %w", err)
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("history in etcd: %w", err)
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return &Store{
		cfg: cfg, kv: deps.Client.KV, log: deps.Logger.Named("history.etcd"), metrics: m,
		codec: codec, cache: newCache(cfg.CacheBytes), writer: hex.EncodeToString(nonce[:]),
		sweeps: sweeps{buckets: map[int]sweep{}},
	}, nil
}

// put is a segment that is to be written.
type put struct {
	key   string
	value []byte
}

// Append makes the records durable before it returns (H1).
func (s *Store) Append(ctx context.Context, runs []job.Run) error {
	buckets := make(map[int][]etcdkv.SegmentRecord, s.cfg.Buckets)
	at := make(map[job.RunID]int, len(runs))
	for i := range runs {
		r := &runs[i]
		rec, err := s.record(r)
		if err != nil {
			return fmt.Errorf("append to history: %w", err)
		}
		b := r.RunID.Bucket(s.cfg.Buckets)
		if j, twice := at[r.RunID]; twice {
			buckets[b][j] = rec
			continue
		}
		at[r.RunID] = len(buckets[b])
		buckets[b] = append(buckets[b], rec)
	}
	var puts []put
	for b, records := range buckets {
		slices.SortFunc(records, func(x, y etcdkv.SegmentRecord) int { return x.Compare(&y) })
		puts = append(puts, s.pack(b, records, 0)...)
	}
	for len(puts) > 0 {
		n := fitting(puts)
		ops := make([]clientv3.Op, n)
		for i, p := range puts[:n] {
			ops[i] = clientv3.OpPut(p.key, string(p.value))
		}
		if _, err := s.commit(ctx, nil, ops); err != nil {
			return fmt.Errorf("append %d records to history: %w", len(runs), err)
		}
		puts = puts[n:]
	}
	return nil
}

// fitting returns how many of the puts fit into one transaction.
func fitting(puts []put) int {
	bytes := 0
	for i := range puts {
		bytes += len(puts[i].value)
		if i > 0 && (i == maxOps || bytes > maxValue) {
			return i
		}
	}
	return len(puts)
}

// pack makes segments out of sorted records. Full ones are settled at once.
func (s *Store) pack(bucket int, records []etcdkv.SegmentRecord, generation int) []put {
	var puts []put
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && (n == 0 || size+records[n].Size() <= targetBytes) {
			size += records[n].Size()
			n++
		}
		value := s.codec.Encode(records[:n])
		name := etcdkv.SegmentName{
			Newest: records[0].At, Oldest: records[n-1].At, Generation: generation, Bytes: len(value),
			Unique: s.writer + strconv.FormatUint(s.seq.Add(1), 36),
		}
		if isFull(size) {
			name.Generation = settled
		}
		puts = append(puts, put{key: s.cfg.Keys.RunSegment(bucket, name.String()), value: value})
		records = records[n:]
	}
	return puts
}

// isFull reports whether a segment of this size, before compression, is not
// worth a merge.
func isFull(size int) bool { return size >= targetBytes/2 }

// commit runs a transaction and reports whether its compares held.
func (s *Store) commit(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	resp, err := s.kv.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return false, etcdkv.Unavailable(err)
	}
	return resp.Succeeded, nil
}
