package agentpush

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/job"
)

// Hub holds the sessions of the minions that are connected to this node, and
// links to its peers. All methods may be called by many goroutines. What it does
// its parts do; each has its own state and lock.
type Hub struct {
	*base
	life      *lifetime
	inventory *Inventory
	presence  *presence
	registrar *registrar
	admission *admission
	router    *router
	balance   *balance
	outputs   *outputs
	updates   *updates
	queries   *queries
	sweeper   *sweeper
	signing   *signing
	services  services
}

// services are what a hub serves to minions and to peers.
type services struct {
	push pushServer
	peer peerServer
}

// New returns a Hub. It serves once it is registered at a gRPC server and Run
// is called.
func New(cfg Config, deps Deps) (*Hub, error) {
	cfg = cfg.filled()
	if err := errors.Join(cfg.check(), deps.check()); err != nil {
		return nil, err
	}
	deps = deps.filled()
	b := &base{cfg: cfg, directory: deps.Directory, now: deps.Now, clock: deps.Clock, log: deps.Logger.Named("agentpush")}
	checker, err := newFrames()
	if err != nil {
		return nil, err
	}
	if b.met, err = newMetrics(deps.Metrics); err != nil {
		return nil, err
	}
	h := &Hub{base: b, life: newLifetime(), inventory: newInventory(cfg.Node), signing: &signing{base: b, signer: deps.Signer, ready: deps.Signs}}
	h.inventory.trusting = deps.Caller == nil
	if deps.Revoked != nil {
		h.inventory.out = deps.Revoked
	}
	h.presence = newPresence(b, deps.Registry)
	h.registrar = newRegistrar(b, h.inventory, deps.Registry)

	var (
		pace     = &pace{}
		channels = newChannels(cfg.TopicDepth)
		callers  = &callers{caller: deps.Caller}
		peers    = &peers{base: b, life: h.life, dialOptions: deps.PeerDialOptions, conns: map[string]*grpc.ClientConn{}}
		links    = &links{base: b, life: h.life, peers: peers, callers: callers, signing: h.signing, retries: newRetries(), byNode: map[job.NodeID]*link{}}
		reports  = &reports{base: b, links: links, engine: deps.Sink, retries: links.retries}
		pumps    = &pumps{base: b, life: h.life, reports: reports}
		health   = &health{base: b, locals: h.inventory.locals, presence: h.presence, pumps: pumps}
		texts    = &texts{base: b, life: h.life, pumps: pumps, find: deps.Texts, budget: &budget{limit: allTextBytes}}
	)
	shares := &shares{base: b, life: h.life, pumps: pumps, peers: peers, serves: deps.Shared, budget: &budget{limit: sharedBytes}, byNode: map[job.NodeID]*shareLink{}}
	pumps.shares = shares
	h.life.atEnd = peers.close
	h.updates = &updates{channels: channels, pumps: pumps}
	h.router = &router{base: b, channels: channels, locations: h.inventory.locations, links: links, pumps: pumps, reports: reports}
	links.deliver, links.finish = h.router.deliver, reports.finish
	h.inventory.moved, h.inventory.gone = h.router.moved, links.gone
	h.outputs = &outputs{
		base: b, life: h.life, channels: channels, locations: h.inventory.locations, pumps: pumps, peers: peers, budget: &budget{limit: outputBytes},
	}
	h.queries = &queries{
		base: b, peers: peers, channels: channels, links: links, locations: h.inventory.locations, engine: deps.Sink, pace: pace, witness: deps.Witness,
	}
	sessions := &sessions{
		base: b, channels: channels, inventory: h.inventory, presence: h.presence, registrar: h.registrar,
		health: health, pumps: pumps, router: h.router, reports: reports, updates: h.updates, shares: shares, seen: deps.Seen,
	}
	sessions.epoch.Store(cfg.SessionBase << 20)
	h.admission = &admission{
		base: b, life: h.life, away: deps.Away, callers: callers, channels: channels, locations: h.inventory.locations,
		conflicts: &conflicts{base: b, locations: h.inventory.locations, sent: map[job.MinionID]sending{}},
		sessions:  sessions, health: health, texts: texts.budget, outputs: h.outputs.budget,
	}
	h.balance = &balance{
		base: b, life: h.life, channels: channels, inventory: h.inventory, pumps: pumps, sessions: sessions, admission: h.admission,
	}
	h.sweeper = &sweeper{
		base: b, life: h.life, channels: channels, links: links, health: health, registrar: h.registrar,
		reports: reports, router: h.router, conflicts: h.admission.conflicts, balance: h.balance, pace: pace,
	}
	h.services = services{
		push: pushServer{frames: &frames{
			base: b, life: h.life, checker: checker, admission: h.admission, sessions: sessions, pumps: pumps,
			health: health, reports: reports, registrar: h.registrar, texts: texts, shares: shares, pace: pace,
		}},
		peer: peerServer{
			inbounds: &inbounds{base: b, life: h.life, callers: callers, channels: channels, router: h.router, reports: reports},
			outputs:  h.outputs, queries: h.queries, shares: shares,
		},
	}
	return h, nil
}

// filled returns the dependencies with what stands for those that are not given.
func (d Deps) filled() Deps {
	if d.Clock == nil {
		d.Clock = boottime.Now
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Witness == nil {
		d.Witness = func() (int64, bool) { return time.Now().UnixNano(), true }
	}
	if d.Signs == nil {
		d.Signs = func() bool { return true }
	}
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	return d
}

// Register adds the services for minions and peers to a gRPC server, which
// must be made with ServerOptions.
func (h *Hub) Register(r grpc.ServiceRegistrar) {
	agentpb.RegisterPushServer(r, h.services.push)
	agentpb.RegisterPeerServer(r, h.services.peer)
}

// Run serves until ctx is done; then it ends all sessions and links, and
// returns when all its goroutines have ended. It is called once.
func (h *Hub) Run(ctx context.Context) error {
	h.life.spawn(func() { h.presence.run(h.life.ctx) })
	h.life.spawn(func() { h.registrar.run(h.life.ctx) })
	h.life.spawn(h.sweeper.run)
	<-ctx.Done()
	h.life.end(errStopping)
	return nil
}

// Inventory returns what this node knows of all minions; the app feeds it.
func (h *Hub) Inventory() *Inventory { return h.inventory }

// Match returns the ids of the connected minions that the target admits,
// sorted. The result is shared: it must not be changed.
func (h *Hub) Match(t job.Target) []job.MinionID { return h.inventory.targets.match(t) }

// Connected reports whether the minion is connected to any node.
func (h *Hub) Connected(id job.MinionID) bool { return h.inventory.locations.node(id) != "" }

// Reach returns the ids of the connected minions that the target admits, and those
// minions that it admits and that get no orders, both sorted and by one look: no minion
// is among both, or among neither since it moved. The results are shared: they must not
// be changed.
func (h *Hub) Reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable) {
	return h.inventory.targets.reach(t)
}

// Revoked reports whether nothing more will be heard of the minion: its certificate
// was revoked, and it is connected nowhere. One that has joined again since is not
// revoked.
func (h *Hub) Revoked(id job.MinionID) bool { return h.inventory.revoked(id) }

// Value returns a minion's value of a label or a fact; empty: it has none.
func (h *Hub) Value(id job.MinionID, key string) string { return h.inventory.targets.value(id, key) }

// Absence tells whether a minion is connected to no node, and since when as far as
// this node can know.
func (h *Hub) Absence(id job.MinionID) (job.Absence, bool) { return h.inventory.absence(id) }

// Absences changes whenever a minion is connected to no node any more, or is
// forgotten.
func (h *Hub) Absences() uint64 { return h.inventory.absences.count.Load() }

// Send brings orders to their minions. It does not block. Every order ends:
// its minion takes it and reports, or a report of this hub, or of a peer's,
// says what became of it on its way.
func (h *Hub) Send(orders []job.Order) {
	now := h.now().UnixNano()
	msgs := make([]*message, len(orders))
	for i := range orders {
		msgs[i] = h.newMessage(agentpb.FromOrder(&orders[i]), now)
	}
	h.signing.sign(msgs, orders)
	h.router.deliver(msgs)
}

// Ask asks minions what became of tasks. It does not block. The answer is a
// report; a question that does not arrive is lost, and may be asked again.
func (h *Hub) Ask(refs []job.Ref) {
	now := h.now().UnixNano()
	msgs := make([]*message, len(refs))
	for i, r := range refs {
		msgs[i] = h.newMessage(&agentpb.Question{
			Task: agentpb.FromTask(r.Task), Shard: uint32(r.Shard),
			TokenEpoch: r.Token.Epoch, TokenRevision: r.Token.Revision, Term: r.Term,
		}, now)
	}
	h.signing.signRefs(msgs, refs, (*signature.Digests).OfQuestion)
	h.router.deliver(msgs)
}

// Cancel ends tasks, or makes sure that they never start. It does not block.
// The minion's report says what came of it.
func (h *Hub) Cancel(refs []job.Ref, reason string) {
	now := h.now().UnixNano()
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	msgs := make([]*message, len(refs))
	for i, r := range refs {
		msgs[i] = h.newMessage(&agentpb.Cancel{
			Task: agentpb.FromTask(r.Task), Shard: uint32(r.Shard),
			TokenEpoch: r.Token.Epoch, TokenRevision: r.Token.Revision, Term: r.Term, Reason: reason,
		}, now)
	}
	h.signing.signRefs(msgs, refs, func(d *signature.Digests, r *job.Ref) signature.Hash { return d.OfCancel(r, reason) })
	h.router.deliver(msgs)
}

// Ack tells minions that their reports are durable. It does not block. One that
// does not arrive is made good by the minion's next report.
func (h *Hub) Ack(tasks []job.TaskID) {
	ids := make([]*agentpb.TaskID, len(tasks))
	for i, t := range tasks {
		ids[i] = agentpb.FromTask(t)
	}
	h.router.ack(ids, false)
}

// Drain asks all minions to connect elsewhere, spread over the given time or,
// where there are many and there is an elsewhere, a longer one, and takes no new
// ones. It returns when they have left, when the time is over, or when ctx is
// done.
func (h *Hub) Drain(ctx context.Context, within time.Duration) { h.balance.drain(ctx, within) }

// Republish has the presence of all minions here written again: what was written
// until now has gone, or will go, with a lease that the node has lost. Nothing
// else may write it: of two writes at once the older may come last.
func (h *Hub) Republish() { h.presence.republish() }

// Revoke ends the session of a minion whose certificate was revoked, if it has
// one here.
func (h *Hub) Revoke(id job.MinionID) { h.admission.revoke(id) }

// SetUpdate has minions told of a release: now, and in each session that
// they open here later, until SetUpdate is called again. In a session a minion is
// told of a release once, however often SetUpdate is called with it. The zero
// Update: nobody is told anything. It is called by one goroutine at a time.
func (h *Hub) SetUpdate(u Update) { h.updates.set(u) }

// Output reads the full output of a task from the minion that ran it, which may
// be connected here or at a peer, and calls fn with its pieces; stream is 1 for
// stdout, 2 for stderr; leftOut, unless 0, says that so many bytes of the stream
// are missing here. fn may take its time: the minion waits. With follow it goes on
// until the task ends. An error of fn ends it and is returned. A minion that is
// not connected gives an error that wraps job.ErrUnavailable.
func (h *Hub) Output(ctx context.Context, task job.TaskID, follow bool, fn func(stream int, data []byte, leftOut int64) error) error {
	return h.outputs.read(ctx, task, follow, fn)
}

// Fires calls fn with what a minion's journal knows of fires that were due after an instant,
// or have ended after it. An error of fn ends it and is returned. A minion that is not
// connected gives an error that wraps job.ErrUnavailable; one of a release that does not
// tell, another. One whose journal does not know all since then gives what it knows, and an
// agentpb.IncompleteError.
func (h *Hub) Fires(ctx context.Context, minion job.MinionID, after time.Time, fn func(agentpb.KnownFire) error) error {
	return h.outputs.fires(ctx, minion, after, fn)
}

// LiveRuns lists the runs that this node's engine and all its peers' engines
// hold open, and the shards of which they are all. A peer that does not answer in
// time is left out: what the others have is returned together with an error.
func (h *Hub) LiveRuns(ctx context.Context, namespace, name string) ([]job.Run, []job.ShardID, error) {
	return h.queries.liveRuns(ctx, namespace, name)
}

// Status tells what the hub holds now.
func (h *Hub) Status() Status { return h.queries.status() }

// Statuses tells what the hubs of all nodes hold, ordered by node. A node that
// does not answer in time is left out: the others are returned together with an
// error.
func (h *Hub) Statuses(ctx context.Context) ([]Status, error) { return h.queries.statuses(ctx) }

// PeerClock reads a peer's clock by a round trip.
func (h *Hub) PeerClock(ctx context.Context, node job.NodeID) (clock.Reading, error) {
	return h.queries.peerClock(ctx, node)
}

// MinionClocks reads the clocks of minions that are connected here, of n at most.
func (h *Hub) MinionClocks(n int) []clock.Reading { return h.queries.minionClocks(n) }
