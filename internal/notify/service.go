package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/job"
)

// Config says in which cluster this is. Keys and Shards must be set.
type Config struct {
	Keys   etcdkv.Keys
	Shards int
}

// Owned is the ownership of a shard; see scheduler.Owned.
type Owned interface {
	Fence() clientv3.Cmp
	Held() bool
}

// Deps is what a Service works with. Client, Send and Logger must be set.
type Deps struct {
	Client *clientv3.Client
	// Send sends a message; Sender does.
	Send func(context.Context, *job.Notifier, *message.Message) error
	// Lost tells which parts of the cluster are lost, right now. Nil: nobody is told of
	// the cluster.
	Lost func(context.Context) ([]Lost, error)
	// Closed tells until when a calendar is closed; zero: it is open. Nil: all are.
	Closed  func(calendar job.Key, at time.Time) time.Time
	Logger  *zap.Logger
	Metrics prometheus.Registerer
	// Now is the time. Nil: time.Now.
	Now func() time.Time
}

// MaxCalls is how many messages of all notifiers a node sends at a time.
const MaxCalls = 32

// Service delivers the alerts of the notifiers whose shards this node owns. Use New. All
// methods may be called by many goroutines.
type Service struct {
	cfg   Config
	deps  Deps
	log   *zap.Logger
	sent  *prometheus.CounterVec
	calls chan struct{}

	notifiers *etcdkv.Map[etcdkv.StoredNotifier]
	notes     *etcdkv.Map[etcdkv.AlertNote]

	mu sync.Mutex
	// mu guards what follows. changed is closed, and made anew, when one of the views has
	// changed; desks are told of deliveries that somebody has sent again.
	changed chan struct{}
	desks   map[job.Key]*desk
}

// New returns a Service. It delivers once Run is called.
func New(cfg Config, deps Deps) (*Service, error) {
	if cfg.Keys == (etcdkv.Keys{}) || cfg.Shards <= 0 {
		return nil, errors.New("notify: Keys and Shards must be set")
	}
	if deps.Client == nil || deps.Send == nil || deps.Logger == nil {
		return nil, errors.New("notify: Client, Send and Logger must be set")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Closed == nil {
		deps.Closed = func(job.Key, time.Time) time.Time { return time.Time{} }
	}
	s := &Service{
		cfg: cfg, deps: deps, log: deps.Logger.Named("notify"), calls: make(chan struct{}, MaxCalls),
		changed: make(chan struct{}), desks: map[job.Key]*desk{},
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_notify_deliveries_total", Help: "Alerts on their way to receivers, by what became of a try: delivered, retrying, failed, dropped.",
		}, []string{"state"}),
	}
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(s.sent); err != nil {
			return nil, err
		}
	}
	s.notifiers = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredNotifier], s.onChange)
	s.notes = etcdkv.NewMap(etcdkv.Decode[etcdkv.AlertNote], s.onChange)
	return s, nil
}

// Run keeps the views of notifiers, notes and deliveries current until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	run := func(fn func() error) {
		wg.Go(func() {
			if err := fn(); err != nil {
				cancel(err)
			}
		})
	}
	run(func() error { return s.notifiers.Run(ctx, s.deps.Client, s.cfg.Keys.Notifiers()) })
	run(func() error { return s.notes.Run(ctx, s.deps.Client, s.cfg.Keys.AlertNotes()) })
	run(func() error { return etcdkv.Follow(ctx, s.deps.Client, s.cfg.Keys.Deliveries(), s.onDeliveries) })
	wg.Wait()
	return context.Cause(ctx)
}

func (s *Service) onChange() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// onDeliveries hands deliveries that were written to their desks, if they are here.
func (s *Service) onDeliveries(b etcdkv.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.desks) == 0 {
		return nil
	}
	for _, e := range b.Events {
		notifier, _, ok := s.cfg.Keys.ParseDelivery(e.Key)
		if d := s.desks[notifier]; ok && d != nil && e.Value != nil {
			d.hear(e.Key, e.Value)
		}
	}
	return nil
}

// running is a desk, what ends it, and what it was begun with.
type running struct {
	*desk
	stop context.CancelFunc
	done chan struct{}
	rev  int64
}

func (r *running) end() {
	r.stop()
	<-r.done
}

// Hold delivers the alerts of a shard's notifiers until ctx ends, which is when the shard's
// lock is lost or passed on, and returns when all has ended.
func (s *Service) Hold(ctx context.Context, id job.ShardID, own Owned) {
	here := map[job.Key]*running{}
	if id == 0 && s.deps.Lost != nil {
		var wg sync.WaitGroup
		defer wg.Wait()
		l := &lookout{s: s, own: own, log: s.log}
		wg.Go(func() { l.run(ctx) })
	}
	defer func() {
		for _, r := range here {
			r.stop()
		}
		for key, r := range here {
			<-r.done
			s.close(key, r.desk)
		}
	}()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		all, _ := s.notifiers.Snapshot()
		wanted := map[job.Key]etcdkv.Entry[etcdkv.StoredNotifier]{}
		for _, e := range all {
			if key := e.Value.Key(); etcdkv.ShardOf(key, s.cfg.Shards) == id {
				wanted[key] = e
			}
		}
		for key, r := range here {
			if e, ok := wanted[key]; !ok || e.ModRevision != r.rev {
				r.end()
				s.close(key, r.desk)
				delete(here, key)
			}
		}
		for key, e := range wanted {
			if here[key] == nil {
				here[key] = s.open(ctx, own, key, e)
			}
		}
		notes := s.notesFor(id)
		for key, of := range notes {
			if r := here[key]; r != nil {
				r.note(of)
			} else if own.Held() {
				s.dropNotes(ctx, own, key)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// notesFor are the keys of the notes of a shard's notifiers.
func (s *Service) notesFor(id job.ShardID) map[job.Key][]string {
	var out map[job.Key][]string
	all, _ := s.notes.Snapshot()
	for key := range all {
		if to, ok := s.cfg.Keys.ParseAlertNote(key); ok && etcdkv.ShardOf(to, s.cfg.Shards) == id {
			if out == nil {
				out = map[job.Key][]string{}
			}
			out[to] = append(out[to], key)
		}
	}
	return out
}

// dropNotes removes notes of a notifier that there is no more.
func (s *Service) dropNotes(ctx context.Context, own Owned, key job.Key) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := s.deps.Client.Txn(ctx).
		If(own.Fence(), clientv3.Compare(clientv3.CreateRevision(s.cfg.Keys.Notifier(key)), "=", 0)).
		Then(clientv3.OpDelete(s.cfg.Keys.AlertNotesOf(key), clientv3.WithPrefix())).Commit()
	if err != nil && ctx.Err() == nil {
		s.log.Warn("notes of a notifier that is gone are not removed yet", zap.Stringer("notifier", key), zap.Error(err))
	}
}

func (s *Service) open(ctx context.Context, own Owned, key job.Key, e etcdkv.Entry[etcdkv.StoredNotifier]) *running {
	ctx, stop := context.WithCancel(ctx)
	n := e.Value.Notifier
	d := newDesk(s, &n, own)
	r := &running{desk: d, stop: stop, done: make(chan struct{}), rev: e.ModRevision}
	s.mu.Lock()
	s.desks[key] = d
	s.mu.Unlock()
	go func() {
		defer close(r.done)
		d.run(ctx)
	}()
	return r
}

func (s *Service) close(key job.Key, d *desk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.desks[key] == d {
		delete(s.desks, key)
	}
}
