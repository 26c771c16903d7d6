package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// grantPage is how many minions one transaction of grantOldLabels is about.
const grantPage = 50

// errMetaChanged: another node wrote the cluster's description meanwhile.
var errMetaChanged = errors.New("the cluster's description was changed meanwhile; start the node again")

// grantOldLabels grants the minions of a cluster that was made by a release in
// which they chose their labels what they had, once: what is stored of them when
// the first node of a release that grants labels starts. It may be called by
// several nodes at once, and is done again where a node died amid it; what has
// been granted meanwhile stays.
func grantOldLabels(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, log *zap.Logger) error {
	got, err := c.Get(ctx, keys.Meta())
	if err != nil {
		return fmt.Errorf("cluster's description: %w", etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 {
		return errMetaChanged
	}
	kv := got.Kvs[0]
	meta, err := etcdkv.Decode[etcdkv.Meta](keys.Meta(), kv.Value)
	if err != nil || meta.LabelsGranted {
		return err
	}
	rev := got.Header.Revision
	granted := 0
	from, end := keys.Minions(), clientv3.GetPrefixRangeEnd(keys.Minions())
	for {
		page, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(grantPage), clientv3.WithRev(rev))
		if err != nil {
			return fmt.Errorf("list minions: %w", etcdkv.Unavailable(err))
		}
		for _, kv := range page.Kvs {
			done, err := grantOld(ctx, c, keys, string(kv.Key), kv.Value)
			if err != nil {
				return err
			}
			if done {
				granted++
			}
		}
		if !page.More || len(page.Kvs) == 0 {
			break
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
	meta.LabelsGranted = true
	text, err := etcdkv.MergeUnknown(kv.Value, meta)
	if err != nil {
		return err
	}
	done, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(keys.Meta()), "=", kv.ModRevision)).
		Then(clientv3.OpPut(keys.Meta(), text)).Commit()
	if err != nil {
		return fmt.Errorf("cluster's description: %w", etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		again, err := c.Get(ctx, keys.Meta())
		if err != nil || len(again.Kvs) == 0 {
			return errMetaChanged
		}
		if now, err := etcdkv.Decode[etcdkv.Meta](keys.Meta(), again.Kvs[0].Value); err != nil || !now.LabelsGranted {
			return errMetaChanged
		}
	}
	log.Info("minions keep the labels that they had; from now on labels are granted", zap.Int("minions", granted))
	return nil
}

// grantOld grants one stored minion its labels, with a record of it.
func grantOld(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, key string, value []byte) (bool, error) {
	m, err := etcdkv.Decode[etcdkv.StoredMinion](key, value)
	if err != nil || len(m.Labels) == 0 {
		return false, err
	}
	now := time.Now().UTC()
	grant, err := etcdkv.Encode(etcdkv.Grant{Schema: etcdkv.Schema, ID: m.ID, Labels: m.Labels, By: "upgrade", Since: now})
	if err != nil {
		return false, err
	}
	record, err := etcdkv.Encode(etcdkv.Audit{
		Schema: etcdkv.Schema, At: now, By: "upgrade", Action: "minion.label", Object: string(m.ID),
		Reason: "had them before labels were granted: " + job.LabelText(m.Labels),
	})
	if err != nil {
		return false, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return false, fmt.Errorf("new audit id: %w", err)
	}
	done, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(keys.Grant(m.ID)), "=", 0)).
		Then(clientv3.OpPut(keys.Grant(m.ID), grant), clientv3.OpPut(keys.AuditRecord(now, id.String()), record)).Commit()
	if err != nil {
		return false, fmt.Errorf("grant labels to minion %s: %w", m.ID, etcdkv.Unavailable(err))
	}
	return done.Succeeded, nil
}

// loadGrants reads the granted labels before the first minion comes: without them
// it would match nothing that goes by labels.
func (r *registry) loadGrants(ctx context.Context, set func(job.MinionID, map[string]string)) error {
	from, end := r.keys.Grants(), clientv3.GetPrefixRangeEnd(r.keys.Grants())
	for {
		page, err := r.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1000))
		if err != nil {
			return fmt.Errorf("granted labels: %w", etcdkv.Unavailable(err))
		}
		for _, kv := range page.Kvs {
			g, err := etcdkv.Decode[etcdkv.Grant](string(kv.Key), kv.Value)
			if err != nil {
				r.log.Warn("granted labels cannot be read", zap.Error(err))
				continue
			}
			set(g.ID, g.Labels)
		}
		if !page.More || len(page.Kvs) == 0 {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}
