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
)

// Hold says that no shard may be taken. It is written by a restore, before all else, and
// goes when the cluster is recovered.
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
}

// Mark is the key of the mark.
func (k Keys) Mark() string { return k.root + "epoch/mark" }

// Hold is the key that says that no shard may be taken.
func (k Keys) Hold() string { return k.root + "epoch/hold" }
