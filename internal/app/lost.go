package app

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/notify"
	"github.com/carillon-cron/carillon/job"
)

// lostParts are the nodes, sites and minions that should be there and are not, and whether
// etcd's space is nearly used up.
func (n *Node) lostParts(ctx context.Context) ([]notify.Lost, error) {
	resp, err := n.client.Get(ctx, n.keys.KnownNodes(), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list known nodes: %w", err)
	}
	var known []etcdkv.KnownNode
	for _, kv := range resp.Kvs {
		if k, err := etcdkv.Decode[etcdkv.KnownNode](string(kv.Key), kv.Value); err == nil {
			known = append(known, k)
		}
	}
	lost := lostNodes(known, n.cluster.Members())
	if n.reg.fed() {
		_, away := n.hub.Reach(job.Target{})
		for _, u := range away {
			if n.hub.Revoked(u.Minion) {
				continue // somebody has sent it away
			}
			lost = append(lost, notify.Lost{Event: job.AlertMinionLost, Name: string(u.Minion), Why: u.Reason})
		}
	}
	if err := n.control.RoomForJobs(ctx); err != nil && ctx.Err() == nil {
		lost = append(lost, notify.Lost{Event: job.AlertQuota, Name: "etcd's space", Why: err.Error()})
	}
	return lost, nil
}

// lostNodes are the nodes that are known and not live, and the sites that have no other.
// Those of a site that is lost are told of as the site.
func lostNodes(known []etcdkv.KnownNode, live []etcdkv.Member) []notify.Lost {
	here, sites := map[job.NodeID]bool{}, map[string]bool{}
	for _, m := range live {
		here[m.Node], sites[m.Site] = true, true
	}
	gone := map[string]int{}
	var lost []notify.Lost
	for _, k := range known {
		switch {
		case here[k.Node]:
		case k.Site == "" || sites[k.Site]:
			lost = append(lost, notify.Lost{
				Event: job.AlertNodeLost, Name: string(k.Node),
				Why: fmt.Sprintf("it has not left in order (at %s, joined %s)", k.PeerAddr, k.JoinedAt.Format(time.RFC3339)),
			})
		default:
			if gone[k.Site]++; gone[k.Site] == 1 {
				lost = append(lost, notify.Lost{Event: job.AlertSiteLost, Name: k.Site})
			}
		}
	}
	for i := range lost {
		if lost[i].Event == job.AlertSiteLost {
			lost[i].Why = fmt.Sprintf("none of its %d nodes is there", gone[lost[i].Name])
		}
	}
	return lost
}
