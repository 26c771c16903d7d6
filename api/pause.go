package api

import (
	"time"
)

// Scope says what a pause is of.
type Scope string

// The scopes of a pause.
const (
	ScopeAll       Scope = "all"
	ScopeNamespace Scope = "namespace"
	ScopeGroup     Scope = "group"
	ScopeJob       Scope = "job"
)

// Pause says that jobs do not fire by themselves.
type Pause struct {
	Scope Scope `json:"scope"`
	// Namespace and Name are of what is paused; see Scope.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	By        string `json:"by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// ByFailures: nobody has ordered it; the job's runs had failed too often in a row.
	ByFailures bool `json:"byFailures,omitempty"`
	// Since is the first instant at which nothing is due, Until the first at
	// which something is again; zero: no end.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// EndedAt reports whether the pause has ended by an instant.
func (p *Pause) EndedAt(t time.Time) bool { return !p.Until.IsZero() && !t.Before(p.Until) }

// Paused names what is paused or resumed. Namespace and Name are empty where the
// scope has none.
type Paused struct {
	Scope     Scope
	Namespace string
	Name      string
}

// String returns "job team/backup", "namespace team" or "all jobs".
func (p Paused) String() string {
	switch p.Scope {
	case ScopeAll:
		return "all jobs"
	case ScopeNamespace:
		return "namespace " + p.Namespace
	case ScopeJob, ScopeGroup:
	}
	return string(p.Scope) + " " + p.Namespace + "/" + p.Name
}
