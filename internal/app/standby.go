package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/standby"
	"github.com/carillon-cron/carillon/job"
)

// openStandby makes what the cluster is to another one.
func (n *Node) openStandby(recovers func(context.Context, api.RecoverRequest) (api.Recovery, error), metrics prometheus.Registerer) error {
	var err error
	if n.standby, err = standby.New(standby.Config{
		Node: job.NodeID(n.cfg.Node), Keys: n.keys, Version: n.build.Version, Site: n.ownURL(),
	}, standby.Deps{
		Client: n.client, Seal: n.seal, Held: n.past.Held, Mine: func() bool { return n.looksAfter(0) }, Dial: dialActive(n.build.Version),
		Recover: recovers, Audit: n.control.AuditOp, OwnEtcd: n.members != nil,
		Now: n.now, Logger: n.log, Metrics: metrics,
	}); err != nil {
		return err
	}
	n.control.SetStanding(n.standby)
	return nil
}

// ownURL is where others reach the API of this node.
func (n *Node) ownURL() string {
	return n.scheme() + "://" + n.advertise(n.apiListener)
}

// active is the cluster that is followed, over its API.
type active struct {
	client.Standby

	of *client.Client
}

// Mirror implements standby.Active.
func (a active) Mirror(ctx context.Context, req api.MirrorRequest) (io.ReadCloser, error) {
	return a.Standby.Mirror(ctx, req)
}

// Close implements standby.Active.
func (a active) Close() { a.of.Close() }

// dialActive returns how the active cluster is reached. Of several addresses each call takes
// the next one, so that the loss of a node is got over by asking again.
func dialActive(version string) standby.Dial {
	var turn atomic.Uint64
	return func(f *etcdkv.Following) (standby.Active, error) {
		var servers []string
		for s := range strings.SplitSeq(f.From, ",") {
			if s = strings.TrimSpace(s); s != "" {
				servers = append(servers, s)
			}
		}
		if len(servers) == 0 {
			return nil, fmt.Errorf("%q names no server", f.From)
		}
		c, err := client.New(client.Config{Server: servers[turn.Add(1)%uint64(len(servers))], CA: []byte(f.CA), Token: f.Token, Agent: "carillon-standby/" + version})
		if err != nil {
			return nil, err
		}
		return active{c.Standby, c}, nil
	}
}
