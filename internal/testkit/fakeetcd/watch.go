package fakeetcd

import (
	"context"
	"io"
	"slices"
	"sort"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// stream carries the watches of one client; both its ends are here.
type stream struct {
	grpc.ClientStream // not set: what is not below is not used
	ctx               context.Context
	s                 *Server
	link              *Link

	// conn is the link's connection that carries the stream.
	conn int

	// watchers are in the order of their ids; the server's mu guards them.
	watchers []*watcher
	nextID   int64

	mu sync.Mutex // guards all below
	// queue is what is on its way to the client, with the times of arrival.
	queue []delivery
	last  time.Time
	wake  chan struct{}
}

type delivery struct {
	at   time.Time
	resp *pb.WatchResponse
}

type watcher struct {
	*pb.WatchCreateRequest
	id int64
	// next is the first revision that the watcher has not been told of.
	next int64
	// quiet: nothing has been sent since the last sign of life.
	quiet bool
}

// Watch implements pb.WatchClient.
func (k *remote) Watch(ctx context.Context, _ ...grpc.CallOption) (pb.Watch_WatchClient, error) {
	conn, err := k.link.connect(ctx)
	if err != nil {
		return nil, err
	}
	st := &stream{ctx: ctx, s: k.s, link: k.link, conn: conn, wake: make(chan struct{}, 1)}
	k.s.mu.Lock()
	k.s.watches = append(k.s.watches, st)
	k.s.mu.Unlock()
	context.AfterFunc(ctx, st.end)
	return st, nil
}

func (st *stream) CloseSend() error         { return nil }
func (st *stream) Context() context.Context { return st.ctx }

// Send takes a request of the client.
func (st *stream) Send(r *pb.WatchRequest) error {
	if err := st.ctx.Err(); err != nil {
		return io.EOF
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	switch q := r.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		st.create(q.CreateRequest)
	case *pb.WatchRequest_CancelRequest:
		id, n := q.CancelRequest.WatchId, len(st.watchers)
		st.remove(id)
		if len(st.watchers) < n {
			st.push(&pb.WatchResponse{Header: st.s.header(st.s.rev), WatchId: id, Canceled: true})
		}
	case *pb.WatchRequest_ProgressRequest:
		st.push(&pb.WatchResponse{Header: st.s.header(st.s.rev), WatchId: -1})
	}
	return nil
}

func (st *stream) remove(id int64) {
	st.watchers = slices.DeleteFunc(st.watchers, func(w *watcher) bool { return w.id == id })
}

func (st *stream) create(r *pb.WatchCreateRequest) {
	s := st.s
	if r.StartRevision < 0 {
		st.push(&pb.WatchResponse{
			Header: s.header(s.rev), WatchId: -1, Created: true, Canceled: true, CancelReason: rpctypes.ErrCompacted.Error(),
		})
		return
	}
	w := &watcher{WatchCreateRequest: r, id: st.nextID, next: r.StartRevision}
	if w.next == 0 {
		w.next = s.rev + 1
	}
	if len(w.Key) == 0 {
		w.Key = []byte{0}
	}
	st.nextID++
	st.watchers = append(st.watchers, w)
	st.push(&pb.WatchResponse{Header: s.header(s.rev), WatchId: w.id, Created: true})
	if w.next > s.rev {
		return
	}
	if w.next < s.compacted {
		st.push(&pb.WatchResponse{Header: s.header(0), WatchId: w.id, CompactRevision: s.compacted, Canceled: true})
		st.remove(w.id)
		return
	}
	i := sort.Search(len(s.log), func(i int) bool { return s.log[i].Kv.ModRevision >= w.next })
	st.tell(w, s.log[i:])
}

// notify tells all watchers of what a transaction has changed.
func (s *Server) notify(events []*mvccpb.Event) {
	for _, st := range s.watches {
		for _, w := range st.watchers {
			st.tell(w, events)
		}
	}
}

// tell sends those of the events that the watcher has asked for.
func (st *stream) tell(w *watcher, events []*mvccpb.Event) {
	var mine []*mvccpb.Event
	for _, e := range events {
		if e.Kv.ModRevision >= w.next && w.wants(e) {
			out := &mvccpb.Event{Type: e.Type, Kv: clone(e.Kv)}
			if w.PrevKv && e.Kv.ModRevision > st.s.compacted {
				out.PrevKv = clone(st.s.at(string(e.Kv.Key), e.Kv.ModRevision-1))
			}
			mine = append(mine, out)
		}
	}
	w.next = max(w.next, st.s.rev+1)
	if len(mine) > 0 {
		w.quiet = false
		st.push(&pb.WatchResponse{Header: st.s.header(st.s.rev), WatchId: w.id, Events: mine})
	}
}

func (w *watcher) wants(e *mvccpb.Event) bool {
	for _, f := range w.Filters {
		if f == pb.WatchCreateRequest_NOPUT && e.Type == mvccpb.Event_PUT ||
			f == pb.WatchCreateRequest_NODELETE && e.Type == mvccpb.Event_DELETE {
			return false
		}
	}
	return within(e.Kv.Key, w.Key, w.RangeEnd)
}

// progress gives a sign of life to watchers that asked for it.
func (s *Server) progress() {
	for _, st := range s.watches {
		for _, w := range st.watchers {
			if w.ProgressNotify && w.quiet {
				st.push(&pb.WatchResponse{Header: s.header(s.rev), WatchId: w.id})
			}
			w.quiet = true
		}
	}
}

// push sends a response; none overtakes another.
func (st *stream) push(r *pb.WatchResponse) {
	at := time.Now().Add(st.link.delay())
	st.mu.Lock()
	if at.Before(st.last) {
		at = st.last
	}
	st.last = at
	st.queue = append(st.queue, delivery{at, r})
	st.mu.Unlock()
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// Recv returns the next response when it has arrived. A partition holds it up,
// and breaks the stream when it lasts.
func (st *stream) Recv() (*pb.WatchResponse, error) {
	for {
		if st.ctx.Err() != nil {
			return nil, status.FromContextError(st.ctx.Err()).Err()
		}
		state := st.link.current()
		if state.conn != st.conn || state.dead() {
			st.end()
			return nil, errConnection
		}
		resp, wait := st.pop(state)
		if resp != nil {
			return resp, nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-st.ctx.Done():
		case <-st.wake:
		case <-state.changed:
		case <-timer:
		}
	}
}

// pop returns the first response if it is there, else how long to wait; 0: for
// something to happen.
func (st *stream) pop(state *linkState) (*pb.WatchResponse, time.Duration) {
	if left := state.breaksIn(); left > 0 {
		return nil, left
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.queue) == 0 {
		return nil, 0
	}
	if wait := time.Until(st.queue[0].at); wait > 0 {
		return nil, wait
	}
	r := st.queue[0].resp
	st.queue[0] = delivery{}
	st.queue = st.queue[1:]
	return r, 0
}

// end takes the stream off the server.
func (st *stream) end() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.s.watches = slices.DeleteFunc(st.s.watches, func(o *stream) bool { return o == st })
}
