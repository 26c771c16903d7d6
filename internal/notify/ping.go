package notify

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// Ping tells a check of a run.
func (s *Sender) Ping(ctx context.Context, c *job.PingCall) error {
	to, err := s.address(&job.Notifier{Metadata: job.Metadata{Namespace: c.Job.Namespace}}, c.Ping.URL, c.Ping.URLFile)
	if err != nil {
		return err
	}
	u, err := url.Parse(to)
	if err != nil {
		return &failure{err: errors.New("the check's address cannot be read"), forGood: true}
	}
	if c.Event != "" {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/" + string(c.Event)
		u.RawPath = ""
	}
	q := u.Query()
	q.Set("rid", pingID(c.Run))
	u.RawQuery = q.Encode()
	return s.post(ctx, u.String(), http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(strings.ToValidUTF8(c.Text, "?")))
}

// pingID is a run's id as checks want it: a UUID, the same for its start and its end.
func pingID(run job.RunID) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("carillon-run:"+string(run))).String()
}

// Bounds of pings: calls at a time, per address; those that wait, per such lane and in
// all; and the tries of each.
const (
	pingLanes    = 4
	maxPings     = 500
	maxPingsHere = 10000
	maxPingCalls = 64
)

func pingPauses() []time.Duration { return []time.Duration{time.Second, 5 * time.Second} }

// Pinger tells checks of runs, in the order in which each job's began and ended. What waits
// is bounded and lies in memory: a ping is lost with its node, and when its check does not
// answer three times. A check that hears nothing says so itself.
type Pinger struct {
	send func(context.Context, *job.PingCall) error
	log  *zap.Logger
	told *prometheus.CounterVec

	mu    sync.Mutex // guards what follows
	lanes map[string][]*job.PingCall
	wait  int
	wake  chan struct{}
	fresh []string // lanes that nobody sees to yet
}

// NewPinger returns a Pinger. It tells once Run is called.
func NewPinger(send func(context.Context, *job.PingCall) error, logger *zap.Logger, metrics prometheus.Registerer) (*Pinger, error) {
	p := &Pinger{
		send: send, log: logger.Named("ping"), lanes: map[string][]*job.PingCall{}, wake: make(chan struct{}, 1),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_pings_total", Help: "What checks of jobs were to be told, by what became of it: told, failed, dropped.",
		}, []string{"result"}),
	}
	if metrics == nil {
		return p, nil
	}
	return p, metrics.Register(p.told)
}

// laneOf is what a ping waits behind: those to the same address, of a share of the jobs.
func laneOf(c *job.PingCall) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.Job.String()))
	at := c.Job.Namespace + "/" + c.Ping.URLFile
	if u, err := url.Parse(c.Ping.URL); err == nil && u.Host != "" {
		at = u.Host
	}
	return at + "#" + string('0'+rune(h.Sum32()%pingLanes))
}

// Ping has a check told. It does not block; what is too much is dropped, and counted.
func (p *Pinger) Ping(c job.PingCall) {
	lane := laneOf(&c)
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, known := p.lanes[lane]
	if len(waiting) >= maxPings || p.wait >= maxPingsHere {
		p.told.WithLabelValues("dropped").Inc()
		return
	}
	p.lanes[lane] = append(waiting, &c)
	p.wait++
	if !known {
		p.fresh = append(p.fresh, lane)
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Run tells checks until ctx ends.
func (p *Pinger) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	calls := make(chan struct{}, maxPingCalls)
	for {
		p.mu.Lock()
		fresh := p.fresh
		p.fresh = nil
		p.mu.Unlock()
		for _, lane := range fresh {
			wg.Go(func() { p.follow(ctx, lane, calls) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

// follow tells what waits in a lane until it is empty.
func (p *Pinger) follow(ctx context.Context, lane string, calls chan struct{}) {
	for {
		p.mu.Lock()
		waiting := p.lanes[lane]
		if len(waiting) == 0 || ctx.Err() != nil {
			p.wait -= len(waiting)
			delete(p.lanes, lane)
			p.mu.Unlock()
			return
		}
		c := waiting[0]
		waiting[0] = nil
		p.lanes[lane] = waiting[1:]
		p.wait--
		p.mu.Unlock()
		p.tell(ctx, c, calls)
	}
}

func (p *Pinger) tell(ctx context.Context, c *job.PingCall, calls chan struct{}) {
	for try := 0; ; try++ {
		select {
		case calls <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := p.send(ctx, c)
		<-calls
		var failed *failure
		switch {
		case err == nil:
			p.told.WithLabelValues("told").Inc()
			return
		case ctx.Err() != nil:
			return
		case try == len(pingPauses()) || errors.As(err, &failed) && failed.forGood:
			p.told.WithLabelValues("failed").Inc()
			p.log.Warn("check not told", zap.Stringer("job", c.Job), zap.String("run", string(c.Run)), zap.String("event", string(c.Event)), zap.Error(err))
			return
		}
		if !backoff.Sleep(ctx, backoff.Jittered(pingPauses()[try])) {
			return
		}
	}
}
