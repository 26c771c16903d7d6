package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/members"
)

// accessTimeout bounds the wait for etcd where no node runs.
const accessTimeout = 15 * time.Second

// OpenEtcd reaches etcd without a node: at its endpoints, or, where dataDir is given, by
// running the embedded etcd of a node that is stopped. The function that it returns ends
// that.
func OpenEtcd(ctx context.Context, dataDir string, reach configs.Etcd) (_ *clientv3.Client, _ func(), err error) {
	n := &Node{log: zap.NewNop()} // what is closed in the opposite order
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if dataDir != "" {
		dir, err := openDirectory(dataDir, n.log)
		if err != nil {
			return nil, nil, err
		}
		n.onClose(dir.close)
		state, err := members.ReadState(dataDir)
		if err != nil {
			return nil, nil, err
		}
		if state != nil && len(state.Endpoints) > 1 { // a member that is alone is as an embedded etcd
			return nil, nil, fmt.Errorf("the data directory %s is of one of several nodes that keep the data of the cluster %s together (%s): for a backup, give --etcd-endpoints unix://%s while its node runs; "+
				"for a restore, see docs/disaster-recovery.md", dataDir, state.Cluster, strings.Join(state.Endpoints, ", "), filepath.Join(dataDir, "etcd", members.SocketName))
		}
		srv, err := members.Alone(filepath.Join(dataDir, "etcd"), n.log)
		if err != nil {
			return nil, nil, err
		}
		n.onClose(srv.Stop)
		reach = configs.Etcd{Endpoints: []string{srv.Endpoint}}
	}
	if reach.DialTimeout == 0 {
		reach.DialTimeout = accessTimeout
	}
	c, err := dialEtcd(ctx, reach.Endpoints, reach, accessTimeout, n.log)
	if err != nil {
		return nil, nil, err
	}
	n.onClose(func() { _ = c.Close() })
	asked, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	if _, err := c.Get(asked, "carillon", clientv3.WithCountOnly()); err != nil && asked.Err() != nil {
		return nil, nil, fmt.Errorf("etcd at %v does not answer: %s", reach.Endpoints, etcdTrouble(ctx, reach))
	}
	return c, n.Close, nil
}
