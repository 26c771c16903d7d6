package api

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// UnknownKey is a label or a fact that hosts did not have.
type UnknownKey struct {
	Key string `json:"key"`
	// Hosts is how many hosts are not matched because of it, First one of them.
	Hosts int    `json:"hosts"`
	First string `json:"first"`
}

// The states of a minion.
const (
	MinionConnected    = "connected"
	MinionDisconnected = "disconnected"
)

// LabelRequest is what a minion's granted labels are to become.
type LabelRequest struct {
	// Set are granted, in place of those of the same names; Remove are names of
	// labels that are taken away.
	Set    map[string]string
	Remove []string
	Order
}

// Match is which minions a target matches now.
type Match struct {
	// Target is the expression in its canonical form.
	Target string `json:"target"`
	// Minions are the connected ones that match, ordered by id, and Hosts the
	// same in bracket form.
	Minions []job.MinionID `json:"minions"`
	Hosts   string         `json:"hosts"`
	// Disconnected match, too, but cannot be reached.
	Disconnected []job.MinionID `json:"disconnected"`
	// Uncontrollable are those of both that get no orders now, with the reason, as
	// that they are not connected, or that their certificate was revoked.
	Uncontrollable []job.Uncontrollable `json:"uncontrollable" nullable:"false"`
	// Missing are names that the target spells out and no minion has, in bracket
	// form; empty: there are none.
	Missing string `json:"missing,omitempty"`
	// Known is how many minions there are in all.
	Known int `json:"known"`
	// Unknown are the labels and facts that some minions lack, so that it could
	// not be told whether they match; they do not.
	Unknown []UnknownKey `json:"unknown"`
}

// FactsFromMinion says that facts are a minion's own word: nobody has checked
// them.
const FactsFromMinion = "minion"

// Minion is a known minion.
type Minion struct {
	job.Minion
	// FactsFrom is FactsFromMinion; empty: there are no facts.
	FactsFrom string `json:"factsFrom,omitempty" enum:"minion" doc:"Who said what is in facts: the minion itself, and nobody has checked it. Labels are granted by operators; those in requestedLabels are not, and match nothing."`
	// State is "connected" or "disconnected"; Trouble tells whether it gets orders.
	State string `json:"state"`
}

// GrantCommand is the command that grants the labels which the minion asks for,
// by their names, so that what is granted is what its reader saw. A minion may
// ask for any text, and readers copy the command into a shell: labels that hold
// more than letters, digits and a few signs are not in it. Empty: it asks for
// none that can be.
func (v *Minion) GrantCommand() string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(v.Requested)) {
		if job.CheckLabel(k, v.Requested[k]) == nil && plainWord(v.Requested[k]) {
			words = append(words, k+"="+v.Requested[k])
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "carillon minions label " + string(v.ID) + " " + strings.Join(words, " ")
}

// plainWord reports whether a shell, a terminal and a page take text for nothing
// but itself.
func plainWord(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return false
		}
		return !strings.ContainsRune("._-+:/@", c)
	})
}

// MinionDetail is all that is known of one minion.
type MinionDetail struct {
	Minion
	// Granted tells who granted the labels last; nil: it has been granted none.
	Granted *LabelGrant `json:"granted,omitempty"`
	// Certificate is its enrollment, with the fingerprint of its key; nil: it has
	// not joined, as where nodes run with --insecure.
	Certificate *Enrollment `json:"certificate,omitempty"`
}

// LabelGrant tells who granted labels, and when.
type LabelGrant struct {
	// By is a user, or a token as "token k3x9".
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since"`
}
