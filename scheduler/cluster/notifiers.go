package cluster

import (
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Notifiers say who wants to be told of what. The zero value is nobody.
type Notifiers struct {
	everywhere []*job.Notifier
	in         map[string][]*job.Notifier
	events     map[job.AlertEvent]bool
}

// notifiers are the notifiers that the cluster keeps; index is made anew at every change.
type notifiers struct {
	stored *etcdkv.Map[etcdkv.StoredNotifier]
	index  atomic.Pointer[Notifiers]
}

func (l *notifiers) follow(f *feed, keys etcdkv.Keys) {
	l.index.Store(&Notifiers{})
	l.stored = follow(f, keys.Notifiers(), etcdkv.Decode[etcdkv.StoredNotifier], l.onNotifiers)
}

func (l *notifiers) onNotifiers() {
	entries, _ := l.stored.Snapshot()
	all := make([]*job.Notifier, 0, len(entries))
	for _, e := range entries {
		all = append(all, &e.Value.Notifier)
	}
	l.index.Store(NewNotifiers(all))
}

// NewNotifiers returns some.
func NewNotifiers(all []*job.Notifier) *Notifiers {
	made := &Notifiers{in: map[string][]*job.Notifier{}, events: map[job.AlertEvent]bool{}}
	for _, n := range all {
		if n.Spec.Everywhere {
			made.everywhere = append(made.everywhere, n)
		} else {
			made.in[n.Namespace] = append(made.in[n.Namespace], n)
		}
		for _, on := range n.Spec.Events() {
			made.events[on] = true
		}
	}
	return made
}

// Notifiers returns the cluster's notifiers.
func (l *notifiers) Notifiers() *Notifiers { return l.index.Load() }

// Any reports whether anybody wants to be told of such events of any job.
func (n *Notifiers) Any(events ...job.AlertEvent) bool {
	for _, e := range events {
		if n.events[e] {
			return true
		}
	}
	return false
}

// Wants is who wants to be told of events of a job.
type Wants struct{ of []*job.Notifier }

// For returns who wants to be told of events of a job. Labels are read only if there is
// anybody who may.
func (n *Notifiers) For(k job.Key, labels func() map[string]string) Wants {
	var w Wants
	if len(n.everywhere)+len(n.in[k.Namespace]) == 0 {
		return w
	}
	has := labels()
	for _, list := range [][]*job.Notifier{n.everywhere, n.in[k.Namespace]} {
		for _, one := range list {
			if one.Matches(k, has) {
				w.of = append(w.of, one)
			}
		}
	}
	return w
}

// Of returns the notifiers that tell of an event.
func (w Wants) Of(event job.AlertEvent) []job.Key {
	var out []job.Key
	for _, n := range w.of {
		for _, on := range n.Spec.Events() {
			if on == event {
				out = append(out, n.Key())
				break
			}
		}
	}
	return out
}

// RemindAfter is how long a job may go on failing until that is told again: the shortest
// that somebody wants.
func (w Wants) RemindAfter() time.Duration {
	least := time.Duration(0)
	for _, n := range w.of {
		d := time.Duration(n.Spec.RemindAfter)
		if d == 0 {
			d = job.DefaultRemindAfter
		}
		if least == 0 || d < least {
			least = d
		}
	}
	return least
}

// SkippedRuns is after how many skipped runs in a row that is told: the fewest that
// somebody wants. 0: nobody does.
func (w Wants) SkippedRuns() int {
	least := 0
	for _, n := range w.of {
		for _, on := range n.Spec.Events() {
			if on != job.AlertSkipped {
				continue
			}
			count := n.Spec.SkippedRuns
			if count == 0 {
				count = job.DefaultSkippedRuns
			}
			if least == 0 || count < least {
				least = count
			}
		}
	}
	return least
}

// RunsFor is how long a run may go on until that is told: the shortest that somebody
// wants. 0: nobody does.
func (w Wants) RunsFor() time.Duration {
	least := time.Duration(0)
	for _, n := range w.of {
		if d := time.Duration(n.Spec.RunsFor); d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}
