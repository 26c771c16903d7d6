package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/control/etcdmembers"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// renewersOfOwn is how many clients renew leases where the members of etcd change while
// the node runs: of five members two may be lost.
const renewersOfOwn = 3

// openStore opens what the cluster's data is in, and returns how it is reached: an etcd
// of one's own, one in this process alone, or the members of the cluster's own.
func (n *Node) openStore(ctx context.Context) (configs.Etcd, error) {
	cfg := &n.cfg
	state, err := members.ReadState(cfg.DataDir)
	switch {
	case err != nil:
		return cfg.Etcd, err
	case cfg.EmbeddedEtcd && state != nil:
		return cfg.Etcd, fmt.Errorf("the data directory %s is of a cluster that keeps its data itself (%s): start without --embedded-etcd", cfg.DataDir, strings.Join(state.Endpoints, ", "))
	case cfg.EmbeddedEtcd:
		srv, err := members.Alone(etcdDirectory(*cfg), n.log)
		if err != nil {
			return cfg.Etcd, err
		}
		n.onClose(srv.Stop)
		return configs.Etcd{Endpoints: []string{srv.Endpoint}, DialTimeout: cfg.Etcd.DialTimeout}, nil
	case state == nil && !cfg.Own.Asked() && cfg.Own.Witness:
		return cfg.Etcd, fmt.Errorf("a witness votes among nodes that keep the data themselves, and %s is of none of these: give --join and a token", cfg.DataDir)
	case state == nil && !cfg.Own.Asked():
		return cfg.Etcd, nil
	case state != nil && cfg.Etcd.Given:
		return cfg.Etcd, fmt.Errorf("the data directory %s is of a cluster that keeps its data itself (%s): leave --etcd-endpoints out, or give another --data-dir", cfg.DataDir, strings.Join(state.Endpoints, ", "))
	}
	if n.members, err = n.openMembers(ctx, state); err != nil {
		return cfg.Etcd, err
	}
	n.onClose(n.members.Close)
	if err := n.members.Await(ctx); err != nil {
		return cfg.Etcd, err
	}
	files := n.members.Files()
	n.cfg.Etcd = configs.Etcd{
		Endpoints: n.members.Endpoints(), Prefix: cfg.Etcd.Prefix, DialTimeout: cfg.Etcd.DialTimeout,
		CA: files.CA(), Cert: files.Cert(), Key: files.Key(),
	}
	return n.cfg.Etcd, nil
}

// openMembers finds this node's place among the members.
func (n *Node) openMembers(ctx context.Context, state *members.State) (*members.Keeper, error) {
	cfg := &n.cfg
	listen, peerListen, url, peerURL := cfg.EtcdAddresses()
	of := members.Config{
		Pace: n.pace(), Node: job.NodeID(cfg.Node), DataDir: cfg.DataDir, Keys: n.keys, Hosts: n.names(),
		At: members.Addresses{PeerListen: peerListen, ClientListen: listen, PeerURL: peerURL, ClientURL: url},
	}
	token, err := nodeToken(cfg.Own)
	if why := of.Pace.TooShortALease(); why != "" {
		return nil, fmt.Errorf("leaseTTL: %s", why)
	}
	switch {
	case err != nil && state == nil:
		return nil, err
	case state != nil:
		if cfg.Own.ClusterInit && !state.Founded {
			return nil, fmt.Errorf("the data directory %s is of a node that has joined the cluster %s (%s), and --cluster-init makes a new one: leave it out, or give another --data-dir",
				cfg.DataDir, state.Cluster, strings.Join(state.Endpoints, ", "))
		}
		if token != "" {
			if err := members.OfToken(cfg.DataDir, token); err != nil {
				return nil, err
			}
		}
		return members.Resume(of, n.log)
	case cfg.Own.ClusterInit:
		return members.Found(ctx, of, n.log, n.found)
	case token == "":
		return nil, errors.New("--join needs a token until the node has joined: give --join-token-file with what `carillon nodes token` prints on a node of the cluster")
	}
	file, err := SealKeyFile(*cfg)
	if err != nil {
		return nil, err
	}
	return members.Join(ctx, of, members.Joining{Server: cfg.Own.Join, Token: token, SealKeyFile: file}, n.log)
}

// pace is how fast members call one another lost, by this node's settings.
func (n *Node) pace() pace.Pace {
	return pace.Pace{Heartbeat: n.cfg.Own.EtcdHeartbeat, Election: n.cfg.Own.EtcdElection, LeaseTTL: n.cfg.LeaseTTL}
}

// nodeToken is the token to join by; empty: none is given.
func nodeToken(own configs.Own) (string, error) {
	if own.JoinTokenFile == "" {
		return own.JoinToken, nil
	}
	text, err := os.ReadFile(own.JoinTokenFile)
	if err != nil {
		return "", fmt.Errorf("--join-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--join-token-file %s is empty; write what `carillon nodes token` prints", own.JoinTokenFile)
	}
	return token, nil
}

// found makes what the first member of a cluster needs of the cluster: its description,
// its seal key and its authority, in an etcd that is reached by this process alone.
func (n *Node) found(ctx context.Context, endpoint string) (*members.Founding, error) {
	client, err := dialEtcd(ctx, []string{endpoint}, configs.Etcd{DialTimeout: n.cfg.Etcd.DialTimeout}, startTimeout, n.log)
	if err != nil {
		return nil, err
	}
	ca, meta, err := n.foundOn(ctx, client)
	if err != nil {
		_ = client.Close() // it is of no use
		return nil, err
	}
	return &members.Founding{Client: client, Cluster: meta.ClusterID, Sign: n.signer(ca)}, nil
}

func (n *Node) foundOn(ctx context.Context, client *clientv3.Client) (*auth.Authority, etcdkv.Meta, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	meta, _, err := openMeta(ctx, client, n.keys, &n.cfg, true)
	if err != nil {
		return nil, meta, err
	}
	cfg := n.cfg
	cfg.EmbeddedEtcd = true // the key is made here, where there is none
	seal, err := openSeal(ctx, cfg, client, nil, n.log)
	if err != nil {
		return nil, meta, err
	}
	reg, err := registrar.Open(ctx, registrar.Config{Node: job.NodeID(cfg.Node), Cluster: meta.ClusterID, Keys: n.keys}, registrar.Deps{Client: client, Seal: seal, Logger: n.log})
	if err != nil {
		return nil, meta, fmt.Errorf("certificates: %w", err)
	}
	return reg.Authority(), meta, nil
}

// signer issues certificates for this node.
func (n *Node) signer(ca *auth.Authority) func([]byte) ([]byte, []byte, error) {
	return func(csr []byte) ([]byte, []byte, error) {
		cert, err := ca.SignMember(csr, job.NodeID(n.cfg.Node), n.names(), time.Now())
		return cert, ca.Certificate().Raw, err
	}
}

// openClient opens the client of etcd that all share.
func (n *Node) openClient(ctx context.Context, reach configs.Etcd) (err error) {
	if n.client, err = dialEtcd(ctx, reach.Endpoints, reach, startTimeout, n.log); err != nil {
		return err
	}
	n.onClose(func() { _ = n.client.Close() })
	if n.members == nil {
		return nil
	}
	still, err := dialEtcd(ctx, reach.Endpoints, reach, startTimeout, n.log)
	if err != nil {
		return err
	}
	n.onClose(func() { _ = still.Close() })
	members.Following(n.client, still)
	return nil
}

// openRenewers opens the clients by which leases are renewed: one for each endpoint, or,
// where the endpoints change, a few that follow them.
func (n *Node) openRenewers(ctx context.Context, reach configs.Etcd) ([]*clientv3.Client, error) {
	endpoints := reach.Endpoints
	if n.members != nil {
		endpoints = spread(reach.Endpoints, renewersOfOwn)
	}
	var renewers []*clientv3.Client
	for _, e := range endpoints {
		c, err := dialEtcd(ctx, []string{e}, reach, 0, n.log)
		if err != nil && reach.User != "" {
			// A user is asked for at once, and this member may be down. The others will do.
			n.log.Warn("leases are not renewed by way of this endpoint until the node starts again", zap.String("endpoint", e), zap.Error(err))
			continue
		}
		if err != nil {
			return nil, err
		}
		n.onClose(func() { _ = c.Close() })
		renewers = append(renewers, c)
	}
	return renewers, nil
}

// spread deals endpoints out to so many clients.
func spread(endpoints []string, clients int) []string {
	out := make([]string, clients)
	for i := range out {
		out[i] = endpoints[i%len(endpoints)]
	}
	return out
}

// useMembers connects the node's place among the members with its clients.
func (n *Node) useMembers(renewers []*clientv3.Client) {
	if n.members == nil {
		return
	}
	n.members.Use(members.Store{
		Client: n.client, Sign: n.signer(n.registrar.Authority()),
		Follow: func(endpoints []string) {
			n.client.SetEndpoints(endpoints...)
			for i, e := range spread(endpoints, len(renewers)) {
				renewers[i].SetEndpoints(e)
			}
			if n.watchdog != nil {
				n.watchdog.follow(endpoints)
			}
		},
	})
}

// storeForNodes is what a host is given that joins as a node; nil: the cluster's etcd is
// not its own.
func (n *Node) storeForNodes() func(context.Context) (registrar.Store, error) {
	if n.members == nil {
		return nil
	}
	return func(context.Context) (registrar.Store, error) {
		path, err := SealKeyFile(n.cfg)
		if err != nil {
			return registrar.Store{}, err
		}
		key, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a cluster may be in the clear
			return registrar.Store{}, fmt.Errorf("seal key file: %w", err)
		}
		return registrar.Store{SealKey: key, Endpoints: n.members.Endpoints()}, nil
	}
}

// reachOfOwn is how the etcd of a node is reached by what is done instead of serving:
// where the cluster keeps its data itself, by the members that run.
func reachOfOwn(cfg configs.Scheduler) (configs.Etcd, error) {
	state, err := members.ReadState(cfg.DataDir)
	if state == nil || err != nil {
		return cfg.Etcd, err
	}
	cert, key, ca := members.Files(cfg.DataDir)
	return configs.Etcd{Endpoints: state.Endpoints, Prefix: cfg.Etcd.Prefix, DialTimeout: cfg.Etcd.DialTimeout, CA: ca, Cert: cert, Key: key}, nil
}

// etcdMembers are the members as control sees them; nil where the cluster's etcd is not
// its own.
func (n *Node) etcdMembers() etcdmembers.Members {
	if n.members == nil {
		return nil
	}
	return roster.NewOperator(job.NodeID(n.cfg.Node), n.keys, n.client, func(endpoints []string) (*clientv3.Client, error) {
		return dialEtcd(context.Background(), endpoints, n.cfg.Etcd, startTimeout, n.log)
	}, n.pace())
}
