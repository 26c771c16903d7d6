package notify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Lost is a part of the cluster that is not as it should be.
type Lost struct {
	Event job.AlertEvent
	// Name is the part's, Why what is wrong with it.
	Name, Why string
}

const (
	// lookEvery is how often the cluster is looked at, if anybody wants to know.
	lookEvery = 5 * time.Second
	// maxNamed is how many parts one alert is about; their names are stored.
	maxNamed = 1000
	// maxShown is how many an alert names.
	maxShown = 5
)

// patience is how long a part may be away until that is told: who starts again does not
// count as lost.
func patience(e job.AlertEvent) time.Duration {
	if e == job.AlertMinionLost {
		return time.Minute
	}
	return 15 * time.Second
}

// lookout tells of parts of the cluster that are lost, and when they are back. The owner of
// the first hash shard has it.
type lookout struct {
	s   *Service
	own Owned
	log *zap.Logger
	// first is since when a part is seen to be lost; told what people know, by the alert.
	first map[Lost]time.Time
	told  map[string]etcdkv.LostParts
}

// run looks at the cluster until ctx ends.
func (l *lookout) run(ctx context.Context) {
	for {
		if err := l.look(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("whether nodes and minions are lost is not told yet", zap.Error(err))
			l.told = nil // what was written is not known
		}
		if !backoff.Sleep(ctx, lookEvery) {
			return
		}
	}
}

// wanted are the notifiers that tell of an event of the cluster.
func (l *lookout) wanted() map[job.AlertEvent][]job.Key {
	all, _ := l.s.notifiers.Snapshot()
	out := map[job.AlertEvent][]job.Key{}
	for _, e := range all {
		if !e.Value.Spec.Everywhere {
			continue
		}
		for _, on := range e.Value.Spec.Events() {
			out[on] = append(out[on], e.Value.Key())
		}
	}
	return out
}

// look tells what has changed since it last looked.
func (l *lookout) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*writeTimeout)
	defer cancel()
	wanted := l.wanted()
	if !slices.ContainsFunc(job.ClusterEvents(), func(e job.AlertEvent) bool { return len(wanted[e]) > 0 }) {
		l.first, l.told = nil, nil
		return nil
	}
	if l.told == nil {
		if err := l.load(ctx); err != nil {
			return err
		}
	}
	lost, err := l.s.deps.Lost(ctx)
	if err != nil {
		return err
	}
	now := l.s.deps.Now().UTC()
	first := map[Lost]time.Time{}
	here := map[Lost]bool{}
	for _, p := range lost {
		key := Lost{Event: p.Event, Name: p.Name}
		here[key] = true
		if first[key] = now; !l.first[key].IsZero() {
			first[key] = l.first[key]
		}
	}
	l.first = first
	known := map[Lost]bool{}
	var alerts []job.Alert
	var ops []clientv3.Op
	next := maps.Clone(l.told)
	for id, t := range l.told {
		back := !slices.ContainsFunc(t.Names, func(n string) bool { return here[Lost{Event: t.Alert.Event, Name: n}] })
		if !back {
			for _, n := range t.Names {
				known[Lost{Event: t.Alert.Event, Name: n}] = true
			}
			continue
		}
		a := t.Alert
		a.ID, a.Event, a.At, a.Reason = job.AlertID(job.RunID(id), job.AlertRecovered), job.AlertRecovered, now, ""
		alerts = append(alerts, a)
		ops = append(ops, clientv3.OpDelete(l.s.cfg.Keys.LostPart(id)))
		delete(next, id)
	}
	for _, event := range job.ClusterEvents() {
		var fresh []Lost
		for _, p := range lost {
			key := Lost{Event: p.Event, Name: p.Name}
			if p.Event == event && !known[key] && now.Sub(first[key]) >= patience(event) && len(wanted[event]) > 0 && len(fresh) < maxNamed {
				fresh = append(fresh, p)
			}
		}
		if len(fresh) == 0 {
			continue
		}
		t := etcdkv.LostParts{Schema: etcdkv.Schema, Alert: lostAlert(fresh, first, now)}
		for _, p := range fresh {
			t.Names = append(t.Names, p.Name)
		}
		text, err := etcdkv.Encode(t)
		if err != nil {
			return err
		}
		alerts = append(alerts, t.Alert)
		ops = append(ops, clientv3.OpPut(l.s.cfg.Keys.LostPart(t.Alert.ID), text))
		next[t.Alert.ID] = t
	}
	if len(alerts) == 0 {
		return nil
	}
	notes, err := l.notes(alerts, wanted)
	if err != nil {
		return err
	}
	resp, err := l.s.deps.Client.Txn(ctx).If(l.own.Fence()).Then(append(ops, notes...)...).Commit()
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return errNotOurs
	}
	l.told = next
	return nil
}

func (l *lookout) load(ctx context.Context) error {
	resp, err := l.s.deps.Client.Get(ctx, l.s.cfg.Keys.LostParts(), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	l.told = map[string]etcdkv.LostParts{}
	for _, kv := range resp.Kvs {
		if t, err := etcdkv.Decode[etcdkv.LostParts](string(kv.Key), kv.Value); err == nil {
			l.told[t.Alert.ID] = t
		}
	}
	return nil
}

// lostAlert words what is lost, all of one kind.
func lostAlert(all []Lost, first map[Lost]time.Time, now time.Time) job.Alert {
	slices.SortFunc(all, func(a, b Lost) int { return strings.Compare(a.Name, b.Name) })
	a := job.Alert{Event: all[0].Event, At: now, Since: now, Count: len(all)}
	var names, why []string
	for i, p := range all {
		if at := first[Lost{Event: p.Event, Name: p.Name}]; at.Before(a.Since) {
			a.Since = at
		}
		if i < maxShown {
			names, why = append(names, p.Name), append(why, p.Name+": "+p.Why)
		}
	}
	if n := len(all) - maxShown; n > 0 {
		names, why = append(names, fmt.Sprintf("%d more", n)), append(why, "and so on")
	}
	a.About = map[job.AlertEvent]string{job.AlertNodeLost: "node ", job.AlertSiteLost: "site ", job.AlertMinionLost: "minion "}[a.Event] + strings.Join(names, ", ")
	a.Reason = strings.Join(why, "; ")
	if len(a.Reason) > job.MaxAlertReason {
		a.Reason = strings.ToValidUTF8(a.Reason[:job.MaxAlertReason], "") + "..."
	}
	a.ID = job.AlertID(job.RunID(fmt.Sprintf("%s %s %d", a.Event, all[0].Name, a.Since.UnixNano())), a.Event)
	a.Trouble = a.ID
	return a
}

// notes are the writes that have notifiers tell alerts.
func (l *lookout) notes(alerts []job.Alert, wanted map[job.AlertEvent][]job.Key) ([]clientv3.Op, error) {
	notes := map[job.Key]*etcdkv.AlertNote{}
	for _, a := range alerts {
		for _, to := range wanted[a.Event] {
			if notes[to] == nil {
				notes[to] = &etcdkv.AlertNote{Schema: etcdkv.Schema}
			}
			notes[to].Alerts = append(notes[to].Alerts, a)
		}
	}
	var ops []clientv3.Op
	for to, note := range notes {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("new note id: %w", err)
		}
		text, err := etcdkv.Encode(*note)
		if err != nil {
			return nil, err
		}
		ops = append(ops, clientv3.OpPut(l.s.cfg.Keys.AlertNote(to, id.String()), text))
	}
	return ops, nil
}
