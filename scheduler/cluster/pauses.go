package cluster

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Pauses are what is paused, and was: an owner may come to what was due in a pause
// when that has ended. Things are paused while any of theirs holds. The zero value
// pauses nothing.
type Pauses map[etcdkv.Paused][]*etcdkv.Pause

// pauses are the pauses by what they are about, as of rev.
type pauses struct {
	stored  *etcdkv.Map[etcdkv.StoredPause]
	current atomic.Pointer[Pauses]
	rev     atomic.Int64
}

func (p *pauses) follow(f *feed, keys etcdkv.Keys) {
	p.current.Store(&Pauses{})
	p.stored = follow(f, keys.Pauses(), etcdkv.Decode[etcdkv.StoredPause], p.onPauses)
}

func (p *pauses) onPauses() {
	entries, rev := p.stored.Snapshot()
	view := make(Pauses, len(entries))
	for _, e := range entries {
		of := e.Value.About()
		view[of] = append(view[of], e.Value.All()...)
	}
	p.SetPauses(view, rev)
}

// SetPauses puts pauses, as of a revision, in the place of what is in view.
func (p *pauses) SetPauses(holding Pauses, rev int64) {
	p.current.Store(&holding)
	p.rev.Store(rev)
}

// Pauses returns what is paused, and was.
func (p *pauses) Pauses() Pauses { return *p.current.Load() }

// PausesRev returns as of which revision pauses are in view.
func (p *pauses) PausesRev() int64 { return p.rev.Load() }

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
func (p *pauses) StoredPause(key string, next *etcdkv.Pause) *etcdkv.StoredPause {
	out := &etcdkv.StoredPause{Pause: *next}
	if entries, _ := p.stored.Snapshot(); entries != nil {
		if old, ok := entries[key]; ok {
			out.Earlier = append(out.Earlier, old.Value.Earlier...)
			if old.Value.EndedAt(next.Since) {
				out.Rest(&old.Value.Pause)
			}
		}
	}
	return out
}
