package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// Config says how a Sealer works. Keys and Node must be set.
type Config struct {
	Keys  etcdkv.Keys
	Node  job.NodeID
	Epoch int64
	// Keep is how long records are kept; zero: DefaultKeep. MaxBytes is how much they
	// may take: the oldest go early when there are more. Zero: DefaultMaxBytes.
	Keep     time.Duration
	MaxBytes int64
	// Every is how often new records are sealed. Zero: DefaultEvery.
	Every time.Duration
	// LeaseTTL is how long others wait for a sealer that is gone. Zero: DefaultLeaseTTL.
	LeaseTTL time.Duration
	// Timeout bounds one request to etcd. Zero: DefaultTimeout.
	Timeout time.Duration
}

// Defaults of Config.
const (
	DefaultKeep     = 365 * 24 * time.Hour
	DefaultMaxBytes = 256 << 20
	DefaultEvery    = 500 * time.Millisecond
	DefaultLeaseTTL = 10 * time.Second
	DefaultTimeout  = 5 * time.Second

	// segmentRecords and segmentBytes bound a segment; one record always fits. A
	// transaction removes a segment with its records: etcd takes 128 operations.
	segmentRecords = 100
	segmentBytes   = 1 << 20
	// mostSealed bounds what a segment can say of the size of its records: etcd takes no
	// request of more than 1.5 MiB, so that no record is larger.
	mostSealed = 2 << 20
	// trimEvery is after how many looks old segments are removed.
	trimEvery = 120
	// retryEvery is how long a sealer rests after an error.
	retryEvery = time.Second
)

// Deps is what a Sealer stands on. Client and Mine must be set.
type Deps struct {
	Client *clientv3.Client
	// Mine reports whether this node ought to seal: one does.
	Mine func() bool
	// Now is the clock. Nil: time.Now.
	Now    func() time.Time
	Logger *zap.Logger
	// Metrics is where the sealer's are registered. Nil: nowhere.
	Metrics prometheus.Registerer
}

// Sealer seals records while this node ought to, and removes those that are old. Use New.
type Sealer struct {
	cfg     Config
	client  *clientv3.Client
	mine    func() bool
	now     func() time.Time
	log     *zap.Logger
	metrics *metrics
	// about, in tests, is called before each write, and after.
	about func(before bool)
}

// New returns a Sealer that does nothing until Run.
func New(cfg Config, deps Deps) (*Sealer, error) {
	if cfg.Keys == (etcdkv.Keys{}) || cfg.Node == "" || deps.Client == nil || deps.Mine == nil {
		return nil, errors.New("chain: Keys, Node, Client and Mine must be set")
	}
	cfg.Keep = cmp.Or(cfg.Keep, DefaultKeep)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	cfg.Every = cmp.Or(cfg.Every, DefaultEvery)
	cfg.LeaseTTL = cmp.Or(cfg.LeaseTTL, DefaultLeaseTTL)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Sealer{
		cfg: cfg, client: deps.Client, mine: deps.Mine, now: deps.Now, log: deps.Logger.Named("audit"), metrics: m,
		about: func(bool) {},
	}, nil
}

// errNotMine: another node ought to seal.
var errNotMine = errors.New("another node seals")

// Run seals until ctx ends, and returns nil then.
func (s *Sealer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := s.cfg.Every
		if s.mine() {
			err := s.reign(ctx)
			s.metrics.waiting.Set(0)
			if err != nil && ctx.Err() == nil && !errors.Is(err, errNotMine) {
				wait = retryEvery
				if errors.Is(err, lock.ErrHeld) {
					s.log.Debug("another node seals", zap.Error(err))
				} else {
					s.log.Warn("records are not sealed for the moment", zap.Error(err))
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// reign takes the key of the sealer, and seals while it holds it and ought to.
func (s *Sealer) reign(ctx context.Context) error {
	sess, err := lock.Open(ctx, lock.SessionConfig{
		Holder: string(s.cfg.Node), TTL: s.cfg.LeaseTTL, Epoch: s.cfg.Epoch, Marks: s.cfg.Keys.Marks(),
	}, lock.Deps{Client: s.client, Logger: s.log})
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
		defer cancel()
		_ = sess.Close(bounded)
	}()
	claim, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("seal: new claim id: %w", err)
	}
	owned, err := sess.Claim(ctx, lock.Grant{Key: s.cfg.Keys.AuditSealer(), Value: string(s.cfg.Node) + " " + claim.String()})
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	living, cancel := sess.Context(ctx)
	defer cancel()
	return s.hold(living, owned)
}

// hold seals while owned is held and the node ought to.
func (s *Sealer) hold(ctx context.Context, owned *lock.Ownership) error {
	w := &work{s: s, fence: owned.Fence()}
	if err := w.load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	added := s.client.Watch(clientv3.WithRequireLeader(ctx), s.cfg.Keys.Audit(), clientv3.WithPrefix(), clientv3.WithRev(w.rev+1), clientv3.WithFilterDelete())
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for looks := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r, ok := <-added:
			if err := r.Err(); err != nil || !ok {
				return fmt.Errorf("seal: watch records: %w", cmp.Or(err, ctx.Err(), errors.New("the watch ended")))
			}
			for _, e := range r.Events {
				if e.IsCreate() { // what is put over a record is not the record
					w.add(string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision)
				}
			}
			continue
		case <-tick.C:
		}
		if !s.mine() {
			return errNotMine
		}
		if !owned.Held() {
			return fmt.Errorf("seal: %w", lock.ErrLost)
		}
		if err := w.seal(ctx); err != nil {
			return err
		}
		if looks%trimEvery == 0 {
			if err := w.trim(ctx); err != nil {
				return err
			}
		}
		looks++
	}
}

// record is one that is to be sealed.
type record struct {
	name string
	sum  string
	size int64
	rev  int64
}

// work is what a sealer knows while it holds the key. One goroutine uses it.
type work struct {
	s     *Sealer
	fence clientv3.Cmp
	// rev is as of when the records were listed.
	rev     int64
	head    etcdkv.AuditHead
	headRev int64
	waiting []record
}

func (w *work) add(key string, value []byte, rev int64) {
	w.waiting = append(w.waiting, record{
		name: key[len(w.s.cfg.Keys.Audit()):], sum: etcdkv.AuditSum(value), size: int64(len(value)), rev: rev,
	})
	w.s.metrics.waiting.Set(float64(len(w.waiting)))
}

// seal writes segments until nothing waits.
func (w *work) seal(ctx context.Context) error {
	for len(w.waiting) > 0 {
		slices.SortStableFunc(w.waiting, func(a, b record) int { return cmp.Compare(a.rev, b.rev) })
		seg := etcdkv.AuditSegment{
			Schema: etcdkv.Schema, Seq: w.head.Seq + 1, Prev: w.head.Hash, At: w.s.now().UTC(), Node: w.s.cfg.Node,
		}
		for _, r := range w.waiting {
			if n := len(seg.Records); n == segmentRecords || n > 0 && seg.Bytes+r.size > segmentBytes {
				break
			}
			seg.Records = append(seg.Records, etcdkv.SealedRecord{Name: r.name, SHA256: r.sum})
			seg.Bytes += r.size
		}
		seg.Hash = seg.Sum()
		next := w.head
		next.Schema, next.Seq, next.Hash, next.At = etcdkv.Schema, seg.Seq, seg.Hash, seg.At
		next.First, next.Bytes = max(next.First, 1), next.Bytes+seg.Bytes
		text, err := etcdkv.Encode(seg)
		if err != nil {
			return err
		}
		key := w.s.cfg.Keys.AuditSegment(seg.Seq)
		if err := w.write(ctx, next, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, clientv3.OpPut(key, text)); err != nil {
			return fmt.Errorf("seal segment %d: %w", seg.Seq, err)
		}
		w.waiting = w.waiting[len(seg.Records):]
		w.s.metrics.waiting.Set(float64(len(w.waiting)))
		w.s.metrics.sealed.Add(float64(len(seg.Records)))
	}
	return nil
}

// errMoved: somebody else has written the chain, or holds the key.
var errMoved = errors.New("somebody else has written the chain, or holds the key of the sealer by now")

// write writes the head, and does ops in the same transaction, if the key of the sealer
// is held still and the head is the one that is known (C3).
func (w *work) write(ctx context.Context, next etcdkv.AuditHead, cmps []clientv3.Cmp, ops ...clientv3.Op) error {
	text, err := etcdkv.Encode(next)
	if err != nil {
		return err
	}
	head := w.s.cfg.Keys.AuditHead()
	w.s.about(true)
	ctx, cancel := context.WithTimeout(ctx, w.s.cfg.Timeout)
	defer cancel()
	resp, err := w.s.client.Txn(ctx).If(append(cmps, w.fence, clientv3.Compare(clientv3.ModRevision(head), "=", w.headRev))...).
		Then(append(ops, clientv3.OpPut(head, text))...).Commit()
	if err != nil {
		return etcdkv.Unavailable(err) // it may have happened: all is read anew
	}
	if !resp.Succeeded {
		return errMoved
	}
	w.s.about(false)
	w.head, w.headRev = next, resp.Header.Revision
	return nil
}
