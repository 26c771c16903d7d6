package main

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// echoServer is the baseline of the fan-out: bare gRPC streams, without TLS,
// journal, engine and history. It welcomes whoever connects; in a round it sends
// one small message on every stream and waits for one back on each.
type echoServer struct {
	agentpb.UnimplementedPushServer

	mu      sync.Mutex // guards streams
	streams map[grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]]struct{}
	back    sync.WaitGroup
}

// Session implements agentpb.PushServer.
func (e *echoServer) Session(stream grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	welcome := &agentpb.ToMinion{Body: &agentpb.ToMinion_Welcome{Welcome: &agentpb.Welcome{Node: "echo", BeatEvery: int64(time.Hour)}}}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	e.mu.Lock()
	e.streams[stream] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.streams, stream)
	}()
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		e.back.Done()
	}
}

// echoSenders is how many goroutines send in a round.
const echoSenders = 8

// round sends to every stream and waits for all answers.
func (e *echoServer) round() (time.Duration, error) {
	e.mu.Lock()
	all := make(chan grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion], len(e.streams))
	for s := range e.streams {
		all <- s
	}
	close(all)
	e.mu.Unlock()
	begun := time.Now()
	e.back.Add(len(all))
	errs := make(chan error, echoSenders)
	for range echoSenders {
		go func() {
			offer := &agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: &agentpb.Offer{Seq: 1}}}
			var first error
			for s := range all {
				if err := s.Send(offer); err != nil && first == nil {
					first = err
				}
			}
			errs <- first
		}()
	}
	for range echoSenders {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	e.back.Wait()
	return time.Since(begun), nil
}

// runEcho serves the baseline: it tells its address, and answers each line of
// its input by a round's seconds.
func runEcho(ctx context.Context, _ struct{}, lines <-chan string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e := &echoServer{streams: map[grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]]struct{}{}}
	server := grpc.NewServer(agentpush.ServerOptions()...)
	agentpb.RegisterPushServer(server, e)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	context.AfterFunc(ctx, server.Stop)
	if err := answer(l.Addr().String()); err != nil {
		return err
	}
	for range lines {
		took, err := e.round()
		if err != nil {
			return err
		}
		if err := answer(took.Seconds()); err != nil {
			return err
		}
	}
	return nil
}

// echoes is the baseline's server with its clients.
type echoes struct {
	server *process
	swarm  swarms
}

func startEchoes(ctx context.Context, e *env, count int) (_ *echoes, err error) {
	b := &echoes{}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.server, err = start(ctx, "echo", struct{}{}); err != nil {
		return nil, err
	}
	var addr string
	if err = b.server.hear(ctx, e.patience, &addr); err != nil {
		return nil, err
	}
	b.swarm, err = startSwarms(ctx, e, count, []string{addr}, nil)
	return b, err
}

func (b *echoes) round(ctx context.Context, e *env) (roundTimes, error) {
	var seconds float64
	err := b.server.ask(ctx, "round", e.patience, &seconds)
	return roundTimes{total: seconds}, err
}

func (b *echoes) stop() {
	b.swarm.stop()
	if b.server != nil {
		b.server.stop()
	}
}
