package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// What doctor says of seal keys, and what is to be done.
func TestSealKeysAreTold(t *testing.T) {
	t.Parallel()
	const a, b = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	members := []etcdkv.Member{{Node: "n1"}, {Node: "n2"}}
	settled := etcdkv.SealState{Key: a, Node: "n1", File: "/n1/seal.key", SettledAt: time.Now()}
	going := settled
	going.SettledAt = time.Time{}
	hold := func(keys ...[]string) []etcdkv.SealHolder {
		var out []etcdkv.SealHolder
		for i, k := range keys {
			if k != nil {
				out = append(out, etcdkv.SealHolder{Node: members[i].Node, Keys: k})
			}
		}
		return append(out, etcdkv.SealHolder{Node: job.NodeID("gone"), Keys: []string{a}})
	}
	one := []string{a}
	for name, c := range map[string]struct {
		state        etcdkv.SealState
		holders      []etcdkv.SealHolder
		counts       map[string]int
		clear        []string
		status       api.CheckStatus
		detail, hint string
	}{
		"in the clear":           {etcdkv.SealState{}, nil, map[string]int{"": 3}, []string{"join tokens"}, api.CheckWarn, "is in the clear: who reads etcd", "--seal-key-file FILE"},
		"some have it":           {etcdkv.SealState{}, hold(one), map[string]int{"": 3}, nil, api.CheckWarn, "as [n2] do not have the key " + a, "copy the seal key file"},
		"all is well":            {settled, hold(one, []string{a, b}), map[string]int{a: 5}, nil, api.CheckOK, "all 5 secrets are sealed with the key " + a, ""},
		"nothing is there":       {settled, hold(one, one), nil, nil, api.CheckOK, "all 0 secrets", ""},
		"one lacks it":           {settled, hold(one), map[string]int{a: 5}, nil, api.CheckFail, "which [n2] do not have", "/n1/seal.key of node n1"},
		"it goes on":             {going, hold(one, one), map[string]int{a: 2, b: 3}, nil, api.CheckWarn, "2 by " + a + ", 3 by " + b, "ask again"},
		"somebody has written":   {settled, hold(one, one), map[string]int{a: 2, "": 1}, []string{"join tokens"}, api.CheckWarn, "1 in the clear (join tokens)", "logs"},
		"the next key waits":     {settled, hold([]string{b, a}, one), map[string]int{a: 5}, nil, api.CheckWarn, "the key " + b + " takes over from " + a + " once it is the first one on [n2]", "copy the seal key file"},
		"the next key is lonely": {settled, hold([]string{b, a}, []string{a, b}), map[string]int{a: 5}, nil, api.CheckWarn, "once it is the first one on [n2]", "copy the seal key file"},
	} {
		got := sealCheck(c.state, members, c.holders, c.counts, c.clear)
		if got.Status != c.status || !strings.Contains(got.Detail, c.detail) || !strings.Contains(got.Hint, c.hint) || (c.status == api.CheckOK) != (got.Hint == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
