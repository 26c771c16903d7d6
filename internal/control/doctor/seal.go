package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealkey"
	"github.com/carillon-cron/carillon/job"
)

// checkSeal looks by which keys the secrets of the cluster's own are sealed, and which
// nodes have them.
func (c *Checker) checkSeal(ctx context.Context) ([]api.Check, error) {
	state, err := store.GetAs[etcdkv.SealState](ctx, c.db, "read the record of the seal key", c.db.Keys.SealState())
	if err != nil {
		return nil, err
	}
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.db.Keys.Members())
	if err != nil {
		return nil, err
	}
	holders, err := store.ListAll[etcdkv.SealHolder](ctx, c.db, "list seal keys of nodes", c.db.Keys.SealHolders())
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	clear := map[string]bool{}
	for _, s := range c.db.Keys.Secrets() {
		err := c.db.List(ctx, "list secrets", s.Prefix, func(kv *mvccpb.KeyValue) error {
			if s.Whole() && string(kv.Key) != s.Prefix {
				return nil
			}
			by := sealedBy(s, kv)
			if by == "" {
				clear[s.What] = true
			}
			counts[by]++
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return []api.Check{sealCheck(state, members, holders, counts, slices.Sorted(maps.Keys(clear)))}, nil
}

// sealedBy is the key by which a secret is sealed; empty: it is in the clear.
func sealedBy(s etcdkv.Secret, kv *mvccpb.KeyValue) string {
	raw, err := s.Get(string(kv.Key), kv.Value)
	var text string
	if err != nil || json.Unmarshal(raw, &text) != nil {
		return ""
	}
	by, _ := sealkey.SealedBy(text)
	return string(by)
}

func sealCheck(state etcdkv.SealState, members []etcdkv.Member, holders []etcdkv.SealHolder, counts map[string]int, clear []string) api.Check {
	held := map[job.NodeID][]string{}
	next := "" // the key that most wait for: the first of a file that is not the state's
	for _, h := range holders {
		held[h.Node] = h.Keys
		if len(h.Keys) > 0 && h.Keys[0] != state.Key {
			next = h.Keys[0]
		}
	}
	var lacking, behind []job.NodeID
	for i := range members {
		keys := held[members[i].Node]
		if state.Key != "" && !slices.Contains(keys, state.Key) {
			lacking = append(lacking, members[i].Node)
		}
		if next != "" && (len(keys) == 0 || keys[0] != next) {
			behind = append(behind, members[i].Node)
		}
	}
	ch := api.Check{Name: "seal key", Status: api.CheckOK}
	switch {
	case state.Key == "" && next == "":
		ch.Status, ch.Detail = api.CheckWarn, "what the cluster keeps of its own in etcd, the authority's key before all, is in the clear: who reads etcd, or a backup of it, can be any node and any minion"
		ch.Hint = "start each node with --seal-key-file FILE, the same file on all (docs/security.md)"
	case state.Key == "":
		ch.Status, ch.Detail = api.CheckWarn, fmt.Sprintf("secrets are in the clear, as %v do not have the key %s as their first", behind, next)
		ch.Hint = "copy the seal key file to these nodes; if they are of a former release, bring them to this one"
	case len(lacking) > 0:
		ch.Status, ch.Detail = api.CheckFail, fmt.Sprintf("secrets are sealed with the key %s, which %v do not have: they will not start again", state.Key, lacking)
		ch.Hint = fmt.Sprintf("copy %s of node %s to them", state.File, state.Node)
	case state.SettledAt.IsZero() || len(clear) > 0 || len(counts) > 1:
		ch.Status, ch.Detail = api.CheckWarn, "secrets are being sealed with the key "+state.Key+": "+countsText(counts, clear)
		ch.Hint = "ask again in a minute; if it stays so, see the logs of the nodes"
	case next != "":
		ch.Status, ch.Detail = api.CheckWarn, fmt.Sprintf("the key %s takes over from %s once it is the first one on %v", next, state.Key, behind)
		ch.Hint = "copy the seal key file of a node that has it to these nodes"
	default:
		ch.Detail = fmt.Sprintf("all %d secrets are sealed with the key %s, which all nodes have", counts[state.Key], state.Key)
	}
	return ch
}

// countsText tells how many secrets are sealed by which key.
func countsText(counts map[string]int, clear []string) string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		by := "by " + id
		if id == "" {
			by = "in the clear (" + strings.Join(clear, ", ") + ")"
		}
		parts = append(parts, fmt.Sprintf("%d %s", counts[id], by))
	}
	if len(parts) == 0 {
		return "there are none"
	}
	return strings.Join(parts, ", ")
}
