package etcdkv

import (
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Scope says what a pause is about.
type Scope string

// The scopes of a pause.
const (
	ScopeAll       Scope = "all"
	ScopeNamespace Scope = "namespace"
	ScopeGroup     Scope = "group"
	ScopeJob       Scope = "job"
)

// PausedByFailures is who has paused a job whose runs have failed too often in a
// row, and PausedAfter how the reason begins.
const (
	PausedByFailures = "carillon"
	PausedAfter      = "paused after "
)

// Pause says that the scheduled runs of jobs are paused.
type Pause struct {
	Schema int   `json:"schema"`
	Scope  Scope `json:"scope"`
	// Namespace and Name are of what is paused; see Scope.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	By        string `json:"by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Since is the first instant at which nothing is due, Until the first at
	// which something is again; zero: no end.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// ByFailures reports whether a job was paused because its runs failed: an account may
// have the name, too.
func (p *Pause) ByFailures() bool {
	return p.By == PausedByFailures && strings.HasPrefix(p.Reason, PausedAfter)
}

// MaxRests bounds how many ended pauses of one thing are kept.
const MaxRests = 16

// Rest is a pause that has ended, from one instant on and up to another one, at which
// something is due again.
type Rest struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// StoredPause is a pause as it is stored. It stays when it has ended, as what was due
// meanwhile is not run whenever an owner comes to it.
type StoredPause struct {
	Pause
	// Earlier are pauses of the same thing before, the oldest first, at most MaxRests.
	Earlier []Rest `json:"earlier,omitempty"`
}

// Paused is what one pause is about; see Scope. Of a namespace, Key has no name; of
// everything, it is zero.
type Paused struct {
	Scope Scope
	Key   job.Key
}

// About returns what the pause is about. Former versions stored what the scope has no
// use for.
func (p *Pause) About() Paused {
	of := Paused{Scope: p.Scope}
	switch p.Scope {
	case ScopeAll:
	case ScopeNamespace:
		of.Key.Namespace = p.Namespace
	case ScopeGroup, ScopeJob:
		of.Key = job.Key{Namespace: p.Namespace, Name: p.Name}
	}
	return of
}

// PausedWith returns whose pauses hold for a job, the nearest first. group is its
// group; without a name: it is in none.
func PausedWith(key, group job.Key) [4]Paused {
	all := [4]Paused{
		{ScopeJob, key}, {ScopeGroup, group}, {ScopeNamespace, job.Key{Namespace: key.Namespace}}, {Scope: ScopeAll},
	}
	if group.Name == "" {
		all[1] = Paused{} // nothing is paused by that
	}
	return all
}

// Covers reports whether nothing of a job is due at an instant. group is the job's
// group, in its namespace; empty: it is in none.
func (p *Pause) Covers(key job.Key, group string, t time.Time) bool {
	if !p.HoldsAt(t) {
		return false
	}
	of := PausedWith(key, job.Key{Namespace: key.Namespace, Name: group})
	return slices.Contains(of[:], p.About())
}

// EndedAt reports whether the pause has ended by an instant.
func (p *Pause) EndedAt(t time.Time) bool { return !p.Until.IsZero() && !t.Before(p.Until) }

// HoldsAt reports whether nothing is due at an instant.
func (p *Pause) HoldsAt(t time.Time) bool { return !t.Before(p.Since) && !p.EndedAt(t) }

// Order says who ordered the pause and why, as far as that was said: " by ada: new
// disk".
func (p *Pause) Order() string {
	text := ""
	if p.By != "" {
		text += " by " + p.By
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// Rest adds a pause that has ended to the earlier ones.
func (p *StoredPause) Rest(o *Pause) {
	if o.Until.After(o.Since) {
		p.Earlier = append(p.Earlier, Rest{Since: o.Since, Until: o.Until, By: o.By, Reason: o.Reason})
	}
	if n := len(p.Earlier) - MaxRests; n > 0 {
		p.Earlier = append([]Rest(nil), p.Earlier[n:]...)
	}
}

// All returns the pause, and those before it.
func (p *StoredPause) All() []*Pause {
	out := []*Pause{&p.Pause}
	for i := range p.Earlier {
		r, one := &p.Earlier[i], p.Pause
		one.Since, one.Until, one.By, one.Reason = r.Since, r.Until, r.By, r.Reason
		out = append(out, &one)
	}
	return out
}
