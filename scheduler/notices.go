package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// notices are what people are to be told of a shard's jobs (I32). They wait for the next
// write, which stores them together with what is known of the jobs' trouble.
type notices struct {
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
func (s *shard) eventOf(f *fire) job.AlertEvent {
	switch state := f.outcome(f.run.State); {
	case state == job.StateSucceeded:
		delete(s.notices.skips, f.e.uid)
		if s.notices.troubles[f.e.uid] != nil {
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

// notice takes note of what people are to be told of a recorded fire. It reports whether
// there is something: the fire stays in its slot until that is written.
func (s *shard) notice(f *fire) bool {
	event := s.eventOf(f)
	if event == "" || f.e.Gone {
		return false
	}
	all := s.deps.Cluster.Notifiers()
	trouble := s.notices.troubles[f.e.uid]
	if event != job.AlertRecovered && !all.Any(event, job.AlertRecovered) {
		return false // nobody wants to know: no etcd write
	}
	wants := all.For(f.e.key, f.e.labelsOf)
	n := notice{to: wants.Of(event), f: f}
	n.alert = s.alertOf(f, event, f.run.Reason)
	n.alert.State = f.run.State
	now := time.Unix(0, s.deps.now()).UTC()
	switch {
	case event == job.AlertRecovered:
		n.alert.Since, n.alert.Trouble, n.alert.Count = trouble.Since, trouble.Alert, trouble.Count
		delete(s.notices.troubles, f.e.uid)
		n.uid = f.e.uid
	case event == job.AlertSkipped:
		s.notices.skips[f.e.uid]++
		n.alert.Count = s.notices.skips[f.e.uid]
		if n.alert.Count != wants.SkippedRuns() {
			return false
		}
	case len(n.to) == 0 && len(wants.Of(job.AlertRecovered)) == 0:
		return false
	default:
		next, told := troubled(trouble, &n.alert, now, wants.RemindAfter())
		s.notices.troubles[f.e.uid] = &next
		if !told {
			return false
		}
		n.uid, n.trouble = f.e.uid, &next
	}
	if len(n.to) == 0 && n.uid.IsZero() {
		return false
	}
	return s.addNotice(n)
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
func (s *shard) tell(f *fire, event job.AlertEvent, reason string) {
	all := s.deps.Cluster.Notifiers()
	if f.e.Gone || !all.Any(event) {
		return
	}
	if to := all.For(f.e.key, f.e.labelsOf).Of(event); len(to) > 0 {
		s.addNotice(notice{alert: s.alertOf(f, event, reason), to: to})
	}
}

// alertOf is an alert about a fire.
func (s *shard) alertOf(f *fire, event job.AlertEvent, reason string) job.Alert {
	if len(reason) > job.MaxAlertReason {
		reason = reason[:job.MaxAlertReason] + "..."
	}
	id := f.runID()
	return job.Alert{
		ID: job.AlertID(id, event), Event: event, At: time.Unix(0, s.deps.now()).UTC(), Job: f.e.key, Labels: f.e.labelsOf(),
		Run: id, ScheduledAt: f.id.Time().UTC(), Reason: reason, Node: s.cfg.Node,
	}
}

// addNotice has a notice go with the next write. It is false when too many wait.
func (s *shard) addNotice(n notice) bool {
	if len(s.notices.waiting) >= maxWaiting {
		s.met.alerts.WithLabelValues(alertDropped).Inc()
		s.log.Error("too much is to be told: an alert is dropped", zap.Stringer("job", n.alert.Job), zap.String("event", string(n.alert.Event)))
		return false
	}
	s.notices.waiting = append(s.notices.waiting, n)
	return true
}

// gatherNotices adds notices to a write, and has their fires leave their slots. It reports
// whether there were any.
func (s *shard) gatherNotices(w *write) (bool, error) {
	notes := map[job.Key]*etcdkv.AlertNote{}
	troubles := map[job.UID]*etcdkv.Trouble{}
	n := 0
	for ; n < len(s.notices.waiting) && n < maxNotices && w.size()+len(notes)+len(troubles) < maxRewriteOps; n++ {
		next := &s.notices.waiting[n]
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
			s.quitSlot(next.f)
		}
		*next = notice{}
	}
	s.notices.waiting = s.notices.waiting[n:]
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
			w.ops = append(w.ops, clientv3.OpPut(s.cfg.Keys.AlertNote(to, id.String()), text))
		}
	}
	for uid, t := range troubles {
		key := s.cfg.Keys.Trouble(s.id, uid)
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
	return n > 0, nil
}

// forgetTroubles drops what is known of jobs that are gone.
func (s *shard) forgetTroubles() {
	if len(s.notices.troubles) == 0 {
		return
	}
	here := make(map[job.UID]bool, len(s.jobs))
	for _, e := range s.jobs {
		here[e.uid] = true
	}
	for uid := range s.notices.troubles {
		if !here[uid] {
			delete(s.notices.troubles, uid)
			s.addNotice(notice{uid: uid})
		}
	}
}
