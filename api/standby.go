package api

import "time"

// ClusterRole is what a cluster is to another one.
type ClusterRole string

// Roles.
const (
	// RoleAlone: the cluster plans and fires. Another one may follow it.
	RoleAlone ClusterRole = "alone"
	// RoleStandby: it follows another one.
	RoleStandby ClusterRole = "standby"
	// RolePromoting: it is being put in the place of the one that it followed.
	RolePromoting ClusterRole = "promoting"
	// RoleHandedOver: it has stopped, for its standby to go on.
	RoleHandedOver ClusterRole = "handed over"
	// RoleOvertaken: its standby was promoted, and goes on.
	RoleOvertaken ClusterRole = "overtaken"
	// RoleRestored: it is held since a restore, and nothing else.
	RoleRestored ClusterRole = "restored"
)

// Standby tells what a cluster is to another one.
type Standby struct {
	Role ClusterRole `json:"role"`
	// Text says what that means, and who has to decide what.
	Text string `json:"text,omitempty"`
	// Epoch is that of this cluster.
	Epoch int64 `json:"epoch"`
	// From is the cluster that is followed, or was, or has overtaken this one.
	From  string     `json:"from,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	// Copy is what a standby has; nil: nothing.
	Copy *StandbyCopy `json:"copy,omitempty"`
	// Trouble is why nothing comes from the active cluster; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// StandbyCopy is the copy that a standby has of the active cluster.
type StandbyCopy struct {
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch"`
	// Revision is that of the active cluster's etcd of which the copy is; Torn: a part of
	// the next one is in it.
	Revision int64 `json:"revision"`
	Torn     bool  `json:"torn,omitempty"`
	// AsOf is until when nothing is missing, by the active cluster's clock, and LagSeconds
	// how long ago that was, by this one's. Nil: it is not known yet.
	AsOf       *time.Time `json:"asOf,omitempty"`
	LagSeconds *float64   `json:"lagSeconds,omitempty"`
	// Whole: the copy is complete. Else the first one is being made.
	Whole bool  `json:"whole"`
	Jobs  int64 `json:"jobs"`
	Keys  int64 `json:"keys"`
}

// FollowRequest makes a cluster the standby of another one.
type FollowRequest struct {
	Order
	// From is the address of the active cluster's API, CA the certificates of the
	// authorities that it is known by, in PEM, and Token a token of it that may grant on
	// the cluster.
	From, CA, Token string
	// Replace: what this cluster has of its own is given up when it is promoted.
	Replace bool
	// DryRun: it is only told what would be given up.
	DryRun bool
}

// Followed tells what becomes of a cluster that follows another one.
type Followed struct {
	DryRun bool   `json:"dryRun,omitempty"`
	From   string `json:"from"`
	// Cluster and Epoch are those of the active cluster.
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch"`
	// Lost are definitions that were changed in this cluster, and of which the active one
	// does not know, at most MaxLostDefinitions; MoreLost counts the others.
	Lost     []LostDefinition `json:"lost"`
	MoreLost int              `json:"moreLost,omitempty"`
}

// MaxLostDefinitions bounds the definitions that a Followed names.
const MaxLostDefinitions = 1000

// LostDefinition is what a cluster gives up that follows another one.
type LostDefinition struct {
	// Kind is "job", "group", "calendar" and so on.
	Kind string `json:"kind"`
	// Name is NAMESPACE/NAME where the kind has namespaces.
	Name string `json:"name"`
}

// PromoteRequest has a standby take over.
type PromoteRequest struct {
	Order
	// DryRun: it is only told what would be done.
	DryRun bool
	// Planned: the active cluster lives, and is stopped first, so that nothing is lost.
	Planned bool
	// LostAt is when the active cluster was lost; zero: now. What was due after it has
	// certainly not run.
	LostAt time.Time
	// AcceptAfter is how long minions are waited for; then what those that do not answer
	// may have run is recorded as indeterminate. Zero: as long as it takes.
	AcceptAfter time.Duration
}

// Promotion tells what becomes of a standby that takes over.
type Promotion struct {
	DryRun  bool        `json:"dryRun,omitempty"`
	Planned bool        `json:"planned,omitempty"`
	From    string      `json:"from"`
	Copy    StandbyCopy `json:"copy"`
	// Epoch is the one that begins.
	Epoch int64 `json:"epoch"`
	// Warnings say what is to be known before.
	Warnings []string `json:"warnings"`
}

// MirrorRequest asks an active cluster for what it has, or for what has changed in it.
type MirrorRequest struct {
	// Cluster, Epoch and After say what is there already; zero values: nothing.
	Cluster string `json:"cluster,omitempty"`
	Epoch   int64  `json:"epoch,omitempty"`
	After   int64  `json:"after,omitempty"`
}

// HandedOver tells that an active cluster has stopped.
type HandedOver struct {
	// ID is that of the last thing that it has written.
	ID    string `json:"id"`
	Epoch int64  `json:"epoch"`
}

// OvertakenRequest tells a cluster that another one goes on.
type OvertakenRequest struct {
	Order
	Cluster string
	Epoch   int64
	// Revision is that of the etcd of the one that is told of which the other one's copy was.
	Revision int64
	// Site is where the other one is asked.
	Site string
}
