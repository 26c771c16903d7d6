package agentpush

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/internal/fieldrange"
	"github.com/carillon-cron/carillon/job"
)

// Hub holds the sessions of the minions that are connected to this node, and
// links to its peers. All methods may be called by many goroutines.
type Hub struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	met  *metrics

	// frames checks what minions send.
	frames *fieldrange.Checker
	topics *topics

	inventory *Inventory
	presence  *presence
	registrar *registrar
	retries   *retries
	// texts and outputs are what is held of them for all sessions, fetching how
	// many fetches are being answered.
	texts, outputs budget
	fetching       atomic.Int32
	pace           pace
	balance        balance

	connected atomic.Int64
	epoch     atomic.Int64
	draining  atomic.Bool
	requests  atomic.Uint64
	updates   atomic.Pointer[updates]

	// life ends with Run: it is the lifetime of every goroutine that the hub
	// starts on demand.
	life context.Context
	stop context.CancelCauseFunc

	running sync.WaitGroup
	gate    sync.RWMutex
	// gate guards closed: no goroutine starts once it is set.
	closed bool

	mu sync.RWMutex
	// mu guards what follows.
	channels map[job.MinionID]*channel
	links    map[job.NodeID]*link
	conns    map[string]*grpc.ClientConn
	sent     map[job.MinionID]sending
}

// pushServer and peerServer keep the wire's methods off the Hub.
type pushServer struct {
	agentpb.UnimplementedPushServer
	h *Hub
}

type peerServer struct {
	agentpb.UnimplementedPeerServer
	h *Hub
}

// New returns a Hub. It serves once it is registered at a gRPC server and Run
// is called.
func New(cfg Config, deps Deps) (*Hub, error) {
	cfg = cfg.filled()
	if err := errors.Join(cfg.check(), deps.check()); err != nil {
		return nil, err
	}
	if deps.Clock == nil {
		deps.Clock = boottime.Now
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Witness == nil {
		deps.Witness = func() (int64, bool) { return time.Now().UnixNano(), true }
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	h := &Hub{
		cfg: cfg, deps: deps, log: deps.Logger.Named("agentpush"),
		inventory: newInventory(cfg.Node),
		topics:    newTopics(cfg.TopicDepth),
		channels:  map[job.MinionID]*channel{},
		links:     map[job.NodeID]*link{},
		conns:     map[string]*grpc.ClientConn{},
		sent:      map[job.MinionID]sending{},
	}
	var err error
	if h.frames, err = newFrames(); err != nil {
		return nil, err
	}
	if h.met, err = newMetrics(deps.Metrics); err != nil {
		return nil, err
	}
	h.life, h.stop = context.WithCancelCause(context.Background())
	h.epoch.Store(cfg.SessionBase << 20)
	h.presence = newPresence()
	h.registrar = newRegistrar()
	h.retries = newRetries()
	h.texts.limit, h.outputs.limit = allTextBytes, outputBytes
	h.inventory.trusting = deps.Caller == nil
	h.inventory.moved, h.inventory.gone = h.moved, h.nodeGone
	if deps.Revoked != nil {
		h.inventory.out = deps.Revoked
	}
	return h, nil
}

// now is the time, by the clock of most where the hub is told of it.
func (h *Hub) now() time.Time { return h.deps.Now() }

// Register adds the services for minions and peers to a gRPC server, which
// must be made with ServerOptions.
func (h *Hub) Register(r grpc.ServiceRegistrar) {
	agentpb.RegisterPushServer(r, pushServer{h: h})
	agentpb.RegisterPeerServer(r, peerServer{h: h})
}

// Run serves until ctx is done; then it ends all sessions and links, and
// returns when all its goroutines have ended. It is called once.
func (h *Hub) Run(ctx context.Context) error {
	h.spawn(func() { h.presence.run(h.life, h) })
	h.spawn(func() { h.registrar.run(h.life, h) })
	h.spawn(h.sweep)
	<-ctx.Done()
	h.stop(errStopping)
	h.gate.Lock()
	h.closed = true
	h.gate.Unlock()
	h.running.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for addr, conn := range h.conns {
		if err := conn.Close(); err != nil {
			h.log.Debug("close connection to peer", zap.String("addr", addr), zap.Error(err))
		}
	}
	clear(h.conns)
	return nil
}

// enter counts a goroutine that is not the hub's own; it reports false when the
// hub has stopped. The caller calls running.Done when it is through.
func (h *Hub) enter() bool {
	h.gate.RLock()
	defer h.gate.RUnlock()
	if h.closed {
		return false
	}
	h.running.Add(1)
	return true
}

// spawn runs f in a goroutine that Run waits for; it reports false, and does
// not run f, when the hub has stopped.
func (h *Hub) spawn(f func()) bool {
	if !h.enter() {
		return false
	}
	go func() {
		defer h.running.Done()
		f()
	}()
	return true
}

// Inventory returns what this node knows of all minions; the app feeds it.
func (h *Hub) Inventory() *Inventory { return h.inventory }

// Match returns the ids of the connected minions that the target admits,
// sorted. The result is shared: it must not be changed.
func (h *Hub) Match(t job.Target) []job.MinionID { return h.inventory.match(t) }

// Connected reports whether the minion is connected to any node.
func (h *Hub) Connected(id job.MinionID) bool { return h.inventory.place(id) != "" }

// Send brings orders to their minions. It does not block. Every order ends:
// its minion takes it and reports, or a report of this hub, or of a peer's,
// says what became of it on its way.
func (h *Hub) Send(orders []job.Order) {
	now := h.now().UnixNano()
	msgs := make([]*message, len(orders))
	for i := range orders {
		msgs[i] = h.newMessage(agentpb.FromOrder(&orders[i]), now)
	}
	h.deliver(msgs)
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
	h.deliver(msgs)
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
	h.deliver(msgs)
}

// Ack tells minions that their reports are durable. It does not block. One that
// does not arrive is made good by the minion's next report.
func (h *Hub) Ack(tasks []job.TaskID) {
	ids := make([]*agentpb.TaskID, len(tasks))
	for i, t := range tasks {
		ids[i] = agentpb.FromTask(t)
	}
	h.ack(ids, false)
}

// sweep looks at expiry, beats and waiting messages until the hub stops.
func (h *Hub) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	sweeps := 0
	for {
		select {
		case <-h.life.Done():
			return
		case <-tick.C:
			now := h.now().UnixNano()
			sweeps++
			h.sweepOnce(now, sweeps%quietSweeps == 0)
			if now-h.balance.looked >= int64(h.cfg.RebalanceAfter/10) {
				h.balance.looked = now
				h.rebalance(now)
			}
		}
	}
}

// quietSweeps is how many sweeps pass over a channel with which nothing is:
// nearly all minions are idle.
const quietSweeps = 5

// sweepOnce looks at the channels, at those with which nothing is if all is set.
func (h *Hub) sweepOnce(now int64, all bool) {
	silent := now - int64(h.cfg.BeatEvery)*int64(h.cfg.BeatMisses)
	for _, c := range h.allChannels() {
		if all || !c.quiet.Load() {
			h.sweepChannel(c, now, silent)
		}
	}
	for _, l := range h.allLinks() {
		h.finish(l.overdue(now))
	}
	h.retry(now)
	h.forgetSent()
	h.pace.tick(time.Unix(0, now))
}

func (h *Hub) allChannels() []*channel {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*channel, 0, len(h.channels))
	for _, c := range h.channels {
		out = append(out, c)
	}
	return out
}

func (h *Hub) allLinks() []*link {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*link, 0, len(h.links))
	for _, l := range h.links {
		out = append(out, l)
	}
	return out
}

func (h *Hub) sweepChannel(c *channel, now, silent int64) {
	c.mu.Lock()
	ends := c.topic.expire(now)
	late := c.overdue(now)
	h.strike(c, ends)
	h.strike(c, late)
	h.probe(c, now)
	h.assess(c, now)
	s, waits := c.session, c.topic.len() > 0
	var untold *agentpb.Inventory
	if s != nil && s.untold != nil && s.descriptions.use(time.Unix(0, now)) {
		untold, s.untold = s.untold, nil
	}
	c.quiet.Store(s != nil && !waits && !c.offered && s.trouble.missed == 0 && s.trouble.reason == "" && s.untold == nil && !s.texts.wait())
	c.mu.Unlock()
	if untold != nil {
		h.redescribe(s, untold)
	}
	h.finish(ends)
	h.finish(late)
	switch {
	case s == nil && waits:
		h.moved(c.id)
	case s == nil:
		h.forget(c)
	case s.seen.Load() < silent:
		s.close(errSilent)
	case s.texts.stuck(now - int64(h.cfg.StallAfter)):
		s.close(errUnread)
	}
}

// perDrain is how long a draining node takes for each of its minions, and
// longestDrain for all of them, so that the others are not overrun.
const (
	perDrain     = time.Millisecond
	longestDrain = 30 * time.Second
)

// Drain asks all minions to connect elsewhere, spread over the given time or,
// where there are many and there is an elsewhere, a longer one, and takes no new
// ones. It returns when they have left, when the time is over, or when ctx is
// done.
func (h *Hub) Drain(ctx context.Context, within time.Duration) {
	h.draining.Store(true)
	own, _ := h.deps.Directory.PeerAddr(h.cfg.Node)
	servers := slices.DeleteFunc(slices.Clone(h.deps.Directory.Servers()), func(a string) bool { return a == own })
	if len(servers) > 0 {
		within = max(within, min(time.Duration(h.connected.Load())*perDrain, longestDrain))
	}
	// The minions spread themselves over the time that they are given.
	h.sendAway(h.allChannels(), servers, within/2)
	over := time.NewTimer(within)
	defer over.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for h.connected.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-h.life.Done():
			return
		case <-over.C:
			return
		case <-tick.C:
		}
	}
}
