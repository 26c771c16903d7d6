package app

import (
	"context"
	"fmt"
	"os"
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

// Directory is the data directory of a node that is stopped.
type Directory struct {
	Path string
	// Copied: it is only read, and may be of one of several members, of which a copy runs
	// then: as far as that member has come.
	Copied bool
}

// OpenEtcd reaches etcd without a node: at its endpoints, or, where a directory is given,
// by running the embedded etcd of a node that is stopped. The function that it returns ends
// that.
func OpenEtcd(ctx context.Context, at Directory, reach configs.Etcd) (_ *clientv3.Client, _ func(), err error) {
	n := &Node{log: zap.NewNop()} // what is closed in the opposite order
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if at.Path != "" {
		srv, err := n.openStopped(at)
		if err != nil {
			return nil, nil, err
		}
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
		return nil, nil, unanswered(reach.Endpoints, etcdTrouble(ctx, reach))
	}
	return c, n.Close, nil
}

// unanswered is the error of an etcd that does not answer, for a reason; empty: it can be
// connected to, and nothing else is found.
func unanswered(endpoints []string, why string) error {
	if why == "" {
		why = "it can be connected to, and has no leader: a majority of its members has to run (docs/disaster-recovery.md)"
	}
	return fmt.Errorf("etcd at %v does not answer: %s", endpoints, why)
}

// openStopped runs the etcd of a node that is stopped, alone.
func (n *Node) openStopped(at Directory) (*members.Server, error) {
	dir, err := openDirectory(at.Path, n.log)
	if err != nil {
		return nil, err
	}
	n.onClose(dir.close)
	state, err := members.ReadState(at.Path)
	if err != nil {
		return nil, err
	}
	if state != nil && state.Member == "" {
		return nil, fmt.Errorf("the data directory %s is of a client of the cluster %s: it has none of the cluster's data, and what is put into it, no node reads. Take the data directory of a member (%s)",
			at.Path, state.Cluster, strings.Join(state.Endpoints, ", "))
	}
	var srv *members.Server
	switch several := state != nil && len(state.Endpoints) > 1; { // a member that is alone is as an embedded etcd
	case several && !at.Copied:
		return nil, fmt.Errorf("the data directory %s is of one of several nodes that keep the data of the cluster %s together (%s): restore into a new one. Move this one away, and keep its seal.key; docs/disaster-recovery.md has the steps",
			at.Path, state.Cluster, strings.Join(state.Endpoints, ", "))
	case several:
		copied, err := os.MkdirTemp("", "carillon-etcd-")
		if err != nil {
			return nil, fmt.Errorf("copy of the data: %w", err)
		}
		n.onClose(func() { _ = os.RemoveAll(copied) })
		srv, err = members.AloneFrom(at.Path, copied, n.log)
		if err != nil {
			return nil, err
		}
	default:
		if srv, err = members.Alone(filepath.Join(at.Path, "etcd"), n.log); err != nil {
			return nil, err
		}
	}
	n.onClose(srv.Stop)
	return srv, nil
}
