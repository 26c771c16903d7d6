package worker

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

const (
	// maxAnswers bounds answers that are not tied to a task here. They are
	// asked for again when they get lost.
	maxAnswers = 10_000
	// resendAfter is how long an acknowledgement is awaited.
	resendAfter = 5 * time.Second
)

// outbox is what the present session should be told. The minion's mutex
// guards it. It holds keys, not reports: what is sent is the task's state at
// that time.
type outbox struct {
	taken   []uint64
	answers []*job.Report
	keys    []taskKey
	// sent are the final reports that were sent, the first one first.
	sent []sentReport
	// spooled is how many bytes of output the final reports have that wait for their
	// acknowledgement.
	spooled int
	// wake tells the session's sender that there is something.
	wake chan struct{}
}

// sentReport says when a final report was sent. It counts until the report is sent
// again.
type sentReport struct {
	key taskKey
	at  time.Time
}

func newOutbox() outbox { return outbox{wake: make(chan struct{}, 1)} }

// tell queues the state of a task.
func (o *outbox) tell(e *entry) {
	if e.queued {
		return
	}
	e.queued = true
	o.keys = append(o.keys, e.key)
	notify(o.wake)
}

func (o *outbox) answer(r *job.Report) {
	if len(o.answers) < maxAnswers {
		o.answers = append(o.answers, r)
		notify(o.wake)
	}
}

// reset prepares the outbox for a new session: what was sent on an earlier one
// may be lost, so everything that is not acknowledged is told again. Answers are
// asked for again; that a task was given back is none, and is told.
func (o *outbox) reset(l *taskTable) {
	o.taken, o.keys, o.sent = nil, nil, nil
	o.answers = slices.DeleteFunc(o.answers, func(r *job.Report) bool { return !r.Returned })
	for _, e := range l.ordered() {
		e.queued = false
		if e.final != nil || e.checkpoint != "" {
			o.tell(e)
		}
	}
}

// resend queues final reports whose acknowledgement is overdue. It costs what was
// sent so long ago, however many tasks are open. One that was not sent yet is
// queued since it is final.
func (o *outbox) resend(l *taskTable, now time.Time) {
	n := 0
	for ; n < len(o.sent) && now.Sub(o.sent[n].at) >= resendAfter; n++ {
		if e := l.live[o.sent[n].key]; e != nil && e.sentAt.Equal(o.sent[n].at) {
			o.tell(e)
		}
	}
	if o.sent = o.sent[n:]; len(o.sent) == 0 {
		o.sent = nil // lets the array go
	}
}

// next returns messages that take the outbox's content, or nil.
func (o *outbox) next(l *taskTable, id job.MinionID, now time.Time) []*agentpb.FromMinion {
	var out []*agentpb.FromMinion
	for _, seq := range o.taken {
		out = append(out, &agentpb.FromMinion{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: seq}}})
	}
	o.taken = nil
	var reports []*agentpb.Report
	size := 0
	room := func() bool { return len(reports) < agentpb.MaxReports && size < agentpb.BatchBytes }
	add := func(r *job.Report) {
		w := agentpb.FromReport(r)
		reports = append(reports, w)
		size += proto.Size(w)
	}
	n := 0
	for ; n < len(o.answers) && room(); n++ {
		add(o.answers[n])
	}
	o.answers = o.answers[n:]
	for n = 0; n < len(o.keys) && room(); n++ {
		e := l.live[o.keys[n]]
		if e == nil || !e.queued {
			continue
		}
		e.queued = false
		if r := e.report(id); r != nil {
			if e.sentAt = now; e.final != nil {
				o.sent = append(o.sent, sentReport{e.key, now})
			}
			add(r)
		}
	}
	if o.keys = o.keys[n:]; len(o.keys) == 0 {
		o.keys = nil // lets the array go
	}
	if len(reports) > 0 {
		out = append(out, &agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: reports}}})
	}
	return out
}

// report returns what can be told of the task now, nil if nothing.
func (e *entry) report(id job.MinionID) *job.Report {
	if e.final != nil {
		return e.final
	}
	if e.order == nil {
		return nil // never accepted; the refusal is not durable yet
	}
	r := &job.Report{Task: e.key.id(id), Shard: e.shard, Known: true, State: job.StateRunning}
	r.Progress, r.Checkpoint = e.progress, e.checkpoint
	if e.startedAt != 0 {
		r.StartedAt = time.Unix(0, e.startedAt).UTC()
	}
	return r
}

func outputSize(r *job.Report) int {
	return len(r.Stdout.Head) + len(r.Stdout.Tail) + len(r.Stderr.Head) + len(r.Stderr.Tail)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
