package app

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/history"
	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/control/enroll"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/plans"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/recovery"
	"github.com/carillon-cron/carillon/internal/sharing"
	"github.com/carillon-cron/carillon/internal/standby"
	"github.com/carillon-cron/carillon/internal/update"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// enrollment is a registrar as control sees it; nil where there is none.
func enrollment(r *registrar.Registrar) enroll.Enrollment {
	if r == nil {
		return nil
	}
	return r
}

// peerCredentials are what connections to peers are made with.
func (n *Node) peerCredentials() (credentials.TransportCredentials, error) {
	if n.registrar == nil {
		return insecure.NewCredentials(), nil
	}
	conf, err := n.registrar.ClientTLS()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}

// caller tells the hub who calls, by the certificate; nil where there are none.
func (n *Node) caller() func(context.Context) (agentpush.Caller, error) {
	if n.registrar == nil {
		return nil
	}
	return func(ctx context.Context) (agentpush.Caller, error) {
		id, err := n.registrar.Caller(ctx)
		if err != nil {
			return agentpush.Caller{}, err
		}
		if minion, ok := id.Minion(); ok {
			return agentpush.MinionCaller(minion), nil
		}
		if node, ok := id.Node(); ok {
			return agentpush.NodeCaller(node), nil
		}
		return agentpush.Caller{}, fmt.Errorf("%s is neither a minion nor a node", id)
	}
}

// wire makes the node's parts and connects them.
func (n *Node) wire(identity string, rev int64, renewers []*clientv3.Client) error {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if n.members != nil {
		metrics.MustRegister(n.members.Collector())
	}
	cfg := &n.cfg
	node := job.NodeID(cfg.Node)
	var err error
	n.cluster = cluster.New(n.client, n.keys, n.meta)
	if n.store, err = historyetcd.New(historyetcd.Config{
		Keys: n.keys, Keep: cfg.History.PerJob, MaxBytes: cfg.History.MaxBytes, Leader: n.looksAfter,
	}, historyetcd.Deps{Client: n.client, Logger: n.log, Metrics: metrics}); err != nil {
		return err
	}
	if n.sink, err = history.NewSink(history.SinkConfig{}, history.SinkDeps{Store: n.store, Logger: n.log, Metrics: metrics}); err != nil {
		return err
	}
	n.reg = &registry{
		client: n.client, keys: n.keys, node: node, log: n.log,
		lease: func() (clientv3.LeaseID, bool) { return n.engine.Lease() }, lost: n.cluster.Lost,
	}
	n.reg.unread.Store(followed)
	sink := &engineSink{}
	toPeers, err := n.peerCredentials()
	if err != nil {
		return err
	}
	n.signs = &orderSigning{node: node, client: n.client, keys: n.keys, log: n.log}
	if n.registrar != nil {
		n.signs.signer = signature.NewSigner(n.registrar.Certificate)
	}
	loading, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := n.signs.look(loading); err != nil {
		return err
	}
	runs := &openRuns{}
	if n.sharing, err = sharing.New(sharing.Deps{Keys: n.keys, Store: &sharing.Etcd{Client: n.client, Keys: n.keys}, Runs: runs, Logger: n.log, Room: func(ctx context.Context) error { return n.control.RoomForJobs(ctx) }}); err != nil {
		return err
	}
	if n.hub, err = agentpush.New(agentpush.Config{
		Node: node, SessionBase: rev, MaxMessageExpired: cfg.MaxMessageExpired, TopicDepth: topicDepth,
		MinVersion: cfg.MinMinionVersion,
	}, agentpush.Deps{
		Logger: n.log, Metrics: metrics, Directory: n.cluster, Sink: sink, Registry: n.reg, Caller: n.caller(), Signer: n.signs.signer, Signs: n.signs.ready.Load, Revoked: sink.revoked, Texts: newTexts(n.client, n.keys), Shared: n.sharing,
		PeerDialOptions: []grpc.DialOption{grpc.WithTransportCredentials(toPeers)},
		Now:             n.now, Witness: n.time.Witness, Seen: n.past.Told,
		Away: func() string { return standby.Away(n.past.Held()) },
	}); err != nil {
		return err
	}
	if err := n.reg.loadGrants(loading, n.hub.Inventory().SetGrant); err != nil {
		return err
	}
	roles := policy.NewView(n.client, n.keys, n.log)
	if n.queues, err = queues.New(queues.Config{
		Node: node, Keys: n.keys, Shards: n.meta.Shards, MaxMessageExpired: cfg.MaxMessageExpired,
	}, queues.Deps{
		Client: n.client, Minions: n.hub, History: n.sink, Roles: roles, Logger: n.log, Metrics: metrics,
		Secrets: func(k job.Key) (*job.Secret, bool) { return n.cluster.Secrets().Find(k) }, Now: n.now,
	}); err != nil {
		return err
	}
	sink.queues.Store(n.queues)
	if n.fires, err = queues.NewFires(queues.Config{Keys: n.keys}, queues.Deps{
		Client: n.client, Logger: n.log, Now: n.now,
	}, sink.ofQueues); err != nil {
		return err
	}
	callers, err := egress.New(egress.Config{Allow: cfg.Egress.Allow, CAFile: cfg.Egress.CA})
	if err != nil {
		return err
	}
	n.onClose(callers.Close)
	if err := n.openNotify(callers, metrics); err != nil {
		return err
	}
	if n.plans, err = plans.New(plans.Config{Node: node, Keys: n.keys, Shards: n.meta.Shards}, plans.Deps{
		Client: n.client, Caller: callers, Open: n.seal.Open, Logger: n.log, Now: n.now,
	}); err != nil {
		return err
	}
	if n.engine, err = scheduler.New(scheduler.Config{
		Node: node, Identity: identity, Site: cfg.Site, Witness: cfg.Own.Witness, Priority: cfg.Priority, Capacity: cfg.Capacity, Labels: cfg.Labels,
		PeerAddr: n.advertise(n.peerListener), APIAddr: n.advertise(n.apiListener), OpenAPI: !n.onLoopback(), Version: n.build.Version, Commit: n.build.Commit,
		Keys: n.keys, Meta: n.meta, LeaseTTL: cfg.LeaseTTL, LookAhead: cfg.LookAhead, Tick: cfg.Tick,
		MisfireGrace: cfg.MisfireGrace, MaxMessageExpired: cfg.MaxMessageExpired,
	}, scheduler.Deps{
		Client: n.client, Renewers: renewers, Cluster: n.cluster, Minions: queueMinions{n.hub, n.fires}, History: n.sink, Records: n.store,
		Schedules: schedule.NewCache(), Roles: roles, Logger: n.log, Metrics: metrics, OnLease: n.onLease(), Time: n.time, Clocks: n.hub, Past: n.past,
		Beside: n.beside, Ping: n.pinger.Ping,
	}); err != nil {
		return err
	}
	sink.engine.Store(n.engine)
	runs.engine.Store(n.engine)
	provider, err := n.openProvider()
	if err != nil {
		return err
	}
	if n.control, err = control.New(control.Config{
		Node: node, Version: n.build.Version, Commit: n.build.Commit, Keys: n.keys, Meta: n.meta, Authority: n.authority(),
		TokenMaxAge: cfg.TokenMaxAge, LoginLife: cfg.OIDC.SessionMaxAge,
	}, control.Deps{
		Client: n.client, History: n.store, Live: liveRuns{ask: n.hub.LiveRuns, shards: n.cluster.Shards, owner: n.cluster.Owner}, Outputs: n.hub, Minions: n.hub.Inventory(), MinionsRead: n.reg.fed, Logger: n.log,
		Metrics: metrics, Roles: roles, Seal: n.seal, Enrollment: enrollment(n.registrar), Members: n.etcdMembers(), Provider: provider, TestNotifier: n.sender.Test, UnreadableSecrets: n.sender.Unreadable, Dispatch: n.hub, Now: n.now,
		TimeKnown: func() bool { s := n.time.State(); return s.Judged }, Past: n.past.Why, Held: n.past.Waits,
	}); err != nil {
		return err
	}
	recovers := recovery.New(recovery.Deps{
		Client: n.client, Keys: n.keys, Node: node, Minions: recoveredMinions{n.hub}, History: n.store, Calendars: n.cluster,
		Now: n.now, Logger: n.log.Named("recovery"), Audit: n.control.AuditOp,
		Seen: func() int64 { return n.past.Seen().Epoch },
	})
	n.control.SetRecovery(recovers)
	if err := n.openStandby(recovers.Recover, metrics); err != nil {
		return err
	}
	if err = n.control.ReadState(loading); err != nil {
		return err
	}
	if err = n.offerBootstrap(loading); err != nil {
		return err
	}
	if n.updates, err = update.New(update.Config{Keys: n.keys}, update.Deps{
		Client: n.client, Minions: n.hub.Inventory(), Ready: n.reg.fed, Mine: func() bool { return n.looksAfter(0) }, Logger: n.log, Metrics: metrics,
		Tell: func(release int64, signed []byte, minions []job.MinionID) {
			n.hub.SetUpdate(agentpush.Update{Release: release, Signed: signed, Minions: minions})
		},
	}); err != nil {
		return err
	}
	if n.sites, err = n.control.Watcher(func() bool { return n.looksAfter(0) }, metrics); err != nil {
		return err
	}
	if n.sealer, err = n.newSealer(metrics); err != nil {
		return err
	}
	if err := n.openExports(); err != nil {
		return err
	}
	return n.serve(metrics)
}

// onLease returns what tells the node's watchdog of leases; nil when it has none.
func (n *Node) onLease() func(clientv3.LeaseID) {
	if !n.build.Watchdog || n.cfg.EmbeddedEtcd {
		return nil // an embedded etcd dies with the node
	}
	n.watchdog = &watchdog{etcd: n.cfg.Etcd, log: n.log.Named("watchdog"), again: make(chan struct{}, 1)}
	return n.watchdog.guard
}
