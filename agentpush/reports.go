package agentpush

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

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

// reported takes a minion's reports. They speak of that minion's tasks only,
// whatever they say.
func (h *Hub) reported(s *session, reports []*agentpb.Report) {
	good := reports[:0]
	now := h.now().UnixNano()
	ahead := s.offset(now, h.deps.Clock())
	for _, r := range reports {
		if r.GetTask() == nil || r.GetKnown() != (r.GetState() != "") && !isRefusal(r) {
			h.met.lost.Inc()
			continue
		}
		r.Task.Minion = string(s.c.id)
		if r.Instance = ""; !r.GetSpooled() {
			r.Instance = s.instance
		}
		h.mend(r, ahead, now)
		good = append(good, r)
	}
	h.routeReports(good, h.now().Add(h.cfg.ReportRetry).UnixNano())
}

// isRefusal reports whether a minion says that it has not taken an order, and
// nothing about the task: the order's token is not good there.
func isRefusal(r *agentpb.Report) bool {
	return !r.GetKnown() && r.GetState() == string(job.StateRejected)
}

// routeReports brings reports to the nodes that own their shards, and tries
// until the given time.
func (h *Hub) routeReports(reports []*agentpb.Report, until int64) {
	if len(reports) == 0 {
		return
	}
	timed := make([]timedReport, len(reports))
	for i, r := range reports {
		timed[i] = timedReport{r, until}
	}
	h.route(timed)
}

func (h *Hub) route(reports []timedReport) {
	var own []*agentpb.Report
	var wait []timedReport
	away := map[job.NodeID][]timedReport{}
	for _, t := range reports {
		switch owner, ok := h.deps.Directory.Owner(job.ShardID(t.report.GetShard())); {
		case !ok:
			wait = append(wait, t)
		case owner == h.cfg.Node:
			own = append(own, t.report)
		default:
			away[owner] = append(away[owner], t)
		}
	}
	h.sink(own)
	for node, group := range away {
		wait = append(wait, h.linkTo(node).pushReports(group)...)
	}
	h.postpone(wait)
}

// routeRelayed takes reports from a peer. One that is not ours has met a change
// of owner: it waits a moment, so that nodes whose views differ do not pass it
// back and forth.
func (h *Hub) routeRelayed(reports []*agentpb.Report) {
	var own []*agentpb.Report
	var wait []timedReport
	until := h.now().Add(h.cfg.ReportRetry).UnixNano()
	for _, r := range reports {
		if owner, ok := h.deps.Directory.Owner(job.ShardID(r.GetShard())); ok && owner == h.cfg.Node {
			own = append(own, r)
		} else {
			wait = append(wait, timedReport{r, until})
		}
	}
	h.sink(own)
	h.postpone(wait)
}

func (h *Hub) postpone(reports []timedReport) {
	if len(reports) == 0 {
		return
	}
	if lost := h.retries.add(reports, h.now().Add(h.cfg.ResendAfter)); lost > 0 {
		h.met.lost.Add(float64(lost))
	}
}

// retry routes the reports whose pause is over.
func (h *Hub) retry(now int64) {
	due, lost := h.retries.take(now)
	if lost > 0 {
		h.met.lost.Add(float64(lost))
		h.log.Warn("reports given up: no owner of their shards was found", zap.Int("reports", lost))
	}
	if len(due) > 0 {
		h.route(due)
	}
}

// sink hands reports to this node's engine.
func (h *Hub) sink(reports []*agentpb.Report) {
	if len(reports) == 0 {
		return
	}
	out := make([]job.Report, 0, len(reports))
	for _, w := range reports {
		r, err := agentpb.ToReport(w, "")
		if err != nil {
			h.log.Warn("report cannot be read", zap.Error(err))
			h.met.lost.Inc()
			continue
		}
		h.met.report(r.State)
		out = append(out, r)
	}
	if len(out) > 0 {
		h.deps.Sink.Reports(out)
	}
}
