package queue_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

var (
	linearFor  = flag.Duration("linear-for", 1500*time.Millisecond, "how long each history is at least")
	linearSeed = flag.Uint64("linear-seed", 0, "seed of the faults; 0: those of every run")
)

// What is done with an item, as the model sees it.
type linearKind int

const (
	opPut   linearKind = iota // it is put
	opClaim                   // a worker has got it, by token
	opDone                    // the worker settles its claim
	opFail                    // the same, to be tried again
	opLose                    // the worker of the claim is lost
)

// How a settlement ended.
const (
	wasDone    = iota
	wasRefused // with ErrLost
	isUnknown  // the answer is lost
)

type linearInput struct {
	kind    linearKind
	item    string
	token   int64
	attempt int
}

// linearItem is an item to the model: put, in the hands of a holder, gone.
type linearItem struct {
	put, gone    bool
	holder, last int64
}

// linearModel is a queue in which each item is in at most one worker's hands, under tokens
// that rise, and goes exactly by a settlement of its holder (Q1, Q2, Q3).
func linearModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, op := range all {
				id := op.Input.(linearInput).item
				by[id] = append(by[id], op)
			}
			var out [][]porcupine.Operation
			for _, ops := range by {
				out = append(out, ops)
			}
			return out
		},
		Init: func() []any { return []any{linearItem{}} },
		Step: func(s, in, out any) []any {
			st, op := s.(linearItem), in.(linearInput)
			how, _ := out.(int)
			holds := st.holder == op.token && st.holder != 0
			after := st
			switch op.kind {
			case opPut:
				if how == isUnknown {
					return []any{st, linearItem{put: true}}
				}
				return []any{linearItem{put: true}}
			case opClaim:
				if !st.put || st.gone || st.holder != 0 || op.token <= st.last {
					return nil
				}
				return []any{linearItem{put: true, holder: op.token, last: op.token}}
			case opLose:
				if holds {
					after.holder = 0
				}
				return []any{after}
			case opDone, opFail:
				after.holder, after.gone = 0, op.kind == opDone
			}
			switch {
			case how == wasDone && holds:
				return []any{after}
			case how == wasRefused && !holds:
				return []any{st}
			case how == isUnknown && holds:
				return []any{st, after}
			case how == isUnknown:
				return []any{st}
			}
			return nil
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(in, out any) string { return fmt.Sprint(in, out) },
	}
	return m.ToModel()
}

// linearClaim is a call of Claim. failed: what it got is not known.
type linearClaim struct {
	call, ret int64
	failed    bool
	got       []queue.Claimed
}

// linearPut is an item that was put, in a call.
type linearPut struct {
	queue.Item
	call, ret int64
	sure      bool
}

// linearRecorder gathers a history on one clock.
type linearRecorder struct {
	begun time.Time

	mu     sync.Mutex // guards all below
	ops    []porcupine.Operation
	puts   []linearPut
	claims []linearClaim
	// lost is when the worker of a claim was known to be lost, by token and item.
	lost map[linearInput]int64
}

const forever = math.MaxInt64

func (r *linearRecorder) now() int64 { return int64(time.Since(r.begun)) }

func (r *linearRecorder) add(client int, call, ret int64, in linearInput, out int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if out == isUnknown {
		ret = forever
	}
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret})
}

func (r *linearRecorder) addClaim(client int, c linearClaim) {
	for i := range c.got {
		x := &c.got[i]
		r.add(client, c.call, c.ret, linearInput{opClaim, x.ID, x.Receipt.Marker, x.Attempt}, wasDone)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims = append(r.claims, c)
}

func (r *linearRecorder) count() (puts, claims int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.claims {
		claims += len(r.claims[i].got)
	}
	return len(r.puts), claims
}

// linearDispatcher is a dispatcher. over is since when another one has its lock; 0: none.
type linearDispatcher struct {
	*queue.Queue
	over atomic.Int64
}

// linearCluster is a queue with dispatchers that take turns, and workers that die.
type linearCluster struct {
	t      *testing.T
	name   string
	rec    *linearRecorder
	server *etcdtest.Server
	client *clientv3.Client // of those who put, and of leases
	// here is the dispatcher that has the lock, and before the one that had it.
	here, before atomic.Pointer[linearDispatcher]
	stops        atomic.Bool // all that is to be done is to empty the queue
}

func (c *linearCluster) open(client *clientv3.Client, timeout time.Duration) *queue.Queue {
	q, err := queue.New(queue.Config{
		Namespace: "default", Type: c.name, Visibility: time.Hour, Timeout: timeout, Retry: job.Retry{Attempts: 10_000, Backoff: job.Duration(time.Millisecond), MaxBackoff: job.Duration(time.Millisecond)},
	}, queue.Deps{Client: client, Logger: zap.NewNop()})
	if err != nil {
		c.t.Error(err)
	}
	return q
}

// dispatch has one dispatcher after the other hand items out, each on a network of its own.
// They are not told that they have lost their lock.
func (c *linearCluster) dispatch(ctx context.Context, nets []*netproxy.Proxy, rnd *rand.Rand) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for n := 0; ctx.Err() == nil; n++ {
		resp, err := c.client.Put(ctx, "/fence/"+c.name, "")
		if err != nil {
			rest(ctx, 50*time.Millisecond)
			continue
		}
		last := c.here.Load()
		if last != nil {
			last.over.Store(c.rec.now())
		}
		f := &fence{key: "/fence/" + c.name, rev: resp.Header.Revision}
		f.held.Store(true)
		client := etcdtest.Dial(c.t, nets[n%len(nets)].Endpoint())
		q := c.open(client, 400*time.Millisecond)
		running, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		wg.Go(func() { defer close(done); _ = q.Run(running, f) })
		c.before.Store(last)
		c.here.Store(&linearDispatcher{Queue: q})
		if c.stops.Load() {
			<-ctx.Done()
			stop()
			return
		}
		rest(ctx, time.Duration(100+rnd.IntN(300))*time.Millisecond)
		if rnd.IntN(2) == 0 { // else it goes on, fenced
			stop()
			<-done
		} else {
			context.AfterFunc(ctx, stop)
		}
	}
}

// work claims and settles items as workers that are lost now and then.
func (c *linearCluster) work(ctx context.Context, id int, net *netproxy.Proxy, rnd *rand.Rand) {
	settler := c.open(etcdtest.Dial(c.t, net.Endpoint()), 200*time.Millisecond)
	for life := 0; ctx.Err() == nil; life++ {
		lease, err := c.client.Grant(ctx, 3600)
		if err != nil {
			rest(ctx, 20*time.Millisecond)
			continue
		}
		w := queue.Worker{ID: job.MinionID(fmt.Sprintf("w%d-%d", id, life)), Lease: lease.ID}
		var late []queue.Claimed
		for turns := 3 + rnd.IntN(20); turns > 0 && ctx.Err() == nil; turns-- {
			got := c.claim(ctx, id, w, 1+rnd.IntN(4), rnd.IntN(4) == 0)
			for i := range got {
				if !c.stops.Load() && rnd.IntN(12) == 0 {
					turns, late = 0, got[i:] // it dies with the rest of its items
					break
				}
				c.settle(ctx, id, settler, &got[i], !c.stops.Load() && rnd.IntN(6) == 0)
			}
		}
		c.lose(id, w)
		for i := range late { // it was not dead, and comes back too late
			c.settle(ctx, id, settler, &late[i], false)
		}
	}
}

func (c *linearCluster) claim(ctx context.Context, id int, w queue.Worker, n int, before bool) []queue.Claimed {
	q := c.here.Load()
	if old := c.before.Load(); before && old != nil && !c.stops.Load() {
		q = old
	}
	if q == nil {
		rest(ctx, time.Millisecond)
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	call := c.rec.now()
	over := q.over.Load()
	got, err := q.Claim(bounded, w, n)
	if over != 0 && len(got) > 0 {
		c.t.Errorf("a dispatcher that has lost its lock has handed out %s", got[0].ID)
	}
	if errors.Is(err, queue.ErrNotDispatcher) {
		rest(ctx, time.Millisecond)
	}
	c.rec.addClaim(id, linearClaim{call: call, ret: c.rec.now(), failed: err != nil, got: got})
	return got
}

func (c *linearCluster) settle(ctx context.Context, id int, q *queue.Queue, x *queue.Claimed, fail bool) {
	in := linearInput{opDone, x.ID, x.Receipt.Marker, x.Attempt}
	call := c.rec.now()
	var err error
	if fail {
		in.kind = opFail
		err = q.Fail(ctx, x.Receipt, "no")
	} else {
		err = q.Done(ctx, x.Receipt)
	}
	out := isUnknown
	switch {
	case err == nil:
		out = wasDone
	case errors.Is(err, queue.ErrLost):
		out = wasRefused
	}
	c.rec.add(id, call, c.rec.now(), in, out)
}

// lose ends a worker's lease; its claims may be over from then on, and are once it returns.
func (c *linearCluster) lose(id int, w queue.Worker) {
	call := c.rec.now()
	await.Until(c.t, "the end of the lease of "+string(w.ID), func() bool {
		_, err := c.client.Revoke(context.Background(), w.Lease)
		if err != nil {
			left, asked := c.client.TimeToLive(context.Background(), w.Lease)
			return asked == nil && left.TTL == -1
		}
		return true
	})
	ret := c.rec.now()
	c.rec.mu.Lock()
	var over []linearInput
	for i := range c.rec.claims {
		for j := range c.rec.claims[i].got {
			if x := &c.rec.claims[i].got[j]; x.Worker == w.ID {
				over = append(over, linearInput{opLose, x.ID, x.Receipt.Marker, x.Attempt})
			}
		}
	}
	for _, in := range over {
		c.rec.lost[in] = ret
	}
	c.rec.mu.Unlock()
	for _, in := range over {
		c.rec.add(id, call, ret, in, wasDone)
	}
}

// put puts items, one after the other, until the history is long enough.
func (c *linearCluster) put(ctx context.Context, rnd *rand.Rand) {
	q := c.open(c.client, 2*time.Second)
	for n := 0; ctx.Err() == nil; n++ {
		if n >= mostItems {
			<-ctx.Done() // where all is slow, claims would not catch up with more
			return
		}
		it := queue.Item{ID: fmt.Sprintf("i%d", n), Priority: rnd.IntN(3)}
		call := c.rec.now()
		_, err := q.Put(context.WithoutCancel(ctx), it)
		out := wasDone
		if err != nil {
			out = isUnknown
		}
		ret := c.rec.now()
		c.rec.add(100, call, ret, linearInput{kind: opPut, item: it.ID}, out)
		c.rec.mu.Lock()
		c.rec.puts = append(c.rec.puts, linearPut{it, call, ret, err == nil})
		c.rec.mu.Unlock()
		rest(ctx, time.Duration(rnd.IntN(4))*time.Millisecond)
	}
}

// nemesis has one network after another fail, and restarts etcd once.
func (c *linearCluster) nemesis(ctx context.Context, nets []*netproxy.Proxy, rnd *rand.Rand) {
	ms := func(from, to int) time.Duration { return time.Duration(from+rnd.IntN(to-from)) * time.Millisecond }
	rest(ctx, ms(300, 600))
	if ctx.Err() == nil {
		c.server.Restart(c.t)
	}
	for ctx.Err() == nil {
		net := nets[rnd.IntN(len(nets))]
		switch rnd.IntN(4) {
		case 0:
			net.Blackhole()
		case 1:
			net.DropReplies()
		case 2:
			net.Delay(ms(10, 100))
		case 3:
			net.Drop()
		}
		rest(ctx, ms(50, 300))
		net.Heal()
		rest(ctx, ms(20, 100))
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Of what was put for sure, some have to have been claimed, or nothing is shown.
const enoughItems, enoughClaims = 60, 100

// mostItems bounds what is put.
const mostItems = 1000

// TestLinear checks histories in which workers and dispatchers die, their networks fail, and
// etcd starts anew: no item is lost, at most one claim of it lives, tokens rise, and a
// settlement holds exactly if it is the holder's (Q1 to Q4). Items that have never failed go
// by priority and put, and one whose worker was lost goes before all that was put later
// (Q5).
func TestLinear(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2}
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
	server := etcdtest.Start(t)
	c := &linearCluster{
		t: t, name: fmt.Sprintf("linear-%d-%d", seed, benches.Add(1)), server: server, client: server.Client(t),
		rec: &linearRecorder{begun: time.Now(), lost: map[linearInput]int64{}},
	}
	var nets []*netproxy.Proxy
	for range 5 {
		nets = append(nets, netproxy.New(t, server.Endpoints[0]))
	}
	rnd := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	storm, calm := context.WithCancel(t.Context())
	defer calm()
	all, stop := context.WithCancel(t.Context())
	defer stop()
	var making, going sync.WaitGroup
	making.Go(func() { c.put(storm, rnd(1)) })
	making.Go(func() { c.nemesis(storm, nets, rnd(2)) })
	going.Go(func() { c.dispatch(all, nets[:2], rnd(3)) })
	for i := range 3 {
		going.Go(func() { c.work(all, i, nets[2+i], rnd(uint64(10+i))) })
	}
	rest(storm, *linearFor)
	await.Missing(t, func() string { // a busy machine needs longer until there is something to see
		if puts, claims := c.rec.count(); puts < enoughItems || claims < enoughClaims {
			return fmt.Sprintf("%d items and %d claims: nothing is shown yet", puts, claims)
		}
		return ""
	})
	c.stops.Store(true)
	calm()
	making.Wait()
	for _, n := range nets {
		n.Heal()
	}
	q := c.open(c.client, 5*time.Second)
	await.Missing(t, func() string { // no item is lost: all that is there is done
		s, err := q.Stats(context.Background())
		if err != nil || s != (queue.Stats{}) {
			return fmt.Sprintf("the queue has %+v, %v", s, err)
		}
		return ""
	})
	stop()
	going.Wait()
	c.rec.judge(t, seed)
}

// judge looks at a history.
func (r *linearRecorder) judge(t *testing.T, seed uint64) {
	t.Helper()
	for _, what := range slices.Concat(r.misses(), r.disorder()) {
		t.Errorf("seed %d: %s", seed, what)
	}
	if porcupine.CheckOperationsTimeout(linearModel(), r.ops, 0) == porcupine.Illegal {
		t.Errorf("seed %d: the history is not that of a queue; go test ./queue -run TestLinear -linear-seed %d", seed, seed)
		for _, part := range linearModel().Partition(r.ops) {
			if porcupine.CheckOperationsTimeout(linearModel(), part, 0) == porcupine.Illegal {
				for _, op := range part {
					t.Logf("client %d %+v %v: %v to %v", op.ClientId, op.Input, op.Output, time.Duration(op.Call), time.Duration(op.Return))
				}
			}
		}
	}
	puts, claims := r.count()
	t.Logf("seed %d: %d items, %d claims, %d operations", seed, puts, claims, len(r.ops))
}

// misses tells which items were put for sure and have gone without being done.
func (r *linearRecorder) misses() []string {
	done := map[string]bool{}
	for _, op := range r.ops {
		if in := op.Input.(linearInput); in.kind == opDone && op.Output.(int) != wasRefused {
			done[in.item] = true
		}
	}
	var out []string
	for i := range r.puts {
		if p := &r.puts[i]; p.sure && !done[p.ID] {
			out = append(out, "item "+p.ID+" was put, and nobody has done it")
		}
	}
	return out
}

// disorder tells which items were claimed before others that go before them. A dispatcher
// knows what was done before an item was put when it knows of the item, as it sees all in
// order. A call that failed may have had items in its hands for a moment.
func (r *linearRecorder) disorder() []string {
	type taken struct {
		linearClaim
		queue.Claimed
	}
	by := map[string][]taken{}
	var failed []linearClaim
	for _, c := range r.claims {
		if c.failed {
			failed = append(failed, c)
		}
		for _, x := range c.got {
			by[x.ID] = append(by[x.ID], taken{c, x})
		}
	}
	for _, all := range by {
		slices.SortFunc(all, func(a, b taken) int { return a.Attempt - b.Attempt })
	}
	inDoubt := func(c *linearClaim) bool {
		return slices.ContainsFunc(failed, func(f linearClaim) bool { return f.call < c.ret && c.call < f.ret })
	}
	var out []string
	for i := range r.puts {
		w := &r.puts[i]
		if !w.sure || len(by[w.ID]) == 0 || by[w.ID][0].Attempt != 1 {
			continue
		}
		first := &by[w.ID][0]
		if inDoubt(&first.linearClaim) {
			continue
		}
		for j := range r.puts {
			b := &r.puts[j]
			if !b.sure || b.Priority < w.Priority || b.ret >= w.call {
				continue
			}
			// since is from when on it waits; next is the claim that ended that.
			since := b.ret
			for n, next := range by[b.ID] {
				if next.Attempt != n+1 {
					break // a claim of which nobody knows was between
				}
				if since < w.call && next.call > first.ret {
					out = append(out, fmt.Sprintf("item %s of priority %d, put later, went before %s of priority %d in its attempt %d", w.ID, w.Priority, b.ID, b.Priority, next.Attempt))
				}
				lost, ok := r.lost[linearInput{opLose, b.ID, next.Receipt.Marker, next.Attempt}]
				if !ok {
					break // it was done, or failed and waits
				}
				since = lost
			}
		}
	}
	return out
}
