package api

import "github.com/carillon-cron/carillon/job"

// Role is a role as the API tells it.
type Role struct {
	job.Role

	// BuiltIn: every cluster has it, and it cannot be changed.
	BuiltIn bool `json:"builtIn,omitempty"`
}

// CanIRequest asks whether the caller may do something: a verb on a kind of thing.
type CanIRequest struct {
	Verb, Resource string
	// Namespace is that of the thing. Empty: in all, or the kind has none.
	Namespace string
	// Labels are those of the thing.
	Labels map[string]string
	// Command, if given, is what is to be started by it, as the account RunAs, empty: the
	// minion's own, on the minions that Target matches, empty: on all.
	Command []string
	RunAs   string
	Target  string
}

// CanI tells whether the caller may do something.
type CanI struct {
	Allowed bool `json:"allowed"`
	// Some, where it is not: it is allowed on some of these things, by their labels.
	Some bool `json:"some,omitempty"`
	// Bounded, where it is not: it is allowed for some commands, accounts and minions.
	Bounded bool `json:"bounded,omitempty"`
	// Why, where it is not and was asked for a command: what of it is beyond.
	Why string `json:"why,omitempty"`
	// State is the cluster's: open, noting or closed.
	State string `json:"state"`
}
