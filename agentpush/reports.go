package agentpush

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// reports brings what became of tasks to the engines that own their shards.
type reports struct {
	*base
	links  *links
	engine Sink
	// retries wait for an owner that is known and reachable.
	retries *retries
}

// timedReport is a report on its way; until is when it is given up, in
// nanoseconds since the Unix epoch.
type timedReport struct {
	report *agentpb.Report
	until  int64
}

// size is what the report takes in memory, about.
func (t *timedReport) size() int { return proto.Size(t.report) + 512 }

// minion is whose report it is.
func (t *timedReport) minion() string { return t.report.GetTask().GetMinion() }

// retries are the reports that wait for an owner that is known and reachable.
type retries struct {
	// bytes are what waits.
	bytes *weighed

	mu sync.Mutex
	// mu guards waiting, which is in the order of due.
	waiting []waitingReport
}

type waitingReport struct {
	timedReport
	due  int64
	size int
}

func newRetries() *retries { return &retries{bytes: newWeighed(waitingBytes, allWaitingBytes)} }

// add lets reports wait, and returns how many found no room.
func (r *retries) add(reports []timedReport, due time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := 0
	for _, t := range reports {
		// One that its minion keeps gives way to one that nobody repeats.
		limit := maxRetries
		if t.report.GetSpooled() {
			limit /= 2
		}
		size := t.size()
		if len(r.waiting) >= limit || !r.bytes.take(t.minion(), size) {
			lost++
			continue
		}
		r.waiting = append(r.waiting, waitingReport{t, due.UnixNano(), size})
	}
	return lost
}

// take removes and returns what is due, without what has been given up.
func (r *retries) take(now int64) (due []timedReport, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := 0
	for ; i < len(r.waiting) && r.waiting[i].due <= now; i++ {
		r.bytes.give(r.waiting[i].minion(), r.waiting[i].size)
		if r.waiting[i].until <= now {
			lost++
			continue
		}
		due = append(due, r.waiting[i].timedReport)
	}
	clear(r.waiting[:i])
	if r.waiting = r.waiting[i:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return due, lost
}

// take takes a minion's reports. They speak of that minion's tasks only,
// whatever they say.
func (rs *reports) take(s *session, reports []*agentpb.Report) {
	good := reports[:0]
	now := rs.now().UnixNano()
	ahead := s.clock.offset(now, rs.clock())
	for _, r := range reports {
		if r.GetTask() == nil || r.GetKnown() != (r.GetState() != "") && !isRefusal(r) {
			rs.met.lost.Inc()
			continue
		}
		r.Task.Minion = string(s.c.id)
		if r.Instance = ""; !r.GetSpooled() {
			r.Instance = s.instance
		}
		rs.mend(r, ahead, now)
		good = append(good, r)
	}
	rs.report(good, rs.now().Add(rs.cfg.ReportRetry).UnixNano())
}

// isRefusal reports whether a minion says that it has not taken an order, and
// nothing about the task: the order's token is not good there.
func isRefusal(r *agentpb.Report) bool {
	return !r.GetKnown() && r.GetState() == string(job.StateRejected)
}

// report brings reports to the nodes that own their shards, and tries
// until the given time.
func (rs *reports) report(reports []*agentpb.Report, until int64) {
	if len(reports) == 0 {
		return
	}
	timed := make([]timedReport, len(reports))
	for i, r := range reports {
		timed[i] = timedReport{r, until}
	}
	rs.route(timed)
}

func (rs *reports) route(reports []timedReport) {
	var own []*agentpb.Report
	var wait []timedReport
	away := map[job.NodeID][]timedReport{}
	for _, t := range reports {
		switch owner, ok := rs.directory.Owner(job.ShardID(t.report.GetShard())); {
		case !ok:
			wait = append(wait, t)
		case owner == rs.cfg.Node:
			own = append(own, t.report)
		default:
			away[owner] = append(away[owner], t)
		}
	}
	rs.hand(own)
	for node, group := range away {
		wait = append(wait, rs.links.to(node).pushReports(group)...)
	}
	rs.postpone(wait)
}

// relayed takes reports from a peer. One that is not ours has met a change
// of owner: it waits a moment, so that nodes whose views differ do not pass it
// back and forth.
func (rs *reports) relayed(reports []*agentpb.Report) {
	var own []*agentpb.Report
	var wait []timedReport
	until := rs.now().Add(rs.cfg.ReportRetry).UnixNano()
	for _, r := range reports {
		if owner, ok := rs.directory.Owner(job.ShardID(r.GetShard())); ok && owner == rs.cfg.Node {
			own = append(own, r)
		} else {
			wait = append(wait, timedReport{r, until})
		}
	}
	rs.hand(own)
	rs.postpone(wait)
}

func (rs *reports) postpone(reports []timedReport) {
	if len(reports) == 0 {
		return
	}
	if lost := rs.retries.add(reports, rs.now().Add(rs.cfg.ResendAfter)); lost > 0 {
		rs.met.lost.Add(float64(lost))
	}
}

// retry routes the reports whose pause is over.
func (rs *reports) retry(now int64) {
	due, lost := rs.retries.take(now)
	if lost > 0 {
		rs.met.lost.Add(float64(lost))
		rs.log.Warn("reports given up: no owner of their shards was found", zap.Int("reports", lost))
	}
	if len(due) > 0 {
		rs.route(due)
	}
}

// hand hands reports to this node's engine.
func (rs *reports) hand(reports []*agentpb.Report) {
	if len(reports) == 0 {
		return
	}
	out := make([]job.Report, 0, len(reports))
	for _, w := range reports {
		r, err := agentpb.ToReport(w, "")
		if err != nil {
			rs.log.Warn("report cannot be read", zap.Error(err))
			rs.met.lost.Inc()
			continue
		}
		rs.met.report(r.State)
		out = append(out, r)
	}
	if len(out) > 0 {
		rs.engine.Reports(out)
	}
}

// finish ends messages: whoever sent them hears that they are settled, and the
// owner of an order's shard hears what became of it (I1).
func (rs *reports) finish(ends []ending) {
	if len(ends) == 0 {
		return
	}
	var reports []*agentpb.Report
	now := rs.now()
	for i := range ends {
		e := &ends[i]
		if e.m.orphaned() {
			continue
		}
		if o, ok := e.m.body.(*agentpb.Order); ok {
			r := &agentpb.Report{
				Task: o.GetTask(), Shard: o.GetShard(), Known: true,
				State: string(e.state), Reason: e.reason, EndedAt: now.UnixNano(),
				TokenEpoch: o.GetTokenEpoch(), TokenRevision: o.GetTokenRevision(), Term: o.GetTerm(),
			}
			if e.state == endStale { // it never reached the minion, and its owner may order it again
				r.Known, r.State = false, ""
			}
			reports = append(reports, r)
		}
		if e.state == job.StateDropped {
			rs.met.dropped.Inc()
		}
		rs.met.ended.WithLabelValues(string(e.state)).Inc()
		e.m.settled()
	}
	rs.report(reports, now.Add(rs.cfg.ReportRetry).UnixNano())
}

// mend sets the times of a report right.
func (rs *reports) mend(r *agentpb.Report, ahead, now int64) {
	w := rs.cfg.windowOf(r.GetTask().GetAt(), now)
	started, ended := w.mend(r.GetStartedAt(), ahead), w.mend(r.GetEndedAt(), ahead)
	if ended != 0 && ended < started {
		ended = started
	}
	if started == r.GetStartedAt() && ended == r.GetEndedAt() {
		return
	}
	r.StartedAt, r.EndedAt = started, ended
	note := fmt.Sprintf("its times were set right: the minion's clock is %v off", time.Duration(ahead).Round(time.Millisecond))
	if r.GetReason() != "" {
		note = "; " + note
	}
	r.Reason = agentpb.Cut(r.GetReason(), agentpb.MaxReason-len(note)) + note
}
