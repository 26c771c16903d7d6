package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// longLag is a lag of a copy that is warned of.
const longLag = 30 * time.Second

// idle is the hold of a cluster that is not meant to plan, because another one does; nil: it
// is meant to.
func (c *Checker) idle() *etcdkv.Hold {
	if c.held == nil {
		return nil
	}
	h := c.held()
	if h == nil {
		return nil
	}
	switch h.State {
	case etcdkv.HoldStandby, etcdkv.HoldHandedOver, etcdkv.HoldOvertaken:
		return h
	case etcdkv.HoldRestoring, etcdkv.HoldRestored:
	}
	return nil
}

// checkIdle tells what a cluster is to another one that plans in its place. That it has no
// owners of shards and no minions is as it should be.
func (c *Checker) checkIdle(ctx context.Context, h *etcdkv.Hold) ([]api.Check, error) {
	ch := api.Check{Name: "role", Status: api.CheckWarn}
	switch h.State {
	case etcdkv.HoldHandedOver:
		ch.Status = api.CheckFail // nothing fires, unless the other one does
		ch.Detail = fmt.Sprintf("this cluster has handed over to its standby at %s, and plans nothing", h.Since.UTC().Format(time.RFC3339))
		ch.Hint = "when the other one is active, make this one its standby: `carillon demote`; if it never was: `carillon recover`"
		return []api.Check{ch}, nil
	case etcdkv.HoldOvertaken:
		ch.Detail = fmt.Sprintf("this cluster was overtaken by epoch %d: %s goes on, and this one plans nothing and follows nobody", h.Epoch, h.Site)
		ch.Hint = "make it the standby of that one: `carillon demote`"
		return []api.Check{ch}, nil
	case etcdkv.HoldStandby, etcdkv.HoldRestoring, etcdkv.HoldRestored:
	}
	cur, err := store.GetAs[etcdkv.MirrorCursor](ctx, c.db, "read how far the copy is", c.db.Keys.MirrorCursor())
	if err != nil {
		return nil, err
	}
	ch.Detail = fmt.Sprintf("standby of %s since %s; ", h.Site, h.Since.UTC().Format(time.RFC3339))
	switch lag := max(0, c.db.Now().Sub(cur.AsOf)); {
	case cur.Generation == 0 || cur.AsOf.IsZero():
		ch.Detail += "it has no whole copy yet"
		ch.Hint = "it cannot take over before it has one; see `carillon standby`"
	default:
		ch.Detail += fmt.Sprintf("its copy is %.1f s behind", lag.Seconds())
		if lag <= longLag && cur.Trouble == "" {
			ch.Status = api.CheckOK
		} else {
			ch.Hint = "what the active cluster does meanwhile would be lost with it; see `carillon standby`, and whether that one is reached"
		}
	}
	if cur.Trouble != "" {
		ch.Detail += ": " + cur.Trouble
	}
	return []api.Check{ch}, nil
}
