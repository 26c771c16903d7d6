package cluster

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Pauses are what is paused, and was: an owner may come to what was due in a pause
// when that has ended. Things are paused while any of theirs holds. The zero value
// pauses nothing.
type Pauses map[etcdkv.Paused][]*etcdkv.Pause

func (v *View) onPauses() {
	entries, rev := v.paused.Snapshot()
	view := make(Pauses, len(entries))
	for _, e := range entries {
		p := &e.Value
		of := p.About()
		view[of] = append(view[of], p.All()...)
	}
	v.SetPauses(view, rev)
}

// SetPauses puts pauses, as of a revision, in the place of what is in view.
func (v *View) SetPauses(p Pauses, rev int64) {
	v.pauses.Store(&p)
	v.pausesRev.Store(rev)
}

// Pauses returns what is paused, and was.
func (v *View) Pauses() Pauses { return *v.pauses.Load() }

// PausesRev returns as of which revision pauses are in view.
func (v *View) PausesRev() int64 { return v.pausesRev.Load() }

// Why returns why a job does not fire at an instant, in Unix nanoseconds; empty: it
// does. The group's name is empty for jobs without one.
func (p Pauses) Why(key, group job.Key, at int64) string {
	for _, of := range etcdkv.PausedWith(key, group) {
		for _, one := range p[of] {
			if one.HoldsAt(time.Unix(0, at)) {
				return pauseWords(one)
			}
		}
	}
	return ""
}

func pauseWords(p *etcdkv.Pause) string {
	what := "everything"
	switch p.Scope {
	case etcdkv.ScopeJob:
		what = "the job"
	case etcdkv.ScopeGroup:
		what = "the group " + p.Name
	case etcdkv.ScopeNamespace:
		what = "the namespace " + p.Namespace
	case etcdkv.ScopeAll:
	}
	text := fmt.Sprintf("%s is paused since %s", what, p.Since.UTC().Format(time.RFC3339))
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text + p.Order()
}

// StoredPause is a new pause as it is to be stored under a key: those before it that
// have ended stay. Who ends one meanwhile has it forgotten.
func (v *View) StoredPause(key string, p *etcdkv.Pause) *etcdkv.StoredPause {
	out := &etcdkv.StoredPause{Pause: *p}
	if entries, _ := v.paused.Snapshot(); entries != nil {
		if old, ok := entries[key]; ok {
			out.Earlier = append(out.Earlier, old.Value.Earlier...)
			if old.Value.EndedAt(p.Since) {
				out.Rest(&old.Value.Pause)
			}
		}
	}
	return out
}
