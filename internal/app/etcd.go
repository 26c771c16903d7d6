package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/configs"
	again "github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// dialEtcd opens a client with keepalives that notice a dead connection soon. A client that
// has a user asks etcd at once who that is; where etcd does not answer, that is tried again
// for as long as patience.
func dialEtcd(ctx context.Context, endpoints []string, settings configs.Etcd, patience time.Duration, log *zap.Logger) (*clientv3.Client, error) {
	secure, err := etcdTLS(settings)
	if err != nil {
		return nil, err
	}
	password, err := etcdPassword(settings)
	if err != nil {
		return nil, err
	}
	cfg := clientv3.Config{
		Endpoints: endpoints, DialTimeout: settings.DialTimeout, TLS: secure,
		Username: settings.User, Password: password,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		DialOptions: append(noticingSilence(endpoints), grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: 500 * time.Millisecond},
		}), grpc.WithChainUnaryInterceptor(etcdkv.AskAgain())),
		Logger: log.Named("etcd-client").WithOptions(zap.IncreaseLevel(zap.ErrorLevel)),
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := clientv3.New(cfg)
	for settings.User != "" && isUnanswered(err) && bounded.Err() == nil {
		log.Warn("etcd does not say whether it knows the user; it is asked again", zap.Strings("endpoints", endpoints), zap.String("user", settings.User), zap.Error(err))
		select {
		case <-bounded.Done():
		case <-time.After(userAgain):
		}
		c, err = clientv3.New(cfg)
	}
	switch {
	case settings.User != "" && isUnanswered(err):
		return nil, withoutEtcd(ctx, settings, fmt.Errorf("as user %s: %w", settings.User, err))
	case err != nil && settings.User != "":
		return nil, fmt.Errorf("etcd at %v, as user %s: %w", endpoints, settings.User, err)
	case err != nil:
		return nil, fmt.Errorf("etcd client for %v: %w", endpoints, err)
	}
	return c, nil
}

// userAgain is the pause before etcd is asked again whether it knows the user.
const userAgain = 200 * time.Millisecond

// isUnanswered reports whether an error says that etcd has not answered, and may later.
func isUnanswered(err error) bool {
	var told rpctypes.EtcdError
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.Unavailable || errors.As(err, &told) && told.Code() == codes.Unavailable
}

// etcdPassword reads the password of the node's user in etcd; empty: it has none.
func etcdPassword(settings configs.Etcd) (string, error) {
	if settings.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(settings.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("--etcd-password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("--etcd-password-file %s is empty; write the password of user %s", settings.PasswordFile, settings.User)
	}
	return password, nil
}

// etcdTLS returns how https endpoints are reached: nil for the host's
// certificates and none of our own.
func etcdTLS(settings configs.Etcd) (*tls.Config, error) {
	if settings.CA == "" && settings.Cert == "" {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: settings.CA, CertFile: settings.Cert, KeyFile: settings.Key}
	secure, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("certificates for etcd: %w", err)
	}
	return secure, nil
}

// errShards is returned when a node is configured for another number of shards
// than the cluster has.
var errShards = errors.New("number of shards differs")

// errNoCluster is returned when etcd holds no cluster, and this node founds none.
var errNoCluster = errors.New("etcd holds no cluster")

// openMeta reads the cluster's description, or writes it as its first node if it may found
// one, as open or closed as cfg says. While a restore writes, nobody founds one. Where etcd does not answer, it is asked
// again until ctx ends: a transaction that was not answered is done once at most, and what it
// wrote the next one reads.
func openMeta(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, cfg *configs.Scheduler, founds bool) (etcdkv.Meta, int64, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return etcdkv.Meta{}, 0, fmt.Errorf("new cluster id: %w", err)
	}
	shards, count := cfg.Shards, cfg.Shards
	if count == 0 {
		count = configs.DefaultShards
	}
	meta := etcdkv.Meta{Schema: etcdkv.Schema, ClusterID: id.String(), Epoch: 1, Shards: count, CreatedAt: time.Now().UTC(), LabelsGranted: true}
	value, err := etcdkv.Encode(&meta)
	if err != nil {
		return meta, 0, err
	}
	begins, err := etcdkv.Encode(etcdkv.Access{Schema: etcdkv.Schema, State: cfg.Access, By: "node " + cfg.Node, Reason: "the cluster was made with --access " + cfg.Access, Since: meta.CreatedAt})
	if err != nil {
		return meta, 0, err
	}
	key := keys.Meta()
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0), clientv3.Compare(clientv3.CreateRevision(keys.Hold()), "=", 0)}
	if !founds {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "<", 0)) // never
	}
	wait := again.Backoff{Least: 100 * time.Millisecond, Most: 2 * time.Second}
	var resp *clientv3.TxnResponse
	for {
		resp, err = c.Txn(ctx).If(cmps...).
			Then(clientv3.OpPut(key, value), clientv3.OpPut(keys.Access(), begins)).Else(clientv3.OpGet(key)).Commit()
		if !isUnanswered(err) || !wait.Pause(ctx) {
			break
		}
	}
	if errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty) {
		return meta, 0, fmt.Errorf("etcd refuses this node: give --etcd-user and --etcd-password-file, or a certificate with the user's name, and the user the role that `carillon doctor --etcd-role --etcd-prefix %s` prints: %w",
			keys.Prefix(), err)
	}
	if err != nil {
		return meta, 0, fmt.Errorf("etcd does not answer: %w", err)
	}
	rev := resp.Header.Revision
	if resp.Succeeded {
		return meta, rev, nil
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return meta, 0, errNoCluster
	}
	meta, err = etcdkv.Decode[etcdkv.Meta](key, kvs[0].Value)
	if err != nil {
		return meta, 0, err
	}
	if shards != 0 && shards != meta.Shards {
		return meta, 0, fmt.Errorf("%w: the cluster was made with %d shards, this node is configured for %d; the number is fixed when a cluster is made, so leave it out or give %d",
			errShards, meta.Shards, shards, meta.Shards)
	}
	return meta, rev, nil
}
