package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/history"
	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/apitls"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/audit/export"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/control/sites"
	"github.com/carillon-cron/carillon/internal/epoch"
	"github.com/carillon-cron/carillon/internal/epoch/past"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members"
	"github.com/carillon-cron/carillon/internal/notify"
	"github.com/carillon-cron/carillon/internal/plans"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/internal/sharing"
	"github.com/carillon-cron/carillon/internal/standby"
	"github.com/carillon-cron/carillon/internal/update"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// Build tells which build runs.
type Build struct {
	Version string
	Commit  string
	// Watchdog: the program can be run with WatchdogArg, and is, as a second
	// process that revokes the lease when the first one dies.
	Watchdog bool
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Node is an opened scheduler node. Open it, Run it once, Close it.
type Node struct {
	cfg   configs.Scheduler
	build Build
	log   *zap.Logger

	meta    etcdkv.Meta
	keys    etcdkv.Keys
	client  *clientv3.Client
	cluster *cluster.View
	engine  *scheduler.Engine
	queues  *queues.Dispatch
	plans   *plans.Keeper
	fires   *queues.Fires
	sharing *sharing.Service
	// notify delivers alerts, pinger tells checks, sender sends both, by way of egress.
	notify  *notify.Service
	sender  *notify.Sender
	pinger  *notify.Pinger
	hub     *agentpush.Hub
	reg     *registry
	store   *historyetcd.Store
	sink    *history.Sink
	control *control.Control
	standby *standby.Service
	updates *update.Controller
	sites   *sites.Watcher
	sealer  *chain.Sealer
	exports []*export.Exporter
	seal    *sealing.Keeper
	// registrar is nil where connections are plain.
	registrar *registrar.Registrar
	// watchdog is nil when the node has none.
	watchdog *watchdog
	// past holds etcd against what the node has seen of it.
	past *past.Guard
	// time is what the node goes by.
	time *clock.Clock
	// signs says whether orders are signed.
	signs *orderSigning
	// members is nil where the cluster does not keep its data itself.
	members *members.Keeper

	apiListener net.Listener
	// socket is nil when there is none.
	socket       *peerListener
	peerListener net.Listener
	grpcServer   *grpc.Server
	httpServer   *http.Server
	// apiTLS is nil where the API speaks plain HTTP.
	apiTLS *tls.Config
	// apiFiles is nil where the certificate of the API is not in files.
	apiFiles *apitls.Files
	doors    doors

	cleanups []func()
}

// ErrAnew is returned by Run when the node is to be opened and run anew: etcd was
// restored, and nothing counts that was read of it before.
var ErrAnew = past.ErrAnew

// startTimeout bounds the wait for etcd at the start.
const startTimeout = time.Minute

// Open takes ports, data directory and etcd for a node. What it opened before an
// error is closed again.
func Open(ctx context.Context, cfg configs.Scheduler, build Build, log *zap.Logger) (_ *Node, err error) {
	n := &Node{cfg: cfg, build: build, log: log, keys: etcdkv.NewKeys(cfg.Etcd.Prefix)}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := n.openFiles(); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	dir, err := openDirectory(cfg.DataDir, log)
	if err != nil {
		return nil, err
	}
	n.onClose(dir.close)
	if err := n.listenSocket(); err != nil {
		return nil, err
	}
	reach, err := n.openStore(ctx)
	if err != nil {
		return nil, err
	}
	if err := n.openClient(ctx, reach); err != nil {
		return nil, err
	}
	renewers, err := n.openRenewers(ctx, reach)
	if err != nil {
		return nil, err
	}
	n.time = clock.New(clock.Config{Bound: cfg.ClockBound}, clock.Deps{Wall: build.Now})
	if n.past, err = past.New(past.Config{Node: job.NodeID(cfg.Node), Keys: n.keys, File: filepath.Join(cfg.DataDir, epoch.FileName)},
		past.Deps{Client: n.client, Logger: log, Now: n.now}); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	answered := tellOfEtcd(bounded, reach, log)
	meta, rev, err := openMeta(bounded, n.client, n.keys, &n.cfg, n.past.Founds())
	answered()
	if errors.Is(err, errNoCluster) { // it may be between two, as it is promoted
		if err = standby.Resume(ctx, n.client, n.keys, build.Version, log); err == nil {
			meta, rev, err = openMeta(ctx, n.client, n.keys, &n.cfg, n.past.Founds())
		}
	}
	if err == nil || errors.Is(err, errNoCluster) {
		if begun := n.past.Begin(bounded); begun != nil {
			err = begun
		}
	}
	if errors.Is(err, past.ErrOther) {
		return nil, err
	}
	if err != nil {
		return nil, withoutEtcd(ctx, reach, err)
	}
	n.meta = meta
	if err := grantOldLabels(context.WithoutCancel(ctx), n.client, n.keys, log); err != nil {
		return nil, fmt.Errorf("labels of minions: %w", err)
	}
	if n.seal, err = openSeal(bounded, cfg, n.client, func() (clientv3.LeaseID, bool) { return n.engine.Lease() }, log); err != nil {
		return nil, err
	}
	if !cfg.Insecure {
		if n.registrar, err = registrar.Open(bounded, registrar.Config{
			Node: job.NodeID(cfg.Node), Hosts: n.names(), Cluster: meta.ClusterID, Keys: n.keys,
		}, registrar.Deps{Client: n.client, Seal: n.seal, Logger: log, Store: n.storeForNodes()}); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	n.useMembers(renewers)
	return n, n.wire(dir.identity, rev, renewers)
}

func (n *Node) onClose(fn func()) { n.cleanups = append(n.cleanups, fn) }

// Close gives back what Open took, in the opposite order. It may be called
// again.
func (n *Node) Close() {
	for i := len(n.cleanups) - 1; i >= 0; i-- {
		n.cleanups[i]()
	}
	n.cleanups = nil
}

// now is what most clocks of the cluster say, as far as this node knows.
func (n *Node) now() time.Time { return time.Unix(0, n.time.Now()) }

// looksAfter spreads the care for history's buckets over the live nodes.
func (n *Node) looksAfter(bucket int) bool {
	members := n.cluster.Members()
	return len(members) > 0 && members[bucket%len(members)].Node == job.NodeID(n.cfg.Node)
}

// drainMinions is how long minions may take to go elsewhere when a node leaves.
const drainMinions = time.Second

// Run serves and fires until ctx ends; then it hands its shards over, sends its
// minions elsewhere and returns. started, unless nil, is called when the node
// is ready.
func (n *Node) Run(ctx context.Context, started func()) error {
	defer n.Close()
	// What serves outlives the engine: results go on arriving while it drains.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, serving := errgroup.WithContext(serving)
	background := func(name string, fn func(context.Context) error) {
		g.Go(func() error {
			if err := fn(serving); err != nil && serving.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	background("epoch", n.past.Run)
	background("cluster view", n.cluster.Run)
	background("history", n.sink.Run)
	background("history store", n.store.Run)
	background("hub", n.hub.Run)
	background("pings", n.pinger.Run)
	background("queues", n.queues.Run)
	background("queuefires", n.fires.Run)
	background("plans", n.plans.Run)
	background("sharing", n.sharing.Run)
	background("notify", n.notify.Run)
	background("changes", n.control.Watch)
	background("tokens", n.control.WatchAccess)
	background("rights", n.control.WatchRights)
	background("bootstrap token", n.dropBootstraps)
	background("sweep", func(ctx context.Context) error { return n.control.Sweep(ctx, func() bool { return n.looksAfter(0) }) })
	background("sites", n.sites.Run)
	background("standby", n.standby.Run)
	background("updates", n.updates.Run)
	background("audit", n.sealer.Run)
	background("seal keys", n.seal.Run)
	background("refusals", n.control.RecordRefusals)
	for _, e := range n.exports {
		background("audit export", e.Run)
	}
	background("inventory", func(ctx context.Context) error { return n.reg.feed(ctx, n.hub.Inventory()) })
	background("presence", n.keepPresence)
	background("signing", n.signs.run)
	background("garbage", func(ctx context.Context) error { collectWhenQuiet(ctx); return nil })
	background("api", func(context.Context) error { return ended(n.serveAPI()) })
	if n.apiFiles != nil {
		background("api certificate", n.apiFiles.Run)
	}
	if n.socket != nil {
		background("socket", func(context.Context) error { return ended(n.httpServer.Serve(n.socket)) })
	}
	background("peers", func(context.Context) error { return n.grpcServer.Serve(n.doors.peers.Listen(n.peerListener)) })
	if n.registrar != nil {
		background("certificates", n.registrar.Run)
	}
	if n.members != nil {
		background("members", n.members.Run)
	}
	if n.watchdog != nil {
		background("watchdog", func(ctx context.Context) error { n.watchdog.run(ctx); return nil })
	}
	if started != nil {
		background("start", func(ctx context.Context) error { n.awaitReady(ctx, started); return nil })
	}

	engine, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(serving, cancel) // a part that fails ends the node
	err := n.engine.Run(engine)
	if err == nil && serving.Err() == nil {
		n.log.Info("leaving")
		n.hub.Drain(serving, drainMinions)
	}
	stop()
	n.grpcServer.Stop()
	bounded, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if n.httpServer.Shutdown(bounded) != nil {
		_ = n.httpServer.Close()
	}
	return errors.Join(err, g.Wait())
}

// ended hides the error that a server returns when it is asked to end.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// readyPoll is how often the start looks whether the node is ready.
const readyPoll = 20 * time.Millisecond

func (n *Node) awaitReady(ctx context.Context, started func()) {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		if len(n.engine.Ready()) == 0 {
			started()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keepPresence has the presence of minions written again whenever the node has a
// new lease, and the absence of others counted anew.
func (n *Node) keepPresence(ctx context.Context) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	var last, current clientv3.LeaseID
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if lease, ok := n.engine.Lease(); ok && lease != last {
			last = lease
			n.hub.Republish()
		}
		// A node without a lease may have been cut off from etcd, and so may the
		// others have been: those whose minions had gone to them tell of it now.
		if lease, ok := n.engine.Lease(); ok && lease != current && n.reg.fed() {
			current = lease
			n.hub.Inventory().SetCurrent()
		}
	}
}
