// Package past is the side of the nodes of package epoch: it holds what etcd tells against
// what the node has seen of it. The rules and their invariants are in package epoch.
package past

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/epoch"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// lookEvery is how often etcd is looked at, lookTimeout bounds one look.
	lookEvery   = time.Second
	lookTimeout = 3 * time.Second
	// markEvery is the least time between two marks while anything is written.
	markEvery = 2 * time.Second
)

// ErrAnew is returned by Run when the node has to open anew: what it has read of etcd
// before does not count any more.
var ErrAnew = errors.New("etcd's history was replaced")

// ErrOther is wrapped by what Open returns when etcd holds another cluster, or none.
var ErrOther = errors.New("not this node's cluster")

// Config says whose guard it is. All fields must be set.
type Config struct {
	Node job.NodeID
	Keys etcdkv.Keys
	// File is where the node keeps what it has seen.
	File string
}

// Deps is what a Guard works with. All fields must be set.
type Deps struct {
	Client *clientv3.Client
	Logger *zap.Logger
	Now    func() time.Time
}

// Guard holds etcd against what was seen of it. Run must be called once; Why, Fence, Lost
// and Seen may be called by any goroutine.
type Guard struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	file *epoch.File
	// began is the epoch that the node has opened in.
	began int64
	// lost is closed when etcd has gone back, or is another.
	lost chan struct{}
	// markRev and markSince are the mark as it was looked at last, and since when.
	markRev   int64
	markSince time.Time
	saveErr   string

	mu sync.RWMutex // guards the following
	// seen is the highest of all, of which the file may lack a little.
	seen epoch.Point
	is   verdict
	why  string
	// hold is what the cluster is held by; nil: it is not.
	hold *etcdkv.Hold
}

// New returns a Guard that has read what was seen, and has not looked at etcd yet.
func New(cfg Config, deps Deps) (*Guard, error) {
	if cfg.Node == "" || cfg.File == "" || cfg.Keys == (etcdkv.Keys{}) || deps.Client == nil || deps.Logger == nil || deps.Now == nil {
		return nil, errors.New("past: a field of Config or Deps is not set")
	}
	f, err := epoch.OpenFile(cfg.File)
	if err != nil {
		return nil, err
	}
	return &Guard{cfg: cfg, deps: deps, log: deps.Logger.Named("epoch"), file: f, seen: f.Seen(), lost: make(chan struct{})}, nil
}

// Founds reports whether the node may found a cluster where etcd holds none: it has never
// seen one.
func (g *Guard) Founds() bool { return g.Seen().Cluster == "" }

// Seen is how far etcd was seen.
func (g *Guard) Seen() epoch.Point {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.seen
}

// Told is what minions are told of what was seen.
func (g *Guard) Told() (cluster string, epoch, revision int64) {
	p := g.Seen()
	return p.Cluster, p.Epoch, p.Revision
}

// Why says why nothing may be planned from what etcd holds; empty: it may.
func (g *Guard) Why() string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.why
}

// Held returns what the cluster is held by since a restore; nil: it is not.
func (g *Guard) Held() *etcdkv.Hold {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.hold
}

// Waits returns what the cluster is held by, if that alone is why nothing is planned; nil: it
// is not.
func (g *Guard) Waits() *etcdkv.Hold {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.is != held {
		return nil
	}
	return g.hold
}

// Lost is closed once etcd has gone back, or is another. It stays so: the node opens anew.
func (g *Guard) Lost() <-chan struct{} { return g.lost }

// Fence returns what must hold in a transaction that takes a shard (E3).
func (g *Guard) Fence() []clientv3.Cmp {
	out := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(g.cfg.Keys.Hold()), "=", 0)}
	if mark := g.Seen().Mark; mark > 0 {
		out = append(out, clientv3.Compare(clientv3.ModRevision(g.cfg.Keys.Mark()), ">", mark-1))
	}
	return out
}

// Begin looks at etcd for the first time. The error wraps ErrOther when it holds another
// cluster, or none. etcd that has gone back is no error: Why tells of it.
func (g *Guard) Begin(ctx context.Context) error {
	f, err := g.look(ctx, false)
	if err != nil {
		return fmt.Errorf("how far etcd has come: %w", err)
	}
	is, why, err := g.confirmed(ctx, f)
	if err != nil {
		return fmt.Errorf("how far etcd has come: %w", err)
	}
	if is == other || is == restoring && f.Cluster == "" {
		return fmt.Errorf("%w: %s", ErrOther, why)
	}
	g.began = f.Epoch
	g.take(f, is, why)
	return nil
}

// Run looks at etcd now and then until ctx ends. It returns ErrAnew when the node has to
// open anew.
func (g *Guard) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, lookTimeout)
		err := g.once(bounded)
		cancel()
		switch {
		case errors.Is(err, ErrAnew):
			return err
		case err != nil && ctx.Err() == nil:
			g.log.Debug("etcd not looked at", zap.Error(err))
		}
	}
}

func (g *Guard) once(ctx context.Context) error {
	f, err := g.look(ctx, false)
	if err != nil {
		return err
	}
	is, why, err := g.confirmed(ctx, f)
	if err != nil {
		return err
	}
	if is <= held && (f.Epoch != g.began || g.isLost()) { // E5
		return fmt.Errorf("%w: it is at %s, and the node has opened in epoch %d: the node opens anew", ErrAnew, f.Point, g.began)
	}
	g.take(f, is, why)
	if is == fit {
		return g.mark(ctx, f)
	}
	return nil
}

// confirmed judges what was found. What is bad is looked at again by a write (E4).
func (g *Guard) confirmed(ctx context.Context, f *found) (verdict, string, error) {
	is, why := g.judge(f)
	if is < back {
		return is, why, nil
	}
	again, err := g.look(ctx, true)
	if err != nil {
		return is, why, err
	}
	*f = *again
	is, why = g.judge(f)
	return is, why, nil
}

func (g *Guard) judge(f *found) (verdict, string) {
	return judge(g.Seen(), f, g.cfg.Keys.Prefix(), g.cfg.File)
}

// take has a verdict hold, and what was found count as seen if it is not back.
func (g *Guard) take(f *found, is verdict, why string) {
	g.mu.Lock()
	was := g.is
	g.is, g.why, g.hold = is, why, f.hold
	if is == fit || is == held {
		f.At = g.deps.Now().UTC()
		g.seen = f.Raise(g.seen)
	}
	seen := g.seen
	g.mu.Unlock()
	if is >= back && !g.isLost() {
		close(g.lost)
	}
	switch {
	case is == was:
	case is >= back:
		g.log.Error("nothing is planned, and no shard taken: "+why, zap.Stringer("seen", seen), zap.Stringer("found", f.Point))
	case is == fit:
		g.log.Info("the cluster is not held any more", zap.Stringer("seen", seen))
	default:
		g.log.Warn("no shard is taken: " + why)
	}
	if saved := g.file.Seen(); is < restoring && (seen.Cluster != saved.Cluster || seen.Epoch != saved.Epoch || seen.Mark != saved.Mark) {
		g.save(seen)
	}
}

// save makes durable what was seen. It is called when the mark has moved, at most.
func (g *Guard) save(seen epoch.Point) {
	err := g.file.Save(seen)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != g.saveErr && text != "" {
		g.log.Error("how far etcd was seen is not written: this node would not notice after a restart that etcd went back", zap.Error(err))
	}
	g.saveErr = text
}

func (g *Guard) isLost() bool {
	select {
	case <-g.lost:
		return true
	default:
		return false
	}
}

// look reads how far etcd has come. byWrite: by a transaction that goes through raft; it
// deletes a key that nobody ever puts.
func (g *Guard) look(ctx context.Context, byWrite bool) (*found, error) {
	k := g.cfg.Keys
	ops := []clientv3.Op{clientv3.OpGet(k.Meta()), clientv3.OpGet(k.Mark()), clientv3.OpGet(k.Hold())}
	if byWrite {
		ops = append(ops, clientv3.OpDelete(k.Marks()+"none"))
	}
	resp, err := g.deps.Client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, err
	}
	f := &found{Point: epoch.Point{Revision: resp.Header.Revision}}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		meta, err := etcdkv.Decode[etcdkv.Meta](k.Meta(), kvs[0].Value)
		if err != nil {
			return nil, err
		}
		f.Cluster, f.Epoch, f.replaces = meta.ClusterID, meta.Epoch, meta.Replaces
	}
	if kvs := resp.Responses[1].GetResponseRange().GetKvs(); len(kvs) > 0 {
		f.Mark = kvs[0].ModRevision
	}
	if kvs := resp.Responses[2].GetResponseRange().GetKvs(); len(kvs) > 0 {
		hold, err := etcdkv.Decode[etcdkv.Hold](k.Hold(), kvs[0].Value)
		if err != nil {
			return nil, err
		}
		f.hold = &hold
	}
	return f, nil
}

// mark puts the mark anew if anything was written since it was put, by whichever node,
// and that is not only just.
func (g *Guard) mark(ctx context.Context, f *found) error {
	now := g.deps.Now()
	if f.Mark != g.markRev {
		g.markRev, g.markSince = f.Mark, now
	}
	if f.Revision == f.Mark || now.Sub(g.markSince) < markEvery {
		return nil
	}
	k := g.cfg.Keys
	value, err := etcdkv.Encode(&etcdkv.Mark{Schema: etcdkv.Schema, Node: g.cfg.Node, At: now.UTC()})
	if err != nil {
		return err
	}
	_, err = g.deps.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(k.Mark()), "=", f.Mark), clientv3.Compare(clientv3.CreateRevision(k.Hold()), "=", 0)).
		Then(clientv3.OpPut(k.Mark(), value)).Commit()
	return err
}
