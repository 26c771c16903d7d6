package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// notices are what people are to be told of a shard's jobs (I32). They wait for the next
// write, which stores them together with what is known of the jobs' trouble.
type notices struct {
	// wanted tells who wants to be told of what.
	wanted func() *cluster.Notifiers
	keys   etcdkv.Keys
	shard  job.ShardID
	node   job.NodeID
	now    func() int64
	log    *zap.Logger
	alerts *prometheus.CounterVec
	// leave has a fire leave its slot, once people are told of it.
	leave func(*fire)

	waiting []notice
	// troubles are the jobs of which people were told that they are in trouble, skips how
	// often in a row jobs did not start because they still ran.
	troubles map[job.UID]*etcdkv.Trouble
	skips    map[job.UID]int
}

// notice is something to be told, or that a job is out of trouble.
type notice struct {
	alert job.Alert
	to    []job.Key
	// uid is the job whose trouble is stored with it, unless it is zero; nil trouble: it
	// has none any more.
	uid     job.UID
	trouble *etcdkv.Trouble
	// f leaves its slot once the notice is written. Nil: it has not ended.
	f *fire
}

// Bounds of notices: in one value, in one write, and of those that wait.
const (
	maxNoted   = 50
	maxNotices = 100
	maxWaiting = 20000
)

func newNotices(s *shard) notices {
	return notices{
		wanted: s.deps.Cluster.Notifiers, keys: s.cfg.Keys, shard: s.id, node: s.cfg.Node,
		now: s.deps.now, log: s.log, alerts: s.met.alerts, leave: s.quitSlot,
		troubles: map[job.UID]*etcdkv.Trouble{}, skips: map[job.UID]int{},
	}
}

// load reads which jobs are in trouble.
func (n *notices) load(ctx context.Context, client *clientv3.Client, prefix string) error {
	n.troubles, n.skips = map[job.UID]*etcdkv.Trouble{}, map[job.UID]int{}
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		uid, err := job.ParseUID(string(kv.Key)[len(prefix):])
		if err != nil {
			continue
		}
		if t, err := etcdkv.Decode[etcdkv.Trouble](string(kv.Key), kv.Value); err == nil {
			n.troubles[uid] = &t
		}
	}
	return nil
}

// labelsOf are a job's labels.
func (e *entry) labelsOf() map[string]string {
	var out map[string]string
	if text := e.alike().labels; text == "" || json.Unmarshal([]byte(text), &out) != nil {
		return nil
	}
	return out
}

// eventOf is what the end of a fire is to people; empty: nothing.
func (n *notices) eventOf(f *fire) job.AlertEvent {
	switch state := f.outcome(f.run.State); {
	case state == job.StateSucceeded:
		delete(n.skips, f.e.uid)
		if n.troubles[f.e.uid] != nil {
			return job.AlertRecovered
		}
	case state == job.StateIndeterminate:
		return job.AlertIndeterminate
	case state == job.StateMissed:
		return job.AlertMissed
	case state == job.StateSkipped:
		if f.crowded {
			return job.AlertSkipped
		}
	case job.OnFailure.Meets(state):
		return job.AlertFailed
	}
	return ""
}

// ended takes note of what people are to be told of a recorded fire. It reports whether
// there is something: the fire stays in its slot until that is written.
func (n *notices) ended(f *fire) bool {
	event := n.eventOf(f)
	if event == "" || f.e.Gone {
		return false
	}
	all := n.wanted()
	trouble := n.troubles[f.e.uid]
	if event != job.AlertRecovered && !all.Any(event, job.AlertRecovered) {
		return false // nobody wants to know: no etcd write
	}
	wants := all.For(f.e.key, f.e.labelsOf)
	note := notice{to: wants.Of(event), f: f}
	note.alert = n.alertOf(f, event, f.run.Reason)
	note.alert.State = f.run.State
	now := time.Unix(0, n.now()).UTC()
	switch {
	case event == job.AlertRecovered:
		note.alert.Since, note.alert.Trouble, note.alert.Count = trouble.Since, trouble.Alert, trouble.Count
		delete(n.troubles, f.e.uid)
		note.uid = f.e.uid
	case event == job.AlertSkipped:
		n.skips[f.e.uid]++
		note.alert.Count = n.skips[f.e.uid]
		if note.alert.Count != wants.SkippedRuns() {
			return false
		}
	case len(note.to) == 0 && len(wants.Of(job.AlertRecovered)) == 0:
		return false
	default:
		next, told := troubled(trouble, &note.alert, now, wants.RemindAfter())
		n.troubles[f.e.uid] = &next
		if !told {
			return false
		}
		note.uid, note.trouble = f.e.uid, &next
	}
	if len(note.to) == 0 && note.uid.IsZero() {
		return false
	}
	return n.add(note)
}

// troubled returns what is known of a job's trouble after one more alert, and whether that
// is told: the first one is, one of another event than the last, and reminders, each after
// twice as long as the one before.
func troubled(old *etcdkv.Trouble, a *job.Alert, now time.Time, remind time.Duration) (etcdkv.Trouble, bool) {
	next := etcdkv.Trouble{Schema: etcdkv.Schema, Alert: a.ID, Run: a.Run, Since: now}
	again := false
	if old != nil {
		next, again = *old, old.Run == a.Run && old.Event == a.Event
	}
	told := old == nil || again || next.Event != a.Event || !now.Before(next.NextAt)
	if !again {
		next.Count++
	}
	a.Since, a.Trouble, a.Count = next.Since, next.Alert, next.Count
	if !told || again {
		return next, told
	}
	if next.Event != a.Event {
		next.Told = 0
	}
	next.Event = a.Event
	next.NextAt = now.Add(min(remind<<min(next.Told, 10), job.MaxRemindAfter))
	next.Told++
	return next, told
}

// tell has people told of a fire that goes on.
func (n *notices) tell(f *fire, event job.AlertEvent, reason string) {
	all := n.wanted()
	if f.e.Gone || !all.Any(event) {
		return
	}
	if to := all.For(f.e.key, f.e.labelsOf).Of(event); len(to) > 0 {
		n.add(notice{alert: n.alertOf(f, event, reason), to: to})
	}
}

// alertOf is an alert about a fire.
func (n *notices) alertOf(f *fire, event job.AlertEvent, reason string) job.Alert {
	if len(reason) > job.MaxAlertReason {
		reason = reason[:job.MaxAlertReason] + "..."
	}
	id := f.runID()
	return job.Alert{
		ID: job.AlertID(id, event), Event: event, At: time.Unix(0, n.now()).UTC(), Job: f.e.key, Labels: f.e.labelsOf(),
		Run: id, ScheduledAt: f.id.Time().UTC(), Reason: reason, Node: n.node,
	}
}

// add has a notice go with the next write. It is false when too many wait.
func (n *notices) add(next notice) bool {
	if len(n.waiting) >= maxWaiting {
		n.alerts.WithLabelValues(alertDropped).Inc()
		n.log.Error("too much is to be told: an alert is dropped", zap.Stringer("job", next.alert.Job), zap.String("event", string(next.alert.Event)))
		return false
	}
	n.waiting = append(n.waiting, next)
	return true
}

// gather adds notices to a write, and has their fires leave their slots. It reports
// whether there were any.
func (n *notices) gather(w *write) (bool, error) {
	notes := map[job.Key]*etcdkv.AlertNote{}
	troubles := map[job.UID]*etcdkv.Trouble{}
	taken := 0
	for ; taken < len(n.waiting) && taken < maxNotices && w.size()+len(notes)+len(troubles) < maxRewriteOps; taken++ {
		next := &n.waiting[taken]
		for _, to := range next.to {
			note := notes[to]
			if note == nil {
				note = &etcdkv.AlertNote{Schema: etcdkv.Schema}
				notes[to] = note
			}
			note.Alerts = append(note.Alerts, next.alert)
		}
		if !next.uid.IsZero() {
			troubles[next.uid] = next.trouble
		}
		if next.f != nil {
			n.leave(next.f)
		}
		*next = notice{}
	}
	n.waiting = n.waiting[taken:]
	for to, note := range notes {
		for len(note.Alerts) > 0 {
			part := etcdkv.AlertNote{Schema: etcdkv.Schema, Alerts: note.Alerts[:min(maxNoted, len(note.Alerts))]}
			note.Alerts = note.Alerts[len(part.Alerts):]
			id, err := uuid.NewV7()
			if err != nil {
				return false, fmt.Errorf("new note id: %w", err)
			}
			text, err := etcdkv.Encode(part)
			if err != nil {
				return false, err
			}
			w.ops = append(w.ops, clientv3.OpPut(n.keys.AlertNote(to, id.String()), text))
		}
	}
	for uid, t := range troubles {
		key := n.keys.Trouble(n.shard, uid)
		if t == nil {
			w.ops = append(w.ops, clientv3.OpDelete(key))
			continue
		}
		text, err := etcdkv.Encode(*t)
		if err != nil {
			return false, err
		}
		w.ops = append(w.ops, clientv3.OpPut(key, text))
	}
	return taken > 0, nil
}

// forgetOthers drops what is known of all jobs but these: they are gone.
func (n *notices) forgetOthers(jobs map[job.Key]*entry) {
	if len(n.troubles) == 0 {
		return
	}
	here := make(map[job.UID]bool, len(jobs))
	for _, e := range jobs {
		here[e.uid] = true
	}
	for uid := range n.troubles {
		if !here[uid] {
			delete(n.troubles, uid)
			n.add(notice{uid: uid})
		}
	}
}

// alert tells of a fire that goes on, in its record, by the log and the metrics as well.
func (n *notices) alert(f *fire, kind string, event job.AlertEvent, text string) {
	n.tell(f, event, text)
	f.alerts = append(f.alerts, text)
	n.alerts.WithLabelValues(kind).Inc()
	n.log.Warn("alert", zap.String("kind", kind), zap.Stringer("job", f.e.key), zap.Stringer("fire", f.id), zap.String("text", text))
}
