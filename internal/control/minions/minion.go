package minions

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Minion returns what is known of one minion: one that has been connected, or
// has joined. The error is job.ErrNotFound where there is none.
func (f *Fleet) Minion(ctx context.Context, id job.MinionID) (api.MinionDetail, error) {
	var out api.MinionDetail
	if err := job.CheckName(string(id)); err != nil {
		return out, apiview.Invalid("minion", err.Error())
	}
	all, err := f.Known()
	if err != nil {
		return out, err
	}
	keys := f.db.Keys
	resp, err := f.db.Do(ctx, "read minion "+string(id), nil, []clientv3.Op{
		clientv3.OpGet(keys.Minion(id)), clientv3.OpGet(keys.Grant(id)), clientv3.OpGet(keys.AuthMinion(id)),
	})
	if err != nil {
		return out, err
	}
	known := false
	m := job.Minion{ID: id}
	if kvs := resp.Responses[1].GetResponseRange().GetKvs(); len(kvs) > 0 {
		g, err := store.Decode[etcdkv.Grant](kvs[0])
		if err != nil {
			return out, err
		}
		m.Labels = g.Labels
		out.Granted = &api.LabelGrant{By: g.By, Since: g.Since}
	}
	if kvs := resp.Responses[2].GetResponseRange().GetKvs(); len(kvs) > 0 {
		e, err := store.Decode[etcdkv.Enrollment](kvs[0])
		if err != nil {
			return out, err
		}
		certificate := apiview.Enrollment(&e)
		known, out.Certificate = true, &certificate
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		stored, err := store.Decode[etcdkv.StoredMinion](kvs[0])
		if err != nil {
			return out, err
		}
		known, m = true, apiview.StoredMinion(&stored, m.Labels)
	}
	for _, live := range all { // knows more, and newer
		if live.ID == id {
			known, m = true, live
		}
	}
	if !known {
		return out, fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
	}
	out.Minion = apiview.Minion(m)
	return out, nil
}
