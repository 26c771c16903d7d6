package standby

import (
	"errors"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A copy of when the cluster was a standby before is never promoted (M3), and a cluster that
// is promoted from a copy of an earlier epoch begins one that the active one has not had (M8).
func TestM3_WhatIsPromotedIsNotOfAnEarlierTime(t *testing.T) {
	c := shared.Server(t).Client(t)
	a := newSite(t, c, "a", nil)
	a.put(a.job("x"), `{}`)
	b := newSite(t, c, "b", a)
	if _, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://active"}); err != nil {
		t.Fatal(err)
	}
	stop := b.run()
	b.same(a)
	stop()

	// The active one was restored since, and is followed from another address.
	a.put(a.keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "a", Epoch: 5, Shards: 2})
	if _, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://elsewhere"}); err != nil {
		t.Fatal(err)
	}
	if dry, err := b.s.PromoteCluster(t.Context(), api.PromoteRequest{DryRun: true}); err != nil || dry.Epoch != 6 || dry.Copy.Epoch != 1 {
		t.Errorf("a copy of epoch 1 of a cluster that is in epoch 5: %+v, %v", dry, err)
	}

	// It goes on by itself, and becomes a standby again.
	b.remove(b.keys.Hold())
	if _, err := b.s.FollowActive(t.Context(), api.FollowRequest{From: "https://active", Replace: true}); err != nil {
		t.Fatal(err)
	}
	if dry, err := b.s.PromoteCluster(t.Context(), api.PromoteRequest{DryRun: true}); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "no whole copy") {
		t.Errorf("an earlier copy would be promoted: %+v, %v", dry, err)
	}
	b.run()
	b.same(a)
}
