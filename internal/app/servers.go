package app

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/access"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/auth/door"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/httpapi/guarded"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/standby"
	"github.com/carillon-cron/carillon/internal/webui"
	"github.com/carillon-cron/carillon/job"
)

const (
	// strangerLife is how long a connection may last that shows no certificate.
	// A minion that joins makes one for each question, of 10 s at most.
	strangerLife = 30 * time.Second
	// headerWait is how long a request's head may take, and idleWait how long a
	// connection is kept between two requests. What bounds bodies and answers is
	// the API's.
	headerWait = 10 * time.Second
	idleWait   = 2 * time.Minute
	// maxHeader bounds a request's head: a target expression goes into it. All
	// connections of the API together may hold as many.
	maxHeader = 64 << 10
	// maxStreams bounds the requests of one connection at a time: a page has one
	// stream open and asks for a few things more, in each of its windows.
	maxStreams = 64
)

// doors bound the connections of the node's ports.
type doors struct{ peers, api, socket *door.Door }

// openDoors makes the doors, and has the connections of who is revoked end.
func (n *Node) openDoors(metrics prometheus.Registerer) error {
	share := divide(openFiles(), n.cfg.Connections)
	n.log.Info("connections are bounded by the limit of open files", zap.Uint64("limit", share.limit), zap.Int("open", share.open),
		zap.Int("reserve", share.reserve), zap.Int("minions", share.members), zap.Int("strangers", share.strangers),
		zap.Int("strangersPerAddress", share.perAddress), zap.Int("api", share.api), zap.Int("socket", share.socket))
	if share.tight {
		n.log.Warn("the limit of open files is low: few connections fit beside what the node itself needs; raise it (ulimit -n, LimitNOFILE)")
	}
	peers := door.Config{Name: "peers", Strangers: share.strangers, PerAddress: share.perAddress, Life: strangerLife, Members: share.members}
	deps := door.Deps{Logger: n.log.Named("door"), Metrics: metrics}
	if n.registrar == nil {
		// Nobody shows a certificate, so minions are strangers.
		all := share.members + share.strangers
		peers = door.Config{Name: "peers", Strangers: all, PerAddress: all, PerSecond: all}
	} else {
		deps.Revoked = n.registrar.IsRevoked
	}
	var err error
	if n.doors.peers, err = door.New(peers, deps); err != nil {
		return err
	}
	deps.Revoked = nil
	if n.doors.api, err = door.New(door.Config{Name: "api", Strangers: share.api, PerAddress: share.api - share.api/4, PerSecond: apiPerSecond, Whole: true}, deps); err != nil {
		return err
	}
	if n.doors.socket, err = door.New(door.Config{Name: "socket", Strangers: share.socket, PerAddress: share.socket, PerSecond: apiPerSecond, Whole: true}, deps); err != nil {
		return err
	}
	if n.socket != nil {
		n.socket.Listener = n.doors.socket.Listen(n.socket.Listener)
	}
	return nil
}

// apiPerSecond is how many connections to the API one address may make in a
// second: programs of this host may open one for each request.
const apiPerSecond = 2000

// revoked ends what a minion has open here whose certificate was revoked: its
// session, and every connection that was opened with the certificate.
//
// The session ends at once, and with its reason; the connections a moment later, so
// that the reason reaches the minion. Nothing is taken from it in between: each call
// and frame is refused.
func (n *Node) revoked(id job.MinionID) {
	n.hub.Revoke(id)
	time.AfterFunc(farewell, func() { n.closeRevoked(id) })
}

// farewell is how long the connections of a revoked minion outlast its session.
const farewell = 200 * time.Millisecond

func (n *Node) closeRevoked(id job.MinionID) {
	if ended := n.doors.peers.End(auth.KindMinion, string(id), n.registrar.IsRevoked); ended > 0 {
		n.log.Warn("connections of a revoked minion were closed", zap.String("minion", string(id)), zap.Int("connections", ended))
	}
}

// connKey is the context's key of a request's connection.
type connKey struct{}

// withConn puts the connection, and who is at its other end, into the context
// of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(withPeer(ctx, c), connKey{}, c)
}

// occupied tells the doors of the API whose place may not be taken: that of a
// connection whose request has come as a whole, until it is answered.
func (n *Node) occupied(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connKey{}).(net.Conn)
		at := n.doors.api
		switch c := conn.(type) {
		case *peerConn:
			conn, at = c.Conn, n.doors.socket
		case *tls.Conn:
			conn = c.NetConn()
		}
		// A connection may have several requests at a time.
		begin := sync.OnceFunc(func() { at.Busy(conn, true) })
		defer func() {
			begin()
			at.Busy(conn, false)
		}()
		// Not every request without a body has http.NoBody: those over HTTP/2 have not.
		if r.Body == nil || r.ContentLength == 0 {
			begin()
		} else {
			r.Body = &wholeBody{ReadCloser: r.Body, whole: begin}
		}
		next.ServeHTTP(w, r)
	})
}

// wholeBody is the body of a request that tells when it has come as a whole.
type wholeBody struct {
	io.ReadCloser

	whole func()
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.whole()
	}
	return n, err
}

// serve makes the node's servers.
func (n *Node) serve(metrics *prometheus.Registry) error {
	if err := n.openDoors(metrics); err != nil {
		return err
	}
	decide := n.control.Rights()
	control := guarded.New(n.control, decide)
	api, err := httpapi.New(httpapi.Config{Hosts: n.hosts(), Limits: httpapi.Limits{
		Requests: limit.Rate{PerSecond: float64(n.cfg.Limits.RequestsPerSecond), Burst: 2 * n.cfg.Limits.RequestsPerSecond}, Streams: n.cfg.Limits.Streams,
	}}, httpapi.Deps{
		Control: control, Rights: decide, Peer: peer, Ready: n.engine.Ready, Refuses: func() string { return standby.Refuses(n.past.Held()) }, Gatherer: metrics, Registerer: metrics, Logger: n.log,
	})
	if err != nil {
		return err
	}
	page, err := webui.New(webui.Deps{Control: control, Sessions: n.control, Base: n.cfg.OIDC.RedirectBase, May: decide.May, Past: n.past.Why, Allows: decide.Lets, Logger: n.log})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	page.Register(mux)
	if err := api.Register(mux); err != nil {
		return err
	}
	if err := n.openTLS(metrics); err != nil {
		return err
	}
	n.httpServer = &http.Server{
		Handler: n.occupied(api.Middleware(mux)), ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, ConnContext: withConn, MaxHeaderBytes: maxHeader,
		TLSConfig: n.apiTLS, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams}, ErrorLog: quiet(n.log.Named("http")),
	}
	opts := agentpush.ServerOptions()
	var guard *access.Guard
	if n.registrar != nil {
		if guard, err = access.New(access.Config{}, access.Deps{Caller: n.registrar.Caller, Logger: n.log.Named("access"), Metrics: metrics}); err != nil {
			return err
		}
		opts = append(opts, guard.ServerOptions()...)
		opts = append(opts, grpc.Creds(auth.Gate(credentials.NewTLS(n.registrar.ServerTLS().Config()), auth.GateConfig{Showed: n.doors.peers.Showed})))
	}
	n.grpcServer = grpc.NewServer(opts...)
	n.hub.Register(n.grpcServer)
	if n.registrar != nil {
		authpb.RegisterEnrollServer(n.grpcServer, n.registrar)
		n.registrar.OnRevoke(n.revoked)
		return guard.Check(n.grpcServer.GetServiceInfo())
	}
	return nil
}
