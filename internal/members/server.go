package members

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
)

const (
	// aloneReady bounds the start of an etcd that is alone: it waits for nobody.
	aloneReady = 2 * time.Minute
	// turnAwayTime bounds the wait for what a member was asked before it turns clients away.
	turnAwayTime = time.Second
)

// SocketName is the name of the socket in etcd's directory.
const SocketName = "client.sock"

// memberName is where etcd keeps its data in its directory.
const memberName = "member"

// Server is an etcd inside this process. This process, and root, reach it over a
// Unix socket in its directory, which no other account can get into. Alone it listens
// nowhere else; as a member of a cluster it has a port for its peers and one for the
// clients on other nodes.
type Server struct {
	// Endpoint is the socket as an endpoint.
	Endpoint string
	etcd     *embed.Etcd
	at       *socketPlace
	door     *door // nil: it is alone
}

// Alone starts an etcd of one member that nobody but this process and root reaches.
func Alone(dir string, log *zap.Logger) (*Server, error) {
	return alone(dir, false, log)
}

// AloneFrom starts an etcd of one member, in an empty directory, from a copy of the data
// of a member of several, which does not run. What is in dataDir stays as it is.
func AloneFrom(dataDir, dir string, log *zap.Logger) (*Server, error) {
	from := filepath.Join(dataDir, etcdName, memberName)
	if err := os.CopyFS(filepath.Join(dir, memberName), os.DirFS(from)); err != nil {
		return nil, fmt.Errorf("copy of %s: %w", from, err)
	}
	return alone(dir, true, log)
}

// alone starts an etcd of one member, anew: of data that is of a member of several.
func alone(dir string, anew bool, log *zap.Logger) (*Server, error) {
	s, err := start(dir, "embedded", nil, anew, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), aloneReady)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// netPlace is where a member of a cluster is reached.
type netPlace struct {
	Addresses
	// files are its certificate, its key and the authority.
	cert, key, ca string
	// initial are the members when it joins, as name=URL; empty: it goes on from its data.
	initial string
	door    *door
	pace    pace.Pace
}

// start starts an etcd. It does not wait until the etcd serves: a member does so only
// once a majority of the members is there.
func start(dir, name string, at *netPlace, anew bool, log *zap.Logger) (_ *Server, err error) {
	if err := datadir.Make(dir, datadir.Private, log); err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	place, err := placeSocket(dir, SocketName)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	defer func() {
		if err != nil {
			place.close()
		}
	}()
	listen := url.URL{Scheme: "unix", Path: place.path}
	nowhere := url.URL{Scheme: "http", Host: "127.0.0.1:0"} // a member must have an address
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.ForceNewCluster = name, dir, anew
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{nowhere}
	// Alone, a member elects itself; short timeouts start it sooner and allow
	// shorter leases.
	cfg.TickMs, cfg.ElectionMs = 50, 500
	if at != nil {
		if err := at.configure(cfg); err != nil {
			return nil, fmt.Errorf("embedded etcd: %w", err)
		}
		cfg.ListenClientUrls = append(cfg.ListenClientUrls, listen)
	} else {
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	}
	// No page can reach a Unix socket, and none has a certificate; should one ever
	// reach it, it shall be served no page either. An empty list of origins would
	// allow all.
	cfg.CORS, cfg.HostWhitelist = map[string]struct{}{"none": {}}, map[string]struct{}{"localhost": {}}
	cfg.EnableGRPCGateway, cfg.EnablePprof, cfg.ListenMetricsUrls = false, false, nil
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "1m"
	cfg.QuotaBackendBytes = roster.Quota
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.Named("etcd").WithOptions(zap.IncreaseLevel(zap.DPanicLevel)))
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
	}
	if err := os.Chmod(place.path, 0o600); err != nil { // its directory keeps others out already
		srv.Close()
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	out := &Server{Endpoint: listen.String(), etcd: srv, at: place}
	if at != nil {
		out.door = at.door
		out.door.etcd.Store(srv.Server)
	}
	return out, nil
}

// configure has a member listen for its peers and for clients on other nodes. Both
// are asked for a certificate of the cluster's authority that is good for the name of
// members: minions have certificates of the same authority, and theirs name no host.
func (p *netPlace) configure(cfg *embed.Config) error {
	var at [4]url.URL
	for i, text := range []string{"https://" + p.PeerListen, "https://" + p.ClientListen, p.PeerURL, p.ClientURL} {
		u, err := url.Parse(text)
		if err != nil {
			return err
		}
		at[i] = *u
	}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = []url.URL{at[0]}, []url.URL{at[1]}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{at[2]}, []url.URL{at[3]}
	secure := transport.TLSInfo{
		CertFile: p.cert, KeyFile: p.key, TrustedCAFile: p.ca, ClientCertAuth: true,
		AllowedHostnames: []string{auth.MemberName}, SkipClientSANVerify: true, // others may see a node under another address
	}
	cfg.PeerTLSInfo, cfg.ClientTLSInfo = secure, secure
	cfg.TickMs, cfg.ElectionMs = uint(p.pace.Heartbeat.Milliseconds()), uint(p.pace.Election.Milliseconds())
	cfg.StrictReconfigCheck = true
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(p.door.unary), grpc.ChainStreamInterceptor(p.door.stream)}
	cfg.InitialCluster = p.initial
	if p.initial == "" { // not looked at where there is data
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	}
	cfg.ClusterState = embed.ClusterStateFlagExisting
	return nil
}

// Ready waits until the etcd serves.
func (s *Server) Ready(ctx context.Context) error {
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err := <-s.etcd.Err():
		return fmt.Errorf("%w: %w", ErrEnded, err)
	case <-s.Ended():
		return ErrEnded
	case <-ctx.Done():
		return fmt.Errorf("the embedded etcd is not ready: %w", context.Cause(ctx))
	}
	return nil
}

// Ended is closed once the etcd has ended, whether by Stop or by itself.
func (s *Server) Ended() <-chan struct{} { return s.etcd.Server.StopNotify() }

// ID is the number of this member.
func (s *Server) ID() roster.ID { return roster.ID(s.etcd.Server.MemberID()) }

// turnAway has clients ask other members from now on. It returns once what was asked
// before has been answered, or after a while.
func (s *Server) turnAway() {
	if s.door == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), turnAwayTime)
	defer cancel()
	s.door.close(ctx)
}

// retire is turnAway for a member that is to be removed: it hands the lead over, too.
// readmit takes it back.
func (s *Server) retire() {
	s.turnAway()
	_ = s.etcd.Server.TryTransferLeadershipOnShutdown() // without it, the others elect one
}

func (s *Server) readmit() {
	if s.door != nil {
		s.door.open()
	}
}

// Stop ends the etcd. One that leads hands that over by itself.
func (s *Server) Stop() {
	s.turnAway()
	select {
	case <-s.etcd.Server.ReadyNotify():
	default:
		// It waits for a majority, and Close for what begins only once it serves.
		s.etcd.Server.HardStop()
	}
	s.etcd.Close()
	s.at.close()
}

// hasData reports whether there is a log of a member in a directory of etcd: it has
// been started once.
func hasData(dir string) (bool, error) {
	names, err := filepath.Glob(filepath.Join(escaped(dir), memberName, "wal", "*.wal"))
	if err != nil {
		return false, fmt.Errorf("etcd's directory: %w", err)
	}
	return len(names) > 0, nil
}

// escaped is a path as a pattern that matches it alone.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
