package standby

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

// Config says whose service it is. All must be set but Site.
type Config struct {
	Node    job.NodeID
	Keys    etcdkv.Keys
	Version string
	// Site is where this cluster's API is reached, as others are told.
	Site string
}

// Deps is what a Service works with. All must be set but Seal and OwnEtcd.
type Deps struct {
	Client *clientv3.Client
	// Seal seals the token. Nil: it is in the clear.
	Seal *sealing.Keeper
	// Held is what the cluster is held by; nil: it is not.
	Held func() *etcdkv.Hold
	// Mine reports whether this node follows for the cluster.
	Mine func() bool
	Dial Dial
	// Recover has a promoted cluster go on.
	Recover func(ctx context.Context, req api.RecoverRequest) (api.Recovery, error)
	// Audit returns the write of what was done.
	Audit func(ctx context.Context, action, object string, o api.Order) (clientv3.Op, error)
	// OwnEtcd: the cluster keeps its data itself.
	OwnEtcd bool
	Now     func() time.Time
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// Service follows an active cluster, tells of what it has, and takes over. Use New; Run
// must be called once.
type Service struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	// anew: the next stream has to be a snapshot.
	anew atomic.Bool
	lag  prometheus.Gauge

	mu sync.Mutex // held while the role changes
	// streams bounds those that follow this cluster.
	streams chan struct{}
}

// maxStreams bounds the streams of a node: a standby has one, and another while a node of it
// takes over.
const maxStreams = 4

// New returns a Service.
func New(cfg Config, d Deps) (*Service, error) {
	if cfg.Node == "" || cfg.Keys == (etcdkv.Keys{}) || d.Client == nil || d.Held == nil || d.Mine == nil || d.Dial == nil || d.Recover == nil ||
		d.Audit == nil || d.Now == nil || d.Logger == nil || d.Metrics == nil {
		return nil, errors.New("standby: a field of Config or Deps is not set")
	}
	s := &Service{cfg: cfg, deps: d, log: d.Logger.Named("standby"), streams: make(chan struct{}, maxStreams), lag: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "carillon_standby_lag_seconds",
		Help: "How far the copy is behind that this cluster has of the one that it follows, as its node sees it that follows; NaN where this node does not.",
	})}
	if err := d.Metrics.Register(s.lag); err != nil {
		return nil, fmt.Errorf("standby: %w", err)
	}
	return s, nil
}

// Standby tells what this cluster is to another one.
func (s *Service) Standby(ctx context.Context) (api.Standby, error) {
	meta, err := s.meta(ctx)
	if err != nil {
		return api.Standby{}, err
	}
	f, h, err := s.following(ctx)
	if err != nil {
		return api.Standby{}, err
	}
	out := api.Standby{Role: role(h), Epoch: meta.Epoch}
	if h != nil {
		out.From, out.Since = h.Site, &h.Since
	}
	out.Text = texts(out.Role, out.From)
	if out.Role != api.RoleStandby || f == nil {
		return out, nil
	}
	cur, _, err := readCursor(ctx, s.deps.Client, s.cfg.Keys)
	if err != nil {
		return out, err
	}
	c, err := s.copyOf(ctx, &cur)
	out.Copy, out.Trouble = &c, cur.Trouble
	return out, err
}

// copyOf tells of the copy.
func (s *Service) copyOf(ctx context.Context, cur *etcdkv.MirrorCursor) (api.StandbyCopy, error) {
	c := api.StandbyCopy{Cluster: cur.Cluster, Epoch: cur.Epoch, Revision: cur.Revision, Torn: cur.Torn, Whole: cur.Generation != 0}
	if !c.Whole {
		return c, nil
	}
	if !cur.AsOf.IsZero() {
		lag := s.behind(cur).Seconds()
		c.AsOf, c.LagSeconds = &cur.AsOf, &lag
	}
	at := s.cfg.Keys.Copy(cur.Generation)
	jobs := at + strings.TrimPrefix(s.cfg.Keys.Jobs(), s.cfg.Keys.Root())
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := s.deps.Client.Txn(ctx).Then(clientv3.OpGet(at, clientv3.WithPrefix(), clientv3.WithCountOnly()), clientv3.OpGet(jobs, clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	if err != nil {
		return c, fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	c.Keys, c.Jobs = resp.Responses[0].GetResponseRange().GetCount(), resp.Responses[1].GetResponseRange().GetCount()
	return c, nil
}

// behind is how far the copy is behind.
func (s *Service) behind(cur *etcdkv.MirrorCursor) time.Duration {
	return max(0, s.deps.Now().Sub(cur.AsOf))
}

// Mirror writes what this cluster has, and what changes in it, until ctx ends.
func (s *Service) Mirror(ctx context.Context, req api.MirrorRequest, w io.Writer) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return fmt.Errorf("%d streams follow this node, which is the most: %w", maxStreams, job.ErrConflict)
	}
	switch h := s.deps.Held(); {
	case h != nil && h.State == etcdkv.HoldStandby:
		return fmt.Errorf("this cluster is a standby of %s: follow that one: %w", h.Site, job.ErrConflict)
	case h != nil && h.State == etcdkv.HoldOvertaken:
		return fmt.Errorf("this cluster was overtaken by epoch %d of %s: follow that one: %w", h.Epoch, h.Site, job.ErrConflict)
	}
	op, err := s.deps.Audit(ctx, "cluster.mirror", "cluster", api.Order{})
	if err != nil {
		return err
	}
	if err := s.commit(ctx, nil, op); err != nil {
		return err
	}
	src := &Source{Client: s.deps.Client, Keys: s.cfg.Keys, Version: s.cfg.Version, Now: s.deps.Now}
	err = src.Stream(ctx, From{req.Cluster, req.Epoch, req.After}, w)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("a stream to a standby ended", zap.Error(err))
	}
	return err
}

// commit does a transaction; one whose comparisons fail is a conflict.
func (s *Service) commit(ctx context.Context, cmps []clientv3.Cmp, ops ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := sealing.Commit(ctx, s.deps.Seal, s.deps.Client, cmps, ops, nil)
	if err != nil {
		return fmt.Errorf("write to etcd: %w: %w", job.ErrUnavailable, err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("what this cluster is to another one has changed meanwhile: ask again: %w", job.ErrConflict)
	}
	return nil
}

// holdIs compares that the cluster is held as it was read.
func (s *Service) holdIs(h *held) clientv3.Cmp {
	rev := int64(0)
	if h != nil {
		rev = h.rev
	}
	return clientv3.Compare(clientv3.ModRevision(s.cfg.Keys.Hold()), "=", rev)
}

// stand has the cluster be held, and takes its shards from their owners, in one transaction.
func (s *Service) stand(ctx context.Context, was *held, hold *etcdkv.Hold, more ...clientv3.Op) error {
	value, err := etcdkv.Encode(hold)
	if err != nil {
		return err
	}
	ops := append([]clientv3.Op{clientv3.OpPut(s.cfg.Keys.Hold(), value), clientv3.OpDelete(s.cfg.Keys.Owners(), clientv3.WithPrefix())}, more...)
	return s.commit(ctx, []clientv3.Cmp{s.holdIs(was)}, ops...)
}

// FollowActive makes this cluster the standby of another one.
func (s *Service) FollowActive(ctx context.Context, req api.FollowRequest) (api.Followed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := api.Followed{DryRun: req.DryRun, From: req.From}
	if s.deps.OwnEtcd {
		return out, fmt.Errorf("this cluster keeps its data itself (--cluster-init, --join), and its members know one another by its own authority: a standby needs an etcd of its own, or one node with --embedded-etcd: %w", job.ErrConflict)
	}
	if req.From == "" {
		return out, &job.InvalidError{Problems: []job.Problem{{Path: "from", Message: "give the address of the active cluster's API, such as https://carillon.east.example.com:8420"}}}
	}
	_, h, err := s.following(ctx)
	if err != nil {
		return out, err
	}
	switch r := role(h); r {
	case api.RoleAlone, api.RoleStandby, api.RoleHandedOver, api.RoleOvertaken:
	case api.RolePromoting, api.RoleRestored:
		return out, fmt.Errorf("%s: %w", texts(r, h.Site), job.ErrConflict)
	}
	f := &etcdkv.Following{Schema: etcdkv.Schema, From: req.From, CA: req.CA, Token: req.Token, By: req.By, Since: s.deps.Now().UTC()}
	head, err := s.probe(ctx, f)
	if err != nil {
		return out, err
	}
	out.Cluster, out.Epoch, f.Cluster = head.Cluster, head.Epoch, head.Cluster
	f.Epoch = head.Epoch
	if err := s.lost(ctx, h, &out); err != nil {
		return out, err
	}
	if req.DryRun {
		return out, nil
	}
	if len(out.Lost) > 0 && !req.Replace {
		return out, fmt.Errorf("%d definitions of this cluster would be given up, such as %s %s: look at them with --dry-run, and add --replace: %w", len(out.Lost)+out.MoreLost, out.Lost[0].Kind, out.Lost[0].Name, job.ErrConflict)
	}
	value, err := etcdkv.Encode(f)
	if err != nil {
		return out, err
	}
	op, err := s.deps.Audit(ctx, "cluster.follow", req.From, req.Order)
	if err != nil {
		return out, err
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return out, err
	}
	hold := &etcdkv.Hold{Schema: etcdkv.Schema, State: etcdkv.HoldStandby, Since: f.Since, By: req.By, Epoch: meta.Epoch, From: meta.Epoch, TakenAt: f.Since, Site: req.From}
	ops := []clientv3.Op{clientv3.OpPut(s.cfg.Keys.Following(), value), op}
	if cur, _, err := readCursor(ctx, s.deps.Client, s.cfg.Keys); err != nil {
		return out, err
	} else if role(h) != api.RoleStandby || cur.Cluster != head.Cluster {
		// A copy of when this cluster was a standby before is not to be promoted.
		ops = append(ops, clientv3.OpDelete(s.cfg.Keys.MirrorCursor()), clientv3.OpDelete(s.cfg.Keys.Copies(), clientv3.WithPrefix()))
	}
	if err := s.stand(ctx, h, hold, ops...); err != nil {
		return out, err
	}
	s.log.Warn("this cluster is a standby from now on", zap.String("from", req.From), zap.String("cluster", head.Cluster))
	return out, nil
}

// probe asks the active cluster whether it can be followed.
func (s *Service) probe(ctx context.Context, f *etcdkv.Following) (Head, error) {
	active, err := s.deps.Dial(f)
	if err != nil {
		return Head{}, &job.InvalidError{Problems: []job.Problem{{Path: "from", Message: err.Error()}}}
	}
	defer active.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	body, err := active.Mirror(ctx, api.MirrorRequest{})
	if err != nil {
		return Head{}, fmt.Errorf("%s cannot be followed: %w: %w", f.From, err, job.ErrConflict)
	}
	defer func() { _ = body.Close() }()
	head, err := readHead(bufio.NewReader(body))
	if err != nil {
		return head, fmt.Errorf("%s cannot be followed: %w: %w", f.From, err, job.ErrConflict)
	}
	return head, s.fits(ctx, &head, &etcdkv.MirrorCursor{})
}

// probeTimeout bounds the question whether a cluster can be followed.
const probeTimeout = 10 * time.Second

// StopFollowing has a standby go on by itself, with what it has of its own.
func (s *Service) StopFollowing(ctx context.Context, o api.Order) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, h, err := s.following(ctx)
	if err != nil {
		return err
	}
	if h == nil && f != nil { // promoted: who was followed is not told any more
		op, err := s.deps.Audit(ctx, "cluster.stop-following", f.From, o)
		if err != nil {
			return err
		}
		return s.commit(ctx, nil, append(s.forget(), op)...)
	}
	if r := role(h); r != api.RoleStandby {
		return fmt.Errorf("%s, and follows nobody: %w", texts(r, ""), job.ErrConflict)
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	if f == nil || f.Cluster == meta.ClusterID {
		return fmt.Errorf("this cluster was the active one before %s was: what it has of its own is older, and jobs would run twice; carillon promote has it take over: %w", h.Site, job.ErrConflict)
	}
	op, err := s.deps.Audit(ctx, "cluster.stop-following", h.Site, o)
	if err != nil {
		return err
	}
	return s.commit(ctx, []clientv3.Cmp{s.holdIs(h)}, append(s.forget(), clientv3.OpDelete(s.cfg.Keys.Hold()), op)...)
}

// forget deletes whom this cluster follows, and the copy.
func (s *Service) forget() []clientv3.Op {
	k := s.cfg.Keys
	return []clientv3.Op{clientv3.OpDelete(k.Following()), clientv3.OpDelete(k.MirrorCursor()), clientv3.OpDelete(k.Copies(), clientv3.WithPrefix())}
}

// HandOver has this cluster stop, so that its standby can take over: its shards have no
// owners from then on, and what is written after that says so (M7).
func (s *Service) HandOver(ctx context.Context, o api.Order) (api.HandedOver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, h, err := s.following(ctx)
	if err != nil {
		return api.HandedOver{}, err
	}
	if r := role(h); r != api.RoleAlone && r != api.RoleHandedOver {
		return api.HandedOver{}, fmt.Errorf("%s: it has nothing to hand over: %w", texts(r, h.Site), job.ErrConflict)
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return api.HandedOver{}, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return api.HandedOver{}, err
	}
	now := s.deps.Now().UTC()
	value, err := etcdkv.Encode(&etcdkv.HandedOver{Schema: etcdkv.Schema, ID: id.String(), At: now})
	if err != nil {
		return api.HandedOver{}, err
	}
	op, err := s.deps.Audit(ctx, "cluster.hand-over", fmt.Sprintf("epoch %d", meta.Epoch), o)
	if err != nil {
		return api.HandedOver{}, err
	}
	hold := &etcdkv.Hold{Schema: etcdkv.Schema, State: etcdkv.HoldHandedOver, Since: now, By: o.By, Epoch: meta.Epoch, From: meta.Epoch, TakenAt: now, Site: "its standby"}
	if err := s.stand(ctx, h, hold, op); err != nil {
		return api.HandedOver{}, err
	}
	// What owners had under way is recorded, or is not: no more comes after a moment.
	select {
	case <-ctx.Done():
		return api.HandedOver{}, ctx.Err()
	case <-time.After(settle):
	}
	if err := s.commit(ctx, nil, clientv3.OpPut(s.cfg.Keys.HandedOver(), value)); err != nil {
		return api.HandedOver{}, err
	}
	s.log.Warn("this cluster has handed over to its standby")
	return api.HandedOver{ID: id.String(), Epoch: meta.Epoch}, nil
}

// settle is how long records of what has ended may be on their way to etcd.
const settle = time.Second

// Overtaken tells this cluster that another one goes on, of the same cluster in a later
// epoch. It stops then, until somebody decides.
func (s *Service) Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta, err := s.meta(ctx)
	if err != nil {
		return api.Standby{}, err
	}
	if req.Cluster != meta.ClusterID || req.Epoch <= meta.Epoch {
		return api.Standby{}, fmt.Errorf("this is the cluster %s of epoch %d: %s of epoch %d does not overtake it: %w", meta.ClusterID, meta.Epoch, req.Cluster, req.Epoch, job.ErrConflict)
	}
	_, h, err := s.following(ctx)
	if err != nil {
		return api.Standby{}, err
	}
	switch role(h) {
	case api.RoleStandby, api.RoleOvertaken:
		return s.Standby(ctx) // it does not plan
	case api.RoleAlone, api.RoleHandedOver, api.RolePromoting, api.RoleRestored:
	}
	op, err := s.deps.Audit(ctx, "cluster.overtaken", fmt.Sprintf("epoch %d of %s", req.Epoch, req.Site), req.Order)
	if err != nil {
		return api.Standby{}, err
	}
	now := s.deps.Now().UTC()
	hold := &etcdkv.Hold{Schema: etcdkv.Schema, State: etcdkv.HoldOvertaken, Since: now, By: req.By, Epoch: req.Epoch, From: meta.Epoch, Revision: req.Revision, TakenAt: now, Site: req.Site}
	if err := s.stand(ctx, h, hold, op); err != nil {
		return api.Standby{}, err
	}
	s.log.Error("this cluster was overtaken, and plans nothing any more", zap.Int64("epoch", req.Epoch), zap.String("by", req.Site))
	return s.Standby(ctx)
}

// lost lists definitions that the active cluster does not know of.
func (s *Service) lost(ctx context.Context, h *held, out *api.Followed) error {
	k := s.cfg.Keys
	var since int64 // the active cluster has what was there at this revision
	switch role(h) {
	case api.RoleHandedOver:
		since = h.rev
	case api.RoleOvertaken:
		since = h.Revision
	case api.RoleStandby:
		return nil // it was told when it became one
	case api.RoleAlone, api.RolePromoting, api.RoleRestored:
	}
	for _, d := range []struct{ kind, prefix string }{
		{"job", k.Jobs()}, {"group", k.Groups()}, {"calendar", k.Calendars()}, {"host group", k.HostGroups()}, {"script", k.Scripts()}, {"secret", k.JobSecrets()},
		{"queue", k.QueueTypes()}, {"defaults", k.Defaults()}, {"plan", k.Plans()}, {"notifier", k.Notifiers()}, {"role", k.Roles()}, {"role binding", k.RoleBindings()},
	} {
		if err := s.changedSince(ctx, d.prefix, since, func(kv *mvccpb.KeyValue) {
			if len(out.Lost) == api.MaxLostDefinitions {
				out.MoreLost++
				return
			}
			name := strings.TrimPrefix(string(kv.Key), d.prefix)
			if _, key, err := k.ParseJob(string(kv.Key)); err == nil {
				name = key.String()
			}
			out.Lost = append(out.Lost, api.LostDefinition{Kind: d.kind, Name: name})
		}); err != nil {
			return err
		}
	}
	return nil
}

// changedSince calls fn with each key under a prefix that was written after a revision.
func (s *Service) changedSince(ctx context.Context, prefix string, rev int64, fn func(*mvccpb.KeyValue)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := s.deps.Client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithMinModRev(rev+1), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	for _, kv := range resp.Kvs {
		fn(kv)
	}
	return nil
}
