package app

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/notify"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// openNotify makes what tells people of alerts.
func (n *Node) openNotify(calls *egress.Caller, metrics prometheus.Registerer) error {
	dir := n.cfg.Notify.SecretsDir
	if dir == "" {
		dir = filepath.Join(n.cfg.DataDir, "notify-secrets")
	}
	now := n.now
	n.sender = notify.NewSender(job.NodeID(n.cfg.Node), calls, dir, now)
	var err error
	if n.pinger, err = notify.NewPinger(n.sender.Ping, n.log, metrics); err != nil {
		return err
	}
	n.notify, err = notify.New(notify.Config{Keys: n.keys, Shards: n.meta.Shards}, notify.Deps{
		Client: n.client, Send: n.sender.Send, Closed: n.closedUntil, Lost: n.lostParts, Logger: n.log, Metrics: metrics, Now: now,
	})
	return err
}

// closedUntil tells until when a calendar is closed; zero: it is open, or there is none
// that can be used.
func (n *Node) closedUntil(key job.Key, at time.Time) time.Time {
	c, ok := n.cluster.Calendar(key)
	if !ok || c.Calendar == nil {
		return time.Time{}
	}
	if _, until, closed := c.Calendar.Closed(at); closed {
		return until
	}
	return time.Time{}
}

// beside runs what runs beside the jobs of a shard: its queues, plans and notifiers.
func (n *Node) beside(ctx context.Context, id job.ShardID, own scheduler.Owned) {
	var wg sync.WaitGroup
	wg.Go(func() { n.queues.Hold(ctx, id, own) })
	wg.Go(func() { n.plans.Hold(ctx, id, own) })
	wg.Go(func() { n.notify.Hold(ctx, id, own) })
	wg.Wait()
}
