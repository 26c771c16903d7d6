package agentpush

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// outputs reads the output of tasks from the minions that ran them.
type outputs struct {
	*base
	life      *lifetime
	channels  *channels
	locations locations
	pumps     *pumps
	peers     *peers
	// budget is what is held for all readers; requests numbers them.
	budget   *budget
	requests atomic.Uint64
}

// Output reads the full output of a task from the minion that ran it, which may
// be connected here or at a peer, and calls fn with its pieces; stream is 1 for
// stdout, 2 for stderr; leftOut, unless 0, says that so many bytes of the stream
// are missing here. fn may take its time: the minion waits. With follow it goes on
// until the task ends. An error of fn ends it and is returned. A minion that is
// not connected gives an error that wraps job.ErrUnavailable.
func (o *outputs) read(ctx context.Context, task job.TaskID, follow bool, fn func(stream int, data []byte, leftOut int64) error) error {
	return o.ask(ctx, task, &agentpb.OutputRequest{Task: agentpb.FromTask(task), Follow: follow}, fn)
}

// fires calls fn with what a minion's journal knows of fires that were due after an
// instant, or have ended after it. An error of fn ends it and is returned.
func (o *outputs) fires(ctx context.Context, minion job.MinionID, after time.Time, fn func(agentpb.KnownFire) error) error {
	last := ""
	for more := true; more; {
		from, next := io.Pipe()
		asked := make(chan struct{})
		req := &agentpb.OutputRequest{
			Task: agentpb.FromTask(job.TaskID{Minion: minion}), Fires: &agentpb.Fires{After: after.UnixNano(), From: last},
		}
		go func() {
			defer close(asked)
			err := o.ask(ctx, job.TaskID{Minion: minion}, req, func(_ int, data []byte, _ int64) error {
				_, err := next.Write(data)
				return err
			})
			_ = next.CloseWithError(err) // nil: the end
		}()
		was := last
		end, err := agentpb.ReadFires(from, func(f agentpb.KnownFire) error {
			if f.Key <= last {
				return errors.New("its keys do not rise")
			}
			last = f.Key
			return fn(f)
		})
		_ = from.CloseWithError(context.Canceled) // what follows is not read
		<-asked
		more = end.More
		if err == nil && more && last == was {
			err = errors.New("an empty page is followed by another")
		}
		if err == nil && !more && end.Since > after.UnixNano() {
			err = &agentpb.IncompleteError{Since: time.Unix(0, end.Since), Gap: end.Gap}
		}
		if err != nil {
			return fmt.Errorf("fires that minion %s knows of: %w", minion, err)
		}
	}
	return nil
}

// ask has a minion send what it is asked for, and calls fn with the pieces.
func (o *outputs) ask(ctx context.Context, task job.TaskID, req *agentpb.OutputRequest, fn func(stream int, data []byte, leftOut int64) error) error {
	call := func(c *agentpb.OutputChunk) error {
		if len(c.GetData()) == 0 && c.GetDropped() <= 0 {
			return nil
		}
		return fn(int(c.GetStream()), c.GetData(), max(c.GetDropped(), 0))
	}
	node := o.locations.node(task.Minion)
	switch node {
	case "":
		return notConnected(task.Minion)
	case o.cfg.Node:
		return o.local(ctx, req, call)
	}
	conn, err := o.peers.connTo(node)
	if err != nil {
		return fmt.Errorf("output of %s: %w: %w", task, job.ErrUnavailable, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := agentpb.NewPeerClient(conn).Output(ctx, req)
	if err != nil {
		return fmt.Errorf("output of %s from node %s: %w", task, node, err)
	}
	for {
		c, err := stream.Recv()
		switch {
		case status.Code(err) == codes.Unavailable:
			return fmt.Errorf("output of %s from node %s: %w: %s", task, node, job.ErrUnavailable, status.Convert(err).Message())
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("output of %s from node %s: %w", task, node, err)
		case c.GetEof():
			return nil
		}
		if err := call(c); err != nil {
			return err
		}
	}
}

func notConnected(id job.MinionID) error {
	return fmt.Errorf("minion %s is not connected, and full output lies there: %w", id, job.ErrUnavailable)
}

// Output serves a peer with the output of a minion that is connected here.
func (o *outputs) serve(req *agentpb.OutputRequest, stream grpc.ServerStreamingServer[agentpb.OutputChunk]) error {
	if !o.life.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer o.life.running.Done()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(o.life.ctx, func() { cancel(errStopping) })()
	own := &agentpb.OutputRequest{Task: req.GetTask(), Follow: req.GetFollow(), Fires: req.GetFires()}
	err := o.local(ctx, own, stream.Send)
	switch {
	case err == nil:
		return stream.Send(&agentpb.OutputChunk{Eof: true})
	case errors.Is(err, job.ErrUnavailable):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}

// local reads output from a minion that is connected here.
func (o *outputs) local(ctx context.Context, req *agentpb.OutputRequest, fn func(*agentpb.OutputChunk) error) error {
	id := job.MinionID(req.GetTask().GetMinion())
	req.Id, req.Window = o.requests.Add(1), readerWindow
	c := o.channels.get(id, false)
	if c == nil {
		return notConnected(id)
	}
	s := c.session
	if s == nil {
		c.mu.Unlock()
		return notConnected(id)
	}
	r := s.outputs.open(req.GetId())
	s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Output{Output: req}})
	o.pumps.kick(c)
	c.mu.Unlock()
	send := func(f *agentpb.ToMinion) {
		c.mu.Lock()
		s.control = append(s.control, f)
		o.pumps.kick(c)
		c.mu.Unlock()
	}
	taken := int64(0)
	err := r.read(ctx, func(chunk *agentpb.OutputChunk) error {
		if err := fn(chunk); err != nil {
			return err
		}
		if taken += int64(weigh(chunk)); taken >= readerWindow/4 {
			send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputMore{OutputMore: &agentpb.OutputMore{Id: req.GetId(), Taken: taken}}})
			taken = 0
		}
		return nil
	})
	if s.outputs.shut(req.GetId(), r) || errors.Is(err, errSlowReader) || errors.Is(err, errMuchOutput) {
		send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputCancel{OutputCancel: &agentpb.OutputCancel{Id: req.GetId()}}})
	}
	return err
}
