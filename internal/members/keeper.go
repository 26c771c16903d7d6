package members

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

const (
	// DefaultMost is how many members a cluster has at most: more would make writes
	// slower, and two may be lost of five.
	DefaultMost = 5

	// DefaultEvery is how often a node looks at the members, lookSoon how often while it
	// has something to do.
	DefaultEvery = 2 * time.Second
	lookSoon     = 300 * time.Millisecond
	// callTimeout bounds one request to etcd.
	callTimeout = 5 * time.Second
	// renewEvery is how often a node looks whether its certificate is to be renewed.
	renewEvery = time.Hour
)

// Config says which node this is. Node, DataDir, Keys and At must be given.
type Config struct {
	Node    job.NodeID
	DataDir string
	Keys    etcdkv.Keys
	// At is where its etcd is reached while it is a member.
	At Addresses
	// Hosts are the names and addresses by which other nodes reach it.
	Hosts []string
	// Most is how many members there are at most. Default DefaultMost.
	Most int
	// Pace is how fast members call one another lost. Zero: the defaults.
	Pace pace.Pace
	// Every is how often the node looks at the members. Default DefaultEvery.
	Every time.Duration
}

// Store is what a Keeper works with once the node has a connection to the members.
type Store struct {
	// Client is of the members.
	Client *clientv3.Client
	// Follow is told where the members are, whenever that changes.
	Follow func(endpoints []string)
	// Sign issues a certificate for a signing request (DER) of this node; both in DER,
	// with that of the authority.
	Sign func(csr []byte) (cert, ca []byte, err error)
}

// Keeper keeps a node what it is to be: a member of the cluster's own etcd, or a client
// of its members.
type Keeper struct {
	cfg   Config
	files *auth.NodeFiles
	log   *zap.Logger
	store Store // set before Run

	mu sync.Mutex
	// mu guards what follows.

	state  State
	server *Server // nil: no etcd runs here
	told   string  // what was logged last of what is waited for
	// apart: the etcd here turns clients away, or has ended. followed is what Follow was
	// told last.
	apart    bool
	followed []string
}

func newKeeper(cfg Config, log *zap.Logger) (*Keeper, error) {
	if cfg.Most == 0 {
		cfg.Most = DefaultMost
	}
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Pace == (pace.Pace{}) {
		cfg.Pace = pace.For(0)
	}
	files, err := openFiles(cfg.DataDir, cfg.Node, log)
	if err != nil {
		return nil, err
	}
	return &Keeper{cfg: cfg, files: files, log: log.Named("members")}, nil
}

func (k *Keeper) etcdDir() string { return filepath.Join(k.cfg.DataDir, etcdName) }

// Files are where the certificate is by which members are reached.
func (k *Keeper) Files() *auth.NodeFiles { return k.files }

// Endpoints are where members were reached last.
func (k *Keeper) Endpoints() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.state.Endpoints)
}

// Runs reports whether an etcd runs here.
func (k *Keeper) Runs() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running()
}

// running is Runs under the lock.
func (k *Keeper) running() bool {
	if k.server == nil {
		return false
	}
	select {
	case <-k.server.Ended():
		return false
	default:
		return true
	}
}

// Await waits until the etcd of this node serves, if one runs here: that takes a
// majority of the members, however long it is away. An etcd that has ended, since it
// was removed from the members, is waited for no longer.
func (k *Keeper) Await(ctx context.Context) error {
	k.mu.Lock()
	server := k.server
	k.mu.Unlock()
	if server == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if backoff.Sleep(ctx, callTimeout) {
			k.log.Warn("waiting for a majority of the members of etcd: start the nodes that are members", zap.Strings("members", k.Endpoints()))
		}
	}()
	if err := server.Ready(ctx); err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	return nil
}

// Use gives the Keeper what it works with: its client asks at Endpoints. It is called
// once, before Run.
func (k *Keeper) Use(s Store) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.store, k.followed = s, k.state.Endpoints
}

// Close ends the etcd of this node, if one runs.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop()
}

// stop is Close under the lock.
func (k *Keeper) stop() {
	if k.server != nil {
		k.server.Stop()
		k.server = nil
	}
}

// Run does what there is to do, step by step, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var renewed time.Time
	for {
		if time.Since(renewed) > renewEvery {
			renewed = time.Now()
			if err := k.renew(); err != nil {
				k.log.Warn("the certificate of the member was not renewed, trying again", zap.Error(err))
			}
		}
		settled, err := k.look(ctx)
		if err != nil && ctx.Err() == nil {
			k.tell("the members of etcd: " + err.Error())
		}
		wait := k.cfg.Every
		if !settled && err == nil {
			wait = min(wait, lookSoon)
		}
		if !k.pause(ctx, backoff.Jittered(wait)) {
			return nil
		}
	}
}

// pause waits, and no longer once the etcd here has ended: then clients go to the other
// members at once. It reports whether ctx still lives.
func (k *Keeper) pause(ctx context.Context, wait time.Duration) bool {
	k.mu.Lock()
	var ended <-chan struct{}
	if k.running() {
		ended = k.server.Ended()
	}
	k.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-ended:
		k.log.Warn("the etcd of this node has ended; the other members are asked")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.apart = true
		k.follow()
		k.stop() // watches that are open here go to others
	}
	return true
}

// follow has the clients ask where members are, under the lock: not here while the etcd
// here answers nobody, if there are others.
func (k *Keeper) follow() {
	to := k.state.Endpoints
	if k.apart {
		to = slices.DeleteFunc(slices.Clone(to), func(e string) bool { return e == k.cfg.At.ClientURL })
	}
	if len(to) == 0 || slices.Equal(to, k.followed) {
		return
	}
	k.followed = to
	k.store.Follow(to)
}

// tell logs what is waited for, once; empty: nothing is.
func (k *Keeper) tell(what string) {
	k.mu.Lock()
	again := what == k.told
	k.told = what
	k.mu.Unlock()
	if !again && what != "" {
		k.log.Info(what)
	}
}

// renew has the certificate renewed after half of its life, or when it is not good for
// a name by which others reach the node.
func (k *Keeper) renew() error {
	leaf, err := k.files.Leaf()
	if err != nil {
		return err
	}
	now := time.Now()
	good := leaf != nil && now.Before(leaf.NotAfter.Add(-auth.MemberTTL/2))
	for _, h := range k.cfg.Hosts {
		good = good && leaf.VerifyHostname(h) == nil
	}
	if good {
		return nil
	}
	csr, err := k.files.Request()
	if err != nil {
		return err
	}
	cert, ca, err := k.store.Sign(csr)
	if err != nil {
		return err
	}
	return k.files.Install(cert, ca)
}

// look looks at the members and does the next step, and reports whether there is none.
func (k *Keeper) look(ctx context.Context) (bool, error) {
	s, err := k.standing(ctx)
	if err != nil {
		return false, err
	}
	do, self, why := s.next()
	if do == stepNone || do == stepWait {
		k.tell(why)
		return true, nil
	}
	if err := k.do(ctx, do, self, s); err != nil {
		return false, fmt.Errorf("step %q: %w", do, err)
	}
	k.log.Info("step done", zap.String("step", string(do)), zap.Stringer("member", self.ID))
	return false, nil
}

// errElsewhere is returned when the endpoints are of another etcd than the data here.
var errElsewhere = errors.New("the endpoints lead to another etcd than the one that this data directory is of; the cluster was restored or made anew: see docs/production.md")

// standing reads what there is to know, and has the clients follow the members.
func (k *Keeper) standing(ctx context.Context) (*standing, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	listed, err := k.store.Client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list: %w", etcdkv.Unavailable(err))
	}
	got, err := k.store.Client.Get(ctx, k.cfg.Keys.EtcdNode(k.cfg.Node))
	if err != nil {
		return nil, fmt.Errorf("read: %w", etcdkv.Unavailable(err))
	}
	data, err := hasData(k.etcdDir())
	if err != nil {
		return nil, err
	}
	s := &standing{node: k.cfg.Node, peerURL: k.cfg.At.PeerURL, all: roster.Of(listed.Members), most: k.cfg.Most}
	if len(got.Kvs) > 0 {
		rec, err := etcdkv.Decode[etcdkv.EtcdNode](string(got.Kvs[0].Key), got.Kvs[0].Value)
		if err != nil {
			return nil, err
		}
		s.wanted = rec.Member
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	etcd := roster.ID(listed.Header.ClusterId).String()
	if k.state.Etcd != "" && k.state.Etcd != etcd {
		return nil, errElsewhere
	}
	if data {
		if s.own, err = roster.ParseID(k.state.Member); err != nil {
			return nil, fmt.Errorf("%s has the data of a member, and %s does not say of which: %w", k.etcdDir(), stateName, err)
		}
	}
	s.running = k.running()
	known := roster.Endpoints(s.all)
	if len(known) > 0 && (!slices.Equal(known, k.state.Endpoints) || k.state.Etcd != etcd) {
		next := k.state
		next.Endpoints, next.Etcd = known, etcd
		if err := k.keep(next); err != nil {
			return nil, err
		}
		k.log.Info("the members of etcd are others", zap.Strings("endpoints", known))
	}
	k.follow()
	return s, nil
}

// keep writes the state, under the lock.
func (k *Keeper) keep(next State) error {
	if err := next.write(k.cfg.DataDir); err != nil {
		return err
	}
	k.state = next
	return nil
}

func (k *Keeper) setMember(id roster.ID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.state
	next.Member = ""
	if id != 0 {
		next.Member = id.String()
	}
	return k.keep(next)
}

// do does a step. Each may be done again after a crash.
func (k *Keeper) do(ctx context.Context, what step, self roster.Member, s *standing) error {
	if what == stepStart {
		return k.begin(self, s)
	}
	if what == stepDiscard {
		k.log.Warn("this node's member was removed from etcd; its data is set aside", zap.String("to", asideName))
		k.Close()
		if err := setAside(k.cfg.DataDir); err != nil {
			return err
		}
		return k.setMember(0)
	}
	return k.change(ctx, what, func(ctx context.Context) error {
		// Another node may have changed something since.
		now, err := k.standing(ctx)
		if err != nil {
			return err
		}
		if again, m, _ := now.next(); again != what || m.ID != self.ID {
			return errMeanwhile
		}
		c := k.store.Client
		switch what {
		case stepAdd:
			added, err := c.MemberAddAsLearner(ctx, []string{k.cfg.At.PeerURL})
			if err != nil {
				return err
			}
			return k.setMember(roster.ID(added.Member.ID))
		case stepPromote:
			_, err = c.MemberPromote(ctx, uint64(self.ID))
		case stepMove:
			_, err = c.MemberUpdate(ctx, uint64(self.ID), []string{k.cfg.At.PeerURL})
		case stepReplace, stepLeave:
			if err := roster.KeepsMajority(now.all, self.ID, func(m roster.Member) bool { return roster.Answers(ctx, c, m) }); err != nil {
				return err
			}
			k.retire()
			if _, err = c.MemberRemove(ctx, uint64(self.ID)); err != nil {
				k.readmit()
			}
		default:
			err = fmt.Errorf("no such step %q", what)
		}
		return err
	})
}

// retire has clients ask the other members before this one is removed, so that nobody
// waits for an answer of one that is gone.
func (k *Keeper) retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running() {
		k.apart = true
		k.follow()
		k.server.retire()
	}
}

func (k *Keeper) readmit() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running() {
		k.server.readmit()
		k.apart = false
		k.follow()
	}
}

// begin starts the etcd of this node, from its data or as a new one.
func (k *Keeper) begin(self roster.Member, s *standing) error {
	if s.own == 0 {
		if err := k.setMember(self.ID); err != nil {
			return err
		}
	}
	initial := make([]string, 0, len(s.all))
	for _, m := range s.all {
		name := m.Name
		switch {
		case m.ID == self.ID:
			name = string(k.cfg.Node)
		case name == "":
			name = m.ID.String()
		}
		for _, u := range m.PeerURLs {
			initial = append(initial, name+"="+u)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop() // what is left of one that has ended
	return k.start(strings.Join(initial, ","))
}

// start starts etcd, under the lock.
func (k *Keeper) start(initial string) error {
	server, err := start(k.etcdDir(), string(k.cfg.Node), &netPlace{
		Addresses: k.cfg.At, cert: k.files.Cert(), key: k.files.Key(), ca: k.files.CA(), initial: initial, door: &door{}, pace: k.cfg.Pace,
	}, false, k.log)
	if err != nil {
		return err
	}
	k.server, k.apart = server, false
	return nil
}

// errMeanwhile is returned when another node has changed what a step goes by.
var errMeanwhile = errors.New("the members have changed meanwhile")

// change makes a change of the members, unless another one is being made.
func (k *Keeper) change(ctx context.Context, what step, do func(context.Context) error) error {
	err := roster.Change(ctx, k.store.Client, k.cfg.Keys, etcdkv.EtcdChange{Node: k.cfg.Node, What: string(what)}, do)
	if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		return errors.New("the learner has not caught up yet")
	}
	return err
}
