package minions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// LabelMinion grants labels to a minion and takes some away, and returns those
// that it has then. The minion must be known, or have joined.
func (f *Fleet) LabelMinion(ctx context.Context, id job.MinionID, req api.LabelRequest) (map[string]string, error) {
	if len(req.Set)+len(req.Remove) == 0 {
		return nil, apiview.Invalid("set", "is empty, and so is remove; say which labels the minion gets or loses")
	}
	for _, k := range slices.Sorted(maps.Keys(req.Set)) {
		if err := job.CheckLabel(k, req.Set[k]); err != nil {
			return nil, apiview.Invalid("set."+k, err.Error())
		}
	}
	key := f.db.Keys.Grant(id)
	kv, err := f.db.Get(ctx, "minion.label", key)
	if err != nil {
		return nil, err
	}
	g := etcdkv.Grant{Labels: map[string]string{}}
	if kv != nil {
		if g, err = store.Decode[etcdkv.Grant](kv); err != nil {
			return nil, err
		}
	} else if err := f.knownMinion(ctx, id); err != nil {
		return nil, err
	}
	labels := maps.Clone(g.Labels)
	for _, k := range req.Remove {
		if _, ok := labels[k]; !ok {
			return nil, fmt.Errorf("label %s of minion %s: %w", k, id, job.ErrNotFound)
		}
		delete(labels, k)
	}
	maps.Copy(labels, req.Set)
	if n := len(labels); n > job.MaxLabels {
		return nil, apiview.Invalid("set", fmt.Sprintf("the minion would have %d labels; at most %d are allowed", n, job.MaxLabels))
	}
	op := clientv3.OpDelete(key)
	if len(labels) > 0 {
		text, err := etcdkv.Encode(etcdkv.Grant{Schema: etcdkv.Schema, ID: id, Labels: labels, By: caller.Of(ctx, req.By), Since: f.db.Now().UTC()})
		if err != nil {
			return nil, err
		}
		op = clientv3.OpPut(key, text)
	}
	o := req.Order
	o.Reason = LabelReason(req.Set, req.Remove, o.Reason)
	return labels, f.audit.Write(ctx, "minion.label", string(id), o, key, kv, op)
}

// knownMinion is an error where there is no such minion.
func (f *Fleet) knownMinion(ctx context.Context, id job.MinionID) error {
	if err := job.CheckName(string(id)); err != nil {
		return apiview.Invalid("minion", err.Error())
	}
	for _, key := range []string{f.db.Keys.Minion(id), f.db.Keys.AuthMinion(id)} {
		if kv, err := f.db.Get(ctx, "minion.label", key); kv != nil || err != nil {
			return err
		}
	}
	for _, m := range f.inventory.Minions() {
		if m.ID == id {
			return nil
		}
	}
	return fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
}

// LabelReason puts what was granted and taken away before the reason of an audit
// record.
func LabelReason(set map[string]string, remove []string, reason string) string {
	words := slices.Clone(remove)
	for i := range words {
		words[i] += "-"
	}
	if text := job.LabelText(set); text != "" {
		words = append([]string{text}, words...)
	}
	if len(words) == 0 {
		return reason
	}
	text := "labels " + strings.Join(words, ",")
	if reason != "" {
		text += ": " + reason
	}
	return text
}
