package lock

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

var (
	linearFor  = flag.Duration("linear-for", 6*time.Second, "how long each history is")
	linearSeed = flag.Uint64("linear-seed", 0, "seed of the faults; 0: those of every run")
)

// What a client does, as the model sees it.
type linearKind int

const (
	opLock  linearKind = iota // got the lock, by token
	opEnd                     // the hold is over: unlocked, or lost
	opWrite                   // a write that compares the fence
	opBreak                   // somebody broke the hold of token
)

type linearInput struct {
	kind  linearKind
	token int64
}

// linearModel is a fenced lock: at most one holder, tokens that rise, and writes
// that succeed exactly under the holder's token.
func linearModel() porcupine.Model {
	type state struct{ holder, last int64 }
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, out any) (bool, any) {
			st, op := s.(state), in.(linearInput)
			ok, _ := out.(bool)
			switch op.kind {
			case opLock:
				return st.holder == 0 && op.token > st.last, state{op.token, op.token}
			case opWrite:
				return ok == (st.holder == op.token), st
			case opBreak, opEnd:
				if st.holder == op.token {
					return true, state{0, st.last}
				}
				return op.kind == opEnd, st // broken before it ended
			}
			return false, st
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprint(in, out) },
	}
}

// recorder gathers a history on one clock.
type recorder struct {
	begun time.Time

	mu  sync.Mutex // guards ops
	ops []porcupine.Operation
}

func (r *recorder) now() int64 { return int64(time.Since(r.begun)) }

// broken reports whether somebody may have broken the hold.
func (r *recorder) broken(token int64) bool {
	for _, op := range r.ops {
		in := op.Input.(linearInput)
		if in.token == token && (in.kind == opBreak || in.kind == opEnd && op.ClientId == breakerID) {
			return true
		}
	}
	return false
}

// enoughLocks is how many holds a history needs to show something.
const enoughLocks = 5

// locks returns how many holds there have been.
func (r *recorder) locks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, n := r.known()
	return n
}

// known returns the operations on holds that a client knew of, and how many
// such holds there were. A hold may be granted to a client that has just given
// up, and is cleaned up then; it may be broken in between.
func (r *recorder) known() (ops []porcupine.Operation, locks int) {
	got := map[int64]bool{}
	for _, op := range r.ops {
		if in := op.Input.(linearInput); in.kind == opLock {
			got[in.token] = true
		}
	}
	for _, op := range r.ops {
		if in := op.Input.(linearInput); got[in.token] {
			ops = append(ops, op)
		}
	}
	return ops, len(got)
}

// forever is the return of what may happen at any time after its call.
const forever = math.MaxInt64

func (r *recorder) add(client int, call, ret int64, in linearInput, out bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret})
}

// resource is something outside etcd that keeps the highest token it has seen.
type resource struct {
	mu       sync.Mutex // guards all below
	highest  int64
	rejected map[int64]int64 // token to the highest before it
}

func (r *resource) use(token int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if token < r.highest {
		r.rejected[token] = r.highest
	}
	r.highest = max(r.highest, token)
}

// contestant is one client that locks over and over, through a proxy.
type contestant struct {
	id     int
	proxy  *netproxy.Proxy
	client *clientv3.Client
	prefix string
	rec    *recorder
	res    *resource
	rnd    *rand.Rand
	opts   MutexOptions
}

func (c *contestant) run(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := Open(ctx, SessionConfig{Holder: fmt.Sprint("client ", c.id), TTL: 2 * time.Second, Epoch: 1, Marks: c.prefix + "marks/"}, Deps{Client: c.client})
		if err != nil {
			continue
		}
		for ctx.Err() == nil && s.Err() == nil {
			c.turn(ctx, s)
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
		_ = s.Close(bounded) // goes on in the background
		cancel()
	}
}

// turn locks once, works, and unlocks.
func (c *contestant) turn(ctx context.Context, s *Session) {
	m, err := NewMutex(s, c.prefix+"lock", c.opts)
	if err != nil {
		panic(err)
	}
	patient, cancel := context.WithTimeout(ctx, time.Duration(100+c.rnd.IntN(2000))*time.Millisecond)
	defer cancel()
	call := c.rec.now()
	h, err := m.Lock(patient)
	if err != nil {
		return // it has left nothing behind: nobody else would get the lock
	}
	token := h.Token().Revision
	c.rec.add(c.id, call, c.rec.now(), linearInput{opLock, token}, true)
	held, stop := h.Context(ctx)
	defer stop()
	over := make(chan int64, 1)
	context.AfterFunc(held, func() { over <- c.rec.now() })
	for end := time.Now().Add(time.Duration(c.rnd.IntN(40)) * time.Millisecond); time.Now().Before(end) && held.Err() == nil; {
		c.work(held, h)
	}
	if c.rnd.IntN(8) == 0 { // hold it until it is lost, or a while
		select {
		case <-held.Done():
		case <-time.After(time.Duration(c.rnd.IntN(2500)) * time.Millisecond):
		}
	}
	call = c.rec.now()
	if held.Err() != nil && ctx.Err() == nil {
		// Lost: the server may free it from then on, and nobody knows when.
		c.rec.add(c.id, min(call, <-over), forever, linearInput{opEnd, token}, true)
		_ = h.Unlock(patient)
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	ret := int64(forever)
	if err := h.Unlock(bounded); err == nil || errors.Is(err, ErrFenced) {
		ret = c.rec.now()
	}
	c.rec.add(c.id, call, ret, linearInput{opEnd, token}, true)
}

// work uses the resource, and writes to etcd, under the hold.
func (c *contestant) work(ctx context.Context, h *Hold) {
	if h.Held() {
		c.res.use(h.Token().Revision)
	}
	call := c.rec.now()
	bounded, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	r, err := c.client.Txn(bounded).If(h.Fence()).Then(clientv3.OpPut(c.prefix+"data", "x")).Commit()
	if err == nil && ctx.Err() == nil {
		c.rec.add(c.id, call, c.rec.now(), linearInput{opWrite, h.Token().Revision}, r.Succeeded)
	}
}

// nemesis makes one network after another fail.
func nemesis(ctx context.Context, all []*contestant, rnd *rand.Rand) {
	for ctx.Err() == nil {
		c := all[rnd.IntN(len(all))]
		ms := func(from, to int) time.Duration { return time.Duration(from+rnd.IntN(to-from)) * time.Millisecond }
		last := ms(200, 900)
		switch rnd.IntN(5) {
		case 0:
			c.proxy.Blackhole()
			last = ms(1500, 3500) // longer than the lease
		case 1:
			c.proxy.DropReplies()
		case 2:
			c.proxy.Delay(ms(20, 300))
		case 3:
			c.proxy.Drop()
		case 4:
			c.proxy.Refuse()
		}
		rest(ctx, last)
		c.proxy.Heal()
		rest(ctx, ms(50, 400))
	}
}

// breakerID is the breaker among the clients.
const breakerID = 99

// breaker breaks a hold now and then.
func breaker(ctx context.Context, client *clientv3.Client, prefix string, rec *recorder, rnd *rand.Rand) {
	for ctx.Err() == nil {
		rest(ctx, time.Duration(500+rnd.IntN(1000))*time.Millisecond)
		st, err := Inspect(ctx, client, prefix+"lock")
		if err != nil || len(st.Holders) == 0 {
			continue
		}
		token := st.Holders[0].Token.Revision
		call := rec.now()
		if err := Break(ctx, client, prefix+"lock", token); err == nil {
			rec.add(breakerID, call, rec.now(), linearInput{opBreak, token}, true)
		} else if !errors.Is(err, ErrFenced) {
			rec.add(breakerID, call, forever, linearInput{opEnd, token}, true) // nobody knows
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestLinear checks histories of clients whose networks fail: that they could be
// those of a lock with one holder, rising tokens and working fences (I1, I2, I3,
// I6), and that a resource that keeps the highest token never has to refuse
// anybody who believed to hold the lock.
func TestLinear(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2, 3}
	if *linearSeed != 0 {
		seeds = []uint64{*linearSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			linear(t, seed)
		})
	}
}

func linear(t *testing.T, seed uint64) {
	t.Helper()
	server := shared.Server(t)
	prefix := etcdtest.Prefix(t)
	rec, res := &recorder{begun: time.Now()}, &resource{rejected: map[int64]int64{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A busy machine needs longer until there is something to see.
	time.AfterFunc(*linearFor, func() {
		for ctx.Err() == nil && rec.locks() < enoughLocks {
			rest(ctx, 100*time.Millisecond)
		}
		cancel()
	})
	var all []*contestant
	for i := range 4 {
		proxy := netproxy.New(t, server.Endpoints[0])
		c := &contestant{
			id: i, proxy: proxy, client: etcdtest.Dial(t, proxy.Endpoint()), prefix: prefix, rec: rec, res: res,
			rnd: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		if i == 0 {
			c.opts.Priority = 1
		}
		all = append(all, c)
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Go(func() { nemesis(ctx, all, rand.New(rand.NewPCG(seed, 100))) })
	wg.Go(func() {
		breaker(ctx, server.Client(t), prefix, rec, rand.New(rand.NewPCG(seed, 101)))
	})
	wg.Wait()
	for _, c := range all {
		c.proxy.Heal()
	}
	ops, locks := rec.known()
	t.Logf("seed %d: %d operations, %d locks", seed, len(ops), locks)
	if locks < enoughLocks {
		t.Errorf("only %d locks: nothing is shown", locks)
	}
	for token, before := range res.rejected {
		if !rec.broken(token) { // who is cut off learns of a break at its deadline only
			t.Errorf("seed %d: the resource had to refuse a holder: token %d after %d", seed, token, before)
		}
	}
	switch porcupine.CheckOperationsTimeout(linearModel(), ops, 0) {
	case porcupine.Illegal:
		t.Errorf("seed %d: the history is not that of a fenced lock; go test ./lock -run TestLinear -linear-seed %d", seed, seed)
		for _, op := range ops {
			t.Logf("client %d %v %v: %v to %v", op.ClientId, op.Input, op.Output, time.Duration(op.Call), time.Duration(op.Return))
		}
	case porcupine.Unknown, porcupine.Ok: // it is never unknown without a limit
	}
}
