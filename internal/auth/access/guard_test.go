package access_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/access"
)

// stream is what a caller sends on a stream.
type stream struct {
	grpc.ServerStream

	ctx    context.Context // as gRPC's
	frames []proto.Message
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) RecvMsg(m any) error {
	if len(s.frames) == 0 {
		return io.EOF
	}
	if e, ok := m.(*encoded); ok {
		wire, err := proto.Marshal(s.frames[0])
		e.wire, s.frames = wire, s.frames[1:]
		return err
	}
	to, ok := m.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	proto.Reset(to)
	proto.Merge(to, s.frames[0])
	s.frames = s.frames[1:]
	return nil
}

// encoded is a frame of a minion that is decoded later.
type encoded struct{ wire []byte }

func (e *encoded) Frame() (protoreflect.FullName, []byte) {
	return "carillon.agent.v1.FromMinion", e.wire
}

// newGuard returns a guard whose caller is who.
func newGuard(t *testing.T, cfg access.Config, who auth.Identity, err error) *access.Guard {
	t.Helper()
	g, bad := access.New(cfg, access.Deps{Caller: func(context.Context) (auth.Identity, error) { return who, err }})
	if bad != nil {
		t.Fatal(bad)
	}
	return g
}

// session opens a minion's stream, and returns how many frames its handler got.
func session(t *testing.T, raw bool, g *access.Guard, frames ...proto.Message) (int, error) {
	t.Helper()
	got := 0
	err := g.Stream(nil, &stream{ctx: t.Context(), frames: frames}, &grpc.StreamServerInfo{FullMethod: "/carillon.agent.v1.Push/Session"},
		func(_ any, s grpc.ServerStream) error {
			for {
				var m any = &agentpb.FromMinion{}
				if raw {
					m = &encoded{}
				}
				if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				got++
			}
		})
	return got, err
}

func TestA1_WhatHasNoRowIsRefused(t *testing.T) {
	t.Parallel()
	g := newGuard(t, access.Config{}, auth.Identity{Kind: auth.KindNode, Name: "n1"}, nil)
	_, err := g.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/carillon.agent.v1.Peer/Surprise"}, func(context.Context, any) (any, error) {
		t.Error("the handler was called")
		return nil, nil
	})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the call ended with %v", err)
	}
}

func TestA2_FramesOnAStreamAreLookedAt(t *testing.T) {
	t.Parallel()
	for _, raw := range []bool{false, true} {
		hello := &agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{}}}
		beat := &agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{}}}
		minion := auth.Identity{Kind: auth.KindMinion, Name: "m1"}
		if got, err := session(t, raw, newGuard(t, access.Config{}, minion, nil), hello, beat); got != 2 || err != nil {
			t.Errorf("a minion's frames: %d got through, %v", got, err)
		}
		// A frame that this release does not know is left out.
		if got, err := session(t, raw, newGuard(t, access.Config{}, minion, nil), hello, &agentpb.FromMinion{}, beat); got != 2 || err != nil {
			t.Errorf("with an unknown frame: %d got through, %v", got, err)
		}
		for _, who := range []auth.Identity{{Kind: auth.KindNode, Name: "n1"}, {}} {
			if got, err := session(t, raw, newGuard(t, access.Config{}, who, nil), hello); got != 0 || status.Code(err) != codes.PermissionDenied {
				t.Errorf("%s as a minion: %d frames got through, %v", who, got, err)
			}
		}
		// The frame counts by itself, not by the stream that it comes on.
		table := maps.Clone(access.Rules())
		table["carillon.agent.v1.FromMinion.beat"] = []auth.Kind{auth.KindNode}
		if got, err := session(t, raw, newGuard(t, access.Config{Table: table}, minion, nil), hello, beat); got != 1 || status.Code(err) != codes.PermissionDenied {
			t.Errorf("with a frame that is for nodes: %d got through, %v", got, err)
		}
	}
}

func TestA3_TheTableIsWhole(t *testing.T) {
	t.Parallel()
	caller := func(context.Context) (auth.Identity, error) { return auth.Identity{}, nil }
	for name, c := range map[string]struct {
		change func(access.Table)
		want   string
	}{
		"as it is":        {func(access.Table) {}, ""},
		"without a row":   {func(t access.Table) { delete(t, "carillon.agent.v1.PeerFrame.batch") }, "nothing says who may say carillon.agent.v1.PeerFrame.batch"},
		"an empty row":    {func(t access.Table) { t["carillon.agent.v1.Peer.Status"] = nil }, "nothing says who may say carillon.agent.v1.Peer.Status"},
		"a row too many":  {func(t access.Table) { t["carillon.agent.v1.Peer.Old"] = []auth.Kind{auth.KindNode} }, "which there is not"},
		"a method as row": {func(t access.Table) { delete(t, "carillon.auth.v1.Enroll.Join") }, "carillon.auth.v1.Enroll.Join"},
	} {
		table := access.Rules()
		c.change(table)
		_, err := access.New(access.Config{Table: table}, access.Deps{Caller: caller})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	g := newGuard(t, access.Config{}, auth.Identity{}, nil)
	if err := g.Check(map[string]grpc.ServiceInfo{"carillon.agent.v1.Peer": {Methods: []grpc.MethodInfo{{Name: "Link"}}}}); err != nil {
		t.Errorf("a known service: %v", err)
	}
	if err := g.Check(map[string]grpc.ServiceInfo{"grpc.reflection.v1.ServerReflection": {Methods: []grpc.MethodInfo{{Name: "ServerReflectionInfo"}}}}); err == nil {
		t.Error("a service that nobody may call was taken")
	}
}

func TestA4_WhoWasRevokedIsRefused(t *testing.T) {
	t.Parallel()
	g := newGuard(t, access.Config{}, auth.Identity{Kind: auth.KindMinion, Name: "m1"}, auth.ErrRevoked)
	if got, err := session(t, false, g, &agentpb.FromMinion{}); got != 0 || status.Code(err) != codes.Unauthenticated {
		t.Errorf("%d frames got through, %v", got, err)
	}
	g = newGuard(t, access.Config{}, auth.Identity{}, auth.ErrNoIdentity)
	if got, err := session(t, false, g, &agentpb.FromMinion{}); got != 0 || status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a certificate %d frames got through, %v", got, err)
	}
}
