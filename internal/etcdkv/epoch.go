package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Mark is put by nodes now and then while anything is written: its mod revision tells how
// far etcd has come, also where a restore has raised etcd's revision.
type Mark struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	At     time.Time  `json:"at"`
}

// HoldState says why the cluster is held.
type HoldState string

const (
	// HoldRestoring: a restore writes, or was broken off.
	HoldRestoring HoldState = "restoring"
	// HoldRestored: a restore is complete, and `carillon recover` is to be run.
	HoldRestored HoldState = "restored"
	// HoldStandby: the cluster follows another one.
	HoldStandby HoldState = "standby"
	// HoldHandedOver: the cluster has stopped for another one that is to go on.
	HoldHandedOver HoldState = "handed over"
	// HoldOvertaken: another one goes on in a later epoch.
	HoldOvertaken HoldState = "overtaken"
)

// Hold says that no shard may be taken. It is written by a restore, before all else, and
// goes when the cluster is recovered; a cluster that stands by for another one has it, too.
type Hold struct {
	Schema int       `json:"schema"`
	State  HoldState `json:"state"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	// Epoch is the one that has begun with the restore, From where the backup was taken.
	Epoch    int64     `json:"epoch"`
	From     int64     `json:"from"`
	Revision int64     `json:"revision"`
	TakenAt  time.Time `json:"takenAt"`
	// Site is the cluster that this one follows, has handed over to, or was overtaken by.
	Site string `json:"site,omitempty"`
	// Then, unless nil, is how the cluster is recovered without being asked again: it was
	// promoted.
	Then *HoldThen `json:"then,omitempty"`
}

// HoldThen is how a promoted cluster is recovered.
type HoldThen struct {
	// LostAt is when the active cluster was lost; zero: when this one was promoted.
	LostAt time.Time `json:"lostAt,omitzero"`
	// AcceptAfter is until when minions are waited for that do not answer. Zero: as long
	// as it takes.
	AcceptAfter time.Time `json:"acceptAfter,omitzero"`
	Reason      string    `json:"reason,omitempty"`
	// Planned: the active cluster has handed over.
	Planned bool `json:"planned,omitempty"`
	// Last are the keys that a promotion writes in its last transaction, as etcd holds
	// them: whoever ends one that was broken off does not know them otherwise.
	Last map[string][]byte `json:"last,omitempty"`
}

// Cause says to people why a cluster is recovered.
func (h *Hold) Cause() string {
	if h.Then != nil {
		return "the cluster was promoted from a copy of before"
	}
	return "etcd was restored from a backup of before"
}

// Mark is the key of the mark.
func (k Keys) Mark() string { return k.root + "epoch/mark" }

// Hold is the key that says that no shard may be taken.
func (k Keys) Hold() string { return k.root + "epoch/hold" }
