package standby

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// lookEvery is how often a node looks whether it is the one that follows.
	lookEvery = 500 * time.Millisecond
	// silence ends a stream that tells nothing, not even that nothing is missing.
	silence = 20 * time.Second
	// cursorEvery is how often at most it is written that nothing is missing.
	cursorEvery = 250 * time.Millisecond
)

// Active is the active cluster as its standby sees it.
type Active interface {
	// Mirror returns a stream; see the package.
	Mirror(ctx context.Context, req api.MirrorRequest) (io.ReadCloser, error)
	// HandOver has it stop, and returns the mark of the last thing that it wrote.
	HandOver(ctx context.Context, o api.Order) (api.HandedOver, error)
	// Overtaken tells it that another cluster goes on.
	Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error)
	Close()
}

// Dial returns the active cluster that is followed. It asks nothing yet.
type Dial func(f *etcdkv.Following) (Active, error)

// batch is what is applied at once.
type batch struct {
	edits []edit
	at    map[string]int
	bytes int
	rev   int64
	asOf  time.Time
}

// add takes changes of whole revisions in; the later one of a key counts.
func (b *batch) add(edits []edit) {
	if b.at == nil {
		b.at = map[string]int{}
	}
	for i := range edits {
		if k, ok := b.at[edits[i].Key]; ok {
			b.bytes += edits[i].size() - b.edits[k].size()
			b.edits[k] = edits[i]
			continue
		}
		b.at[edits[i].Key] = len(b.edits)
		b.edits = append(b.edits, edits[i])
		b.bytes += edits[i].size()
	}
}

// fits reports whether changes fit into the same transaction.
func (b *batch) fits(edits []edit) bool {
	bytes := b.bytes
	for i := range edits {
		bytes += edits[i].size()
	}
	return len(b.edits)+len(edits) <= batchOps && bytes <= batchBytes
}

// follow follows the active cluster while this one is a standby, until ctx ends.
func (s *Service) follow(ctx context.Context) error {
	wait := backoff.Backoff{Least: 200 * time.Millisecond, Most: 5 * time.Second}
	for {
		if hold := s.deps.Held(); hold != nil && hold.State == etcdkv.HoldStandby && s.deps.Mine() {
			begun := s.deps.Now()
			err := s.followOnce(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if s.deps.Now().Sub(begun) > silence {
				wait.Reset()
			}
			if err != nil && !errors.Is(err, errNotAlone) {
				s.log.Warn("the active cluster is not followed; it is asked again", zap.String("from", hold.Site), zap.Error(err))
			}
			if !wait.Pause(ctx) {
				return nil
			}
			continue
		}
		if !backoff.Sleep(ctx, lookEvery) {
			return nil
		}
	}
}

// followOnce follows until the stream ends, or this node is not to follow any more.
func (s *Service) followOnce(ctx context.Context) error {
	f, hold, err := s.following(ctx)
	if err != nil {
		return err
	}
	if f == nil || hold == nil || hold.state != etcdkv.HoldStandby {
		return errNotAlone
	}
	c := &copied{client: s.deps.Client, keys: s.cfg.Keys, node: s.cfg.Node, now: s.deps.Now, hold: hold.rev}
	if err := c.read(ctx); err != nil {
		return err
	}
	var looking sync.WaitGroup
	defer looking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looking.Go(func() { s.whileMine(ctx, cancel) })
	err = s.stream(ctx, cancel, f, c)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errNotAlone) {
		if noted := c.troubled(ctx, err.Error()); noted != nil && !errors.Is(noted, errNotAlone) {
			s.log.Debug("why the active cluster is not followed was not written", zap.Error(noted))
		}
	}
	return err
}

// whileMine ends the stream once another node is to follow.
func (s *Service) whileMine(ctx context.Context, cancel context.CancelFunc) {
	for backoff.Sleep(ctx, lookEvery) {
		if !s.deps.Mine() {
			cancel()
		}
	}
}

func (s *Service) stream(ctx context.Context, cancel context.CancelFunc, f *etcdkv.Following, c *copied) error {
	active, err := s.deps.Dial(f)
	if err != nil {
		return err
	}
	defer active.Close()
	req := api.MirrorRequest{Cluster: c.cur.Cluster, Epoch: c.cur.Epoch, After: c.cur.Revision}
	if c.cur.Generation == 0 || c.cur.Torn || s.anew.Swap(false) {
		req = api.MirrorRequest{}
	}
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	body, err := active.Mirror(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	r := bufio.NewReaderSize(body, frameBytes)
	head, err := readHead(r)
	if err != nil {
		return fmt.Errorf("the stream of %s does not begin: %w", f.From, err)
	}
	if err := s.fits(ctx, &head, &c.cur); err != nil {
		return err
	}
	if head.Snapshot {
		if err := c.begin(ctx, head.Epoch); err != nil {
			return err
		}
	} else if !c.continues(&head) {
		return fmt.Errorf("%w: it goes on with another cluster or epoch", errStream)
	}
	s.log.Info("the active cluster is followed", zap.String("from", f.From), zap.Bool("snapshot", head.Snapshot), zap.Int64("revision", head.Revision))
	return s.receive(ctx, r, &head, c, watchdog)
}

// fits reports why what an active cluster tells cannot be copied.
func (s *Service) fits(ctx context.Context, h *Head, cur *etcdkv.MirrorCursor) error {
	if own := s.deps.Seal.Key(); own != h.SealKey {
		return sealMismatch(own, h.SealKey)
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	if meta.ClusterID == h.Cluster && h.Epoch < meta.Epoch {
		return fmt.Errorf("%s is of epoch %d, and this cluster of epoch %d: it has been overtaken by this one, and is to follow: %w", h.Cluster, h.Epoch, meta.Epoch, job.ErrConflict)
	}
	if meta.ClusterID == h.Cluster && h.Epoch == meta.Epoch {
		return fmt.Errorf("%s of epoch %d is this cluster itself: give the address of the other one: %w", h.Cluster, h.Epoch, job.ErrConflict)
	}
	if cur.Cluster == h.Cluster && h.Epoch < cur.Epoch {
		return fmt.Errorf("%s is of epoch %d, and was followed in epoch %d: it went back; restore it, or promote this one: %w", h.Cluster, h.Epoch, cur.Epoch, job.ErrConflict)
	}
	return nil
}

// sealMismatch says what to do where the standby could not open what the active has sealed.
func sealMismatch(own, active string) error {
	switch {
	case active == "":
		return fmt.Errorf("the active cluster keeps its secrets in the clear, and this one seals them by key %s: give the active cluster the same seal key (--seal-key-file), see docs/security.md: %w", own, job.ErrConflict)
	case own == "":
		return fmt.Errorf("the active cluster seals its secrets by key %s, and this one has none: copy the seal key file of a node of the active cluster to each node here, name it with --seal-key-file, and start them anew: %w", active, job.ErrConflict)
	}
	return fmt.Errorf("the active cluster seals its secrets by key %s, and this one by %s: put the seal key file of a node of the active cluster in the place of each node's here (--seal-key-file), the former key after it: %w", active, own, job.ErrConflict)
}

// receive takes frames until the stream ends.
func (s *Service) receive(ctx context.Context, r *bufio.Reader, head *Head, c *copied, watchdog *time.Timer) error {
	filling := head.Snapshot
	var b batch
	var written time.Time
	flush := func() error {
		if len(b.edits) == 0 && b.rev <= c.cur.Revision && (b.asOf.IsZero() || s.deps.Now().Sub(written) < cursorEvery) {
			return nil
		}
		err := c.apply(ctx, b.rev, false, b.edits, b.asOf)
		if err == nil && !c.cur.AsOf.IsZero() {
			s.lag.Set(s.behind(&c.cur).Seconds())
		}
		b = batch{}
		written = s.deps.Now()
		return err
	}
	for {
		k, payload, err := readFrame(r)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("the active cluster tells nothing: %w", ctx.Err())
			}
			return fmt.Errorf("the stream broke: %w", err)
		}
		watchdog.Reset(silence)
		switch k {
		case kindRecords:
			records, err := readRecords(payload)
			if err == nil && !filling {
				err = fmt.Errorf("%w: a record of no snapshot", errStream)
			}
			if err == nil {
				err = c.fill(ctx, records)
			}
			if err != nil {
				return err
			}
		case kindDone:
			if !filling {
				return fmt.Errorf("%w: no snapshot was begun", errStream)
			}
			if err := c.complete(ctx, head); err != nil {
				return err
			}
			filling = false
			s.log.Info("the copy of the active cluster is whole", zap.Int64("revision", head.Revision))
		case kindChanges, kindProgress:
			if filling {
				return fmt.Errorf("%w: the snapshot is not whole", errStream)
			}
			if err := s.changed(ctx, k, payload, c, &b, flush); err != nil {
				return err
			}
		case kindError:
			f, err := readJSON[failure](payload)
			if err != nil {
				return err
			}
			if f.Anew {
				s.anew.Store(true)
			}
			return fmt.Errorf("the active cluster ended the stream: %s", f.Text)
		case kindHead:
			return fmt.Errorf("%w: it begins twice", errStream)
		default: // of a later release
		}
		if r.Buffered() == 0 && !filling {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// changed takes changes, or that nothing is missing, into the batch.
func (s *Service) changed(ctx context.Context, k kind, payload []byte, c *copied, b *batch, flush func() error) error {
	if k == kindProgress {
		p, err := readJSON[Point](payload)
		if err == nil && p.AsOf.After(b.asOf) {
			b.asOf = p.AsOf
		}
		return err
	}
	change, edits, err := readChanges(payload)
	if err != nil {
		return err
	}
	if change.More || !b.fits(edits) {
		if err := flush(); err != nil {
			return err
		}
	}
	if change.More {
		return c.apply(ctx, change.Revision, true, edits, time.Time{})
	}
	b.add(edits)
	b.rev = max(b.rev, change.Revision)
	return nil
}

// meta reads the description of this cluster.
func (s *Service) meta(ctx context.Context) (etcdkv.Meta, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := s.deps.Client.Get(ctx, s.cfg.Keys.Meta())
	if err != nil {
		return etcdkv.Meta{}, fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	if len(resp.Kvs) == 0 {
		return etcdkv.Meta{}, fmt.Errorf("etcd holds no cluster: %w", job.ErrConflict)
	}
	return etcdkv.Decode[etcdkv.Meta](s.cfg.Keys.Meta(), resp.Kvs[0].Value)
}

// held is what the cluster is held by.
type held struct {
	etcdkv.Hold

	state etcdkv.HoldState
	rev   int64
}

// following reads whom this cluster follows, and what it is held by; nil: there is none.
func (s *Service) following(ctx context.Context) (*etcdkv.Following, *held, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k := s.cfg.Keys
	resp, err := s.deps.Client.Txn(ctx).Then(clientv3.OpGet(k.Following()), clientv3.OpGet(k.Hold())).Commit()
	if err != nil {
		return nil, nil, fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	var f *etcdkv.Following
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		text, err := s.deps.Seal.Open(k.Following(), kvs[0].Value)
		if err != nil {
			return nil, nil, err
		}
		v, err := etcdkv.Decode[etcdkv.Following](k.Following(), text)
		if err != nil {
			return nil, nil, err
		}
		f = &v
	}
	var h *held
	if kvs := resp.Responses[1].GetResponseRange().GetKvs(); len(kvs) > 0 {
		v, err := etcdkv.Decode[etcdkv.Hold](k.Hold(), kvs[0].Value)
		if err != nil {
			return nil, nil, err
		}
		h = &held{v, v.State, kvs[0].ModRevision}
	}
	return f, h, nil
}
