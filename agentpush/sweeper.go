package agentpush

import (
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// sweeper looks at expiry, beats and waiting messages from time to time.
type sweeper struct {
	*base
	life      *lifetime
	channels  *channels
	links     *links
	health    *health
	registrar *registrar
	reports   *reports
	router    *router
	conflicts *conflicts
	balance   *balance
	pace      *pace
}

// run looks at expiry, beats and waiting messages until the hub stops.
func (sw *sweeper) run() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	sweeps := 0
	for {
		select {
		case <-sw.life.ctx.Done():
			return
		case <-tick.C:
			now := sw.now().UnixNano()
			sweeps++
			sw.once(now, sweeps%quietSweeps == 0)
			sw.balance.leave(now)
			if now-sw.balance.looked >= int64(sw.cfg.RebalanceAfter/10) {
				sw.balance.looked = now
				sw.balance.check(now)
			}
		}
	}
}

// quietSweeps is how many sweeps pass over a channel with which nothing is:
// nearly all minions are idle.
const quietSweeps = 5

// once looks at the channels, at those with which nothing is if all is set.
func (sw *sweeper) once(now int64, all bool) {
	silent := now - int64(sw.cfg.BeatEvery)*int64(sw.cfg.BeatMisses)
	for _, c := range sw.channels.all() {
		if all || !c.quiet.Load() {
			sw.channel(c, now, silent)
		}
	}
	for _, l := range sw.links.all() {
		sw.reports.finish(l.overdue(now))
	}
	sw.reports.retry(now)
	sw.conflicts.forget()
	sw.pace.tick(time.Unix(0, now))
}

func (sw *sweeper) channel(c *channel, now, silent int64) {
	c.mu.Lock()
	ends := c.topic.expire(now)
	late := c.overdue(now)
	c.strike(ends)
	c.strike(late)
	sw.health.probe(c, now)
	sw.health.assess(c, now)
	s, waits := c.session, c.topic.len() > 0
	var untold *agentpb.Inventory
	if s != nil && s.untold != nil && s.descriptions.use(time.Unix(0, now)) {
		untold, s.untold = s.untold, nil
	}
	c.quiet.Store(s != nil && !waits && !c.offered && s.trouble.missed == 0 && s.trouble.reason == "" && s.untold == nil && !s.texts.wait())
	c.mu.Unlock()
	if untold != nil {
		sw.registrar.redescribe(s, untold)
	}
	sw.reports.finish(ends)
	sw.reports.finish(late)
	switch {
	case s == nil && waits:
		sw.router.moved(c.id)
	case s == nil:
		sw.channels.forget(c)
	case s.seen.Load() < silent:
		s.close(errSilent)
	case s.texts.stuck(now - int64(sw.cfg.StallAfter)):
		s.close(errUnread)
	}
}
