package control

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

func viewOfMinion(m job.Minion) api.Minion {
	v := api.Minion{Minion: m, State: api.MinionConnected}
	if m.Node == "" {
		v.State = api.MinionDisconnected
	}
	if len(m.Facts) > 0 {
		v.FactsFrom = api.FactsFromMinion
	}
	return v
}

// Minion returns what is known of one minion: one that has been connected, or
// has joined. The error is job.ErrNotFound where there is none.
func (c *Control) Minion(ctx context.Context, id job.MinionID) (api.MinionDetail, error) {
	var out api.MinionDetail
	if err := job.CheckName(string(id)); err != nil {
		return out, invalid("minion", err.Error())
	}
	all, err := c.allMinions()
	if err != nil {
		return out, err
	}
	keys := c.cfg.Keys
	resp, err := c.txn(ctx, "read minion "+string(id), nil, []clientv3.Op{
		clientv3.OpGet(keys.Minion(id)), clientv3.OpGet(keys.Grant(id)), clientv3.OpGet(keys.AuthMinion(id)),
	})
	if err != nil {
		return out, err
	}
	known := false
	m := job.Minion{ID: id}
	if kvs := resp.Responses[1].GetResponseRange().GetKvs(); len(kvs) > 0 {
		g, err := decode[etcdkv.Grant](kvs[0])
		if err != nil {
			return out, err
		}
		m.Labels = g.Labels
		out.Granted = &api.LabelGrant{By: g.By, Since: g.Since}
	}
	if kvs := resp.Responses[2].GetResponseRange().GetKvs(); len(kvs) > 0 {
		e, err := decode[etcdkv.Enrollment](kvs[0])
		if err != nil {
			return out, err
		}
		certificate := enrollmentTold(&e)
		known, out.Certificate = true, &certificate
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		stored, err := decode[etcdkv.StoredMinion](kvs[0])
		if err != nil {
			return out, err
		}
		known, m = true, saidAndGranted(&stored, m.Labels)
	}
	for _, live := range all { // knows more, and newer
		if live.ID == id {
			known, m = true, live
		}
	}
	if !known {
		return out, fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
	}
	out.Minion = viewOfMinion(m)
	return out, nil
}
