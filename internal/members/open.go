package members

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

func openFiles(dataDir string, node job.NodeID, log *zap.Logger) (*auth.NodeFiles, error) {
	dir := filepath.Join(dataDir, directoryName)
	if err := datadir.Make(dir, datadir.Private, log); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return auth.OpenNodeFiles(dir, node)
}

// Resume goes on from the state of a data directory: the etcd starts that has data
// here.
func Resume(cfg Config, log *zap.Logger) (*Keeper, error) {
	state, err := ReadState(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return nil, fmt.Errorf("%s has no state of a member", cfg.DataDir)
	}
	if state.Node != cfg.Node {
		return nil, fmt.Errorf("the data directory %s is of node %s, and this one is called %s: give --node %s, or another --data-dir", cfg.DataDir, state.Node, cfg.Node, state.Node)
	}
	if state.Prefix != cfg.Keys.Prefix() {
		return nil, fmt.Errorf("the cluster's keys begin with %s, and this node is given --etcd-prefix %s: leave it out or give that of the cluster", state.Prefix, cfg.Keys.Prefix())
	}
	k, err := newKeeper(cfg, log)
	if err != nil {
		return nil, err
	}
	k.state = *state
	data, err := hasData(k.etcdDir())
	switch {
	case err != nil:
		return nil, err
	case !data && (len(state.Endpoints) == 0 || slices.Equal(state.Endpoints, []string{cfg.At.ClientURL})):
		return nil, fmt.Errorf("the data of etcd is gone from %s, and this node knows no other member: restore a backup (docs/production.md), or remove %s to begin anew",
			k.etcdDir(), filepath.Join(cfg.DataDir, directoryName))
	case !data:
		return k, nil
	}
	leaf, err := k.files.Leaf()
	if err != nil {
		return nil, err
	}
	if leaf == nil || time.Now().After(leaf.NotAfter) {
		return nil, fmt.Errorf("the certificate of this member (%s) is not there, or has expired; remove the directories %s and %s, and join again with a token", k.files.Cert(), directoryName, etcdName)
	}
	return k, k.start("")
}

// Joining is how a host gets in that is to be a node.
type Joining struct {
	// Server is the host:port of a node, for minions and peers; Token a token for nodes.
	Server, Token string
	// SealKeyFile is where the seal key is to be.
	SealKeyFile string
}

// Join asks a node of a cluster for what this host needs to be one, and keeps it in the
// data directory. It asks again while no node answers.
func Join(ctx context.Context, cfg Config, j Joining, log *zap.Logger) (*Keeper, error) {
	if data, err := hasData(filepath.Join(cfg.DataDir, etcdName)); err != nil || data {
		return nil, errors.Join(err, fmt.Errorf("the data directory %s has the data of an etcd of its own (--embedded-etcd): --join would leave it behind; "+
			"give another --data-dir, or start with --cluster-init and have others join this node", cfg.DataDir))
	}
	k, err := newKeeper(cfg, log)
	if err != nil {
		return nil, err
	}
	wait := backoff.Backoff{Least: 500 * time.Millisecond, Most: 10 * time.Second}
	for {
		answer, err := k.files.Join(ctx, auth.NodeJoin{Server: j.Server, Token: j.Token, Hosts: cfg.Hosts, PeerURL: cfg.At.PeerURL, ClientURL: cfg.At.ClientURL})
		if errors.Is(err, auth.ErrUnanswered) {
			log.Warn("could not join, trying again", zap.Error(err))
			if wait.Pause(ctx) {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		if p := answer.GetPrefix(); p != cfg.Keys.Prefix() {
			return nil, fmt.Errorf("join: the cluster's keys begin with %s: give --etcd-prefix %s", p, p)
		}
		if len(answer.GetEndpoints()) == 0 {
			return nil, errors.New("join: the answer names no member")
		}
		if len(answer.GetSealKey()) > 0 {
			if err := replace(j.SealKeyFile, answer.GetSealKey()); err != nil {
				return nil, fmt.Errorf("join: the seal key: %w", err)
			}
		}
		return k, k.keep(State{Schema: etcdkv.Schema, Node: cfg.Node, Cluster: answer.GetCluster(), Prefix: cfg.Keys.Prefix(), Endpoints: answer.GetEndpoints()})
	}
}

// Founding is what makes an etcd that was alone the first member of a cluster.
type Founding struct {
	Client *clientv3.Client
	// Cluster is the cluster's id.
	Cluster string
	// Sign is as that of a Store.
	Sign func(csr []byte) (cert, ca []byte, err error)
}

// Found makes the etcd in the data directory the first member of a cluster: a new one,
// or that of --embedded-etcd. found is told where it is reached, and returns what the
// member needs; the authority is in the etcd itself.
func Found(ctx context.Context, cfg Config, log *zap.Logger, found func(ctx context.Context, endpoint string) (*Founding, error)) (*Keeper, error) {
	if err := cfg.found(ctx, log, found); err != nil {
		return nil, fmt.Errorf("first member: %w", err)
	}
	return Resume(cfg, log)
}

func (cfg Config) found(ctx context.Context, log *zap.Logger, found func(context.Context, string) (*Founding, error)) error {
	alone, err := Alone(filepath.Join(cfg.DataDir, etcdName), log)
	if err != nil {
		return err
	}
	defer alone.Stop()
	f, err := found(ctx, alone.Endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = f.Client.Close() }() // nothing is left in it
	ctx, cancel := context.WithTimeout(ctx, roster.ChangeTime)
	defer cancel()
	files, err := openFiles(cfg.DataDir, cfg.Node, log)
	if err != nil {
		return err
	}
	csr, err := files.Request()
	if err != nil {
		return err
	}
	cert, ca, err := f.Sign(csr)
	if err != nil {
		return err
	}
	if err := files.Install(cert, ca); err != nil {
		return err
	}
	if _, err := f.Client.MemberUpdate(ctx, uint64(alone.ID()), []string{cfg.At.PeerURL}); err != nil {
		return fmt.Errorf("address of the member: %w", err)
	}
	rec, err := etcdkv.Encode(etcdkv.EtcdNode{
		Schema: etcdkv.Schema, Node: cfg.Node, Member: true, PeerURL: cfg.At.PeerURL, ClientURL: cfg.At.ClientURL, JoinedAt: time.Now().UTC(),
	})
	if err != nil {
		return err
	}
	if _, err := f.Client.Put(ctx, cfg.Keys.EtcdNode(cfg.Node), rec); err != nil {
		return fmt.Errorf("record of the member: %w", etcdkv.Unavailable(err))
	}
	// The number of the cluster is told by the endpoints: that of an etcd that listened
	// on ports is not known here.
	return (&State{
		Schema: etcdkv.Schema, Node: cfg.Node, Cluster: f.Cluster, Founded: true, Prefix: cfg.Keys.Prefix(), Member: alone.ID().String(), Endpoints: []string{cfg.At.ClientURL},
	}).write(cfg.DataDir)
}

// OfToken tells why a data directory and a join token do not belong together; nil: they
// do.
func OfToken(dataDir, text string) error {
	token, err := auth.ParseToken(text)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(dataDir, directoryName, "ca.pem"))
	if err != nil {
		return fmt.Errorf("the certificate of the cluster's authority: %w", err)
	}
	if h, err := auth.CAHashOfPEM(ca); err != nil || h != token.CAHash {
		return errors.Join(err, fmt.Errorf("the data directory %s is of another cluster than the join token: give another --data-dir, or the token of that cluster", dataDir))
	}
	return nil
}
