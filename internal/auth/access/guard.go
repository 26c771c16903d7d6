package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/internal/auth"
)

// Config is what a Guard holds callers to. Zero values stand for the defaults.
type Config struct {
	// Table says who may say what. Default Rules().
	Table Table
	// Files are the protocols whose methods and frames need a row. Default
	// Files().
	Files []protoreflect.FileDescriptor
}

// Deps is what a Guard works with. Logger and Metrics may be nil.
type Deps struct {
	// Caller returns who calls, by the verified certificate. The error is
	// auth.ErrNoIdentity where the caller showed none, and any other where it
	// must not be served.
	Caller  func(context.Context) (auth.Identity, error)
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// Guard refuses what callers may not say. It is immutable, and may be used by
// many goroutines.
type Guard struct {
	deps    Deps
	methods map[string]row // by gRPC's name, as in /package.Service/Method
	frames  map[protoreflect.FullName]oneofs
	refused *prometheus.CounterVec
	// notes bounds how often a refusal is logged: anybody can have one.
	notes *rate.Limiter
}

// row is who may say something.
type row struct {
	name  protoreflect.FullName
	kinds []auth.Kind
}

// oneofs are the frames of one message.
type oneofs []frames

type frames struct {
	oneof protoreflect.OneofDescriptor
	rows  map[protoreflect.FieldNumber]row
}

// New returns a Guard, and an error that names what the table lacks, or has too
// much (A3).
func New(cfg Config, deps Deps) (*Guard, error) {
	if deps.Caller == nil {
		return nil, errors.New("access: Caller must be given")
	}
	if cfg.Table == nil {
		cfg.Table = Rules()
	}
	if cfg.Files == nil {
		cfg.Files = Files()
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if err := cfg.Table.check(cfg.Files); err != nil {
		return nil, err
	}
	g := &Guard{
		deps: deps, methods: map[string]row{}, frames: map[protoreflect.FullName]oneofs{}, notes: rate.NewLimiter(1, 10),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_access_refused_total", Help: "Calls and frames that the caller's kind of identity may not say.",
		}, []string{"kind", "subject"}),
	}
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(g.refused); err != nil {
			return nil, fmt.Errorf("access: metrics: %w", err)
		}
	}
	for _, f := range cfg.Files {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				g.methods["/"+string(s.FullName())+"/"+string(m.Name())] = row{m.FullName(), cfg.Table[m.FullName()]}
			}
		}
		g.learn(cfg.Table, f.Messages())
	}
	return g, nil
}

// learn notes the rows of frames by their messages.
func (g *Guard) learn(t Table, messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		for _, o := range choices(m) {
			f := frames{o, map[protoreflect.FieldNumber]row{}}
			for k := range o.Fields().Len() {
				field := o.Fields().Get(k)
				f.rows[field.Number()] = row{field.FullName(), t[field.FullName()]}
			}
			g.frames[m.FullName()] = append(g.frames[m.FullName()], f)
		}
		g.learn(t, m.Messages())
	}
}

// check compares the rows with what there is.
func (t Table) check(files []protoreflect.FileDescriptor) error {
	var errs []error
	there := subjects(files)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if len(t[name]) == 0 {
			errs = append(errs, fmt.Errorf("access: nothing says who may say %s; give it a row in the table", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if !there[name] {
			errs = append(errs, fmt.Errorf("access: the table has a row for %s, which there is not; take it out", name))
		}
	}
	return errors.Join(errs...)
}

// Check returns an error for services of a server that the Guard does not know:
// all of their methods would be refused.
func (g *Guard) Check(services map[string]grpc.ServiceInfo) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for _, m := range services[name].Methods {
			if _, ok := g.methods["/"+name+"/"+m.Name]; !ok {
				errs = append(errs, fmt.Errorf("access: nothing says who may call %s.%s; give it a row in the table", name, m.Name))
			}
		}
	}
	return errors.Join(errs...)
}

// ServerOptions have a server ask the Guard.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.Unary), grpc.ChainStreamInterceptor(g.Stream)}
}

// Unary is a grpc.UnaryServerInterceptor.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	who, err := g.call(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if m, ok := req.(proto.Message); ok {
		if _, err := g.frame(who, m); err != nil {
			return nil, err
		}
	}
	return handler(ctx, req)
}

// Stream is a grpc.StreamServerInterceptor.
func (g *Guard) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	who, err := g.call(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handler(srv, &guarded{ServerStream: stream, guard: g, who: who})
}

// call decides on a call, and returns who calls.
func (g *Guard) call(ctx context.Context, method string) (auth.Identity, error) {
	who, err := g.deps.Caller(ctx)
	switch {
	case errors.Is(err, auth.ErrNoIdentity):
		who = auth.Identity{Kind: auth.KindJoining}
	case err != nil:
		return who, status.Error(codes.Unauthenticated, err.Error())
	}
	r, ok := g.methods[method]
	if !ok {
		r.name = protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	}
	return who, g.decide(who, r)
}

// frame decides on a message, and reports whether all that is in it is known.
func (g *Guard) frame(who auth.Identity, m proto.Message) (known bool, err error) {
	r := m.ProtoReflect()
	for _, f := range g.frames[r.Descriptor().FullName()] {
		field := r.WhichOneof(f.oneof)
		if field == nil {
			return false, nil
		}
		if err := g.decide(who, f.rows[field.Number()]); err != nil {
			return true, err
		}
	}
	return true, nil
}

// decide returns an error unless the row has the caller's kind (A1).
func (g *Guard) decide(who auth.Identity, r row) error {
	if slices.Contains(r.kinds, who.Kind) {
		return nil
	}
	g.refused.WithLabelValues(string(who.Kind), g.label(r)).Inc()
	if g.notes.Allow() {
		g.deps.Logger.Warn("a caller was refused what its identity may not say",
			zap.Stringer("caller", who), zap.String("subject", string(r.name)))
	}
	code := codes.PermissionDenied
	if who.Kind == auth.KindJoining {
		code = codes.Unauthenticated
	}
	if len(r.kinds) == 0 {
		return status.Errorf(code, "%s may not say %s; nobody may", who, r.name)
	}
	return status.Errorf(code, "%s may not say %s; it takes the certificate of a %s", who, r.name, r.kinds[0])
}

// label keeps names that a caller has made up out of the metrics.
func (g *Guard) label(r row) string {
	if len(r.kinds) == 0 {
		return "unknown"
	}
	return string(r.name)
}

// guarded is a stream whose frames are looked at as they come (A2).
type guarded struct {
	grpc.ServerStream

	guard *Guard
	who   auth.Identity
}

// Encoded is a frame that its receiver decodes by itself, later.
type Encoded interface {
	// Frame returns the message that the frame is one of, and its wire form.
	Frame() (message protoreflect.FullName, wire []byte)
}

// RecvMsg leaves out frames that this release does not know.
func (s *guarded) RecvMsg(m any) error {
	for {
		if err := s.ServerStream.RecvMsg(m); err != nil {
			return err
		}
		var known bool
		var err error
		switch frame := m.(type) {
		case proto.Message:
			if known, err = s.guard.frame(s.who, frame); !known && err == nil {
				proto.Reset(frame)
			}
		case Encoded:
			known, err = s.guard.encoded(s.who, frame)
		default:
			err = status.Errorf(codes.Internal, "a %T is no frame", m)
		}
		if known || err != nil {
			return err
		}
	}
}

// encoded is frame for one that is not decoded. Whichever of a oneof's fields the
// receiver takes, all that are there have to be allowed.
func (g *Guard) encoded(who auth.Identity, e Encoded) (known bool, err error) {
	message, wire := e.Frame()
	of, ok := g.frames[message]
	if !ok {
		return true, nil
	}
	for len(wire) > 0 {
		number, _, n := protowire.ConsumeField(wire)
		if n < 0 {
			return true, status.Errorf(codes.InvalidArgument, "the frame cannot be read: %v", protowire.ParseError(n))
		}
		wire = wire[n:]
		for _, f := range of {
			if r, ok := f.rows[number]; ok {
				known = true
				if err := g.decide(who, r); err != nil {
					return true, err
				}
			}
		}
	}
	return known, nil
}
