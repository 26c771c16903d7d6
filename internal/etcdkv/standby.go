package etcdkv

import (
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Following says whom a standby follows. Its token is sealed; see Keys.Secrets.
type Following struct {
	Schema int `json:"schema"`
	// From is the address of the active cluster's API.
	From string `json:"from"`
	// Cluster is the id of that one, Epoch the one that it had when this began.
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch,omitempty"`
	// CA holds the certificates of the authorities, as PEM, of which one made the
	// certificate of From. Empty: those that the nodes' hosts trust.
	CA    string    `json:"ca,omitempty"`
	Token string    `json:"token,omitempty"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since"`
	// Ended: this cluster was promoted. Who was followed is told so until it knows.
	Ended bool `json:"ended,omitempty"`
}

// MirrorCursor says what the copy is of that a standby has of the active cluster. It is
// written in each transaction that changes the copy.
type MirrorCursor struct {
	Schema int `json:"schema"`
	// Cluster, Epoch and Shards are those of the active cluster.
	Cluster string `json:"cluster,omitempty"`
	Epoch   int64  `json:"epoch,omitempty"`
	Shards  int    `json:"shards,omitempty"`
	// SealKey is the id of the key by which its secrets are sealed; empty: by none.
	SealKey string `json:"sealKey,omitempty"`
	// Generation is where the copy is that is complete; 0: none is. Revision is that of
	// the active cluster's etcd of which it is.
	Generation int64 `json:"generation,omitempty"`
	Revision   int64 `json:"revision,omitempty"`
	// Torn: a part of the revision after Revision is in the copy, too.
	Torn bool `json:"torn,omitempty"`
	// AsOf is until when, by the clock of the active cluster, the copy lacks nothing.
	AsOf time.Time `json:"asOf,omitzero"`
	// Filling is where the next copy is made; 0: none is. Seen is the latest epoch that the
	// active cluster had as one was begun.
	Filling int64 `json:"filling,omitempty"`
	Seen    int64 `json:"seen,omitempty"`
	// Node is who wrote it.
	Node job.NodeID `json:"node,omitempty"`
	At   time.Time  `json:"at,omitzero"`
	// Trouble is why nothing comes from the active cluster; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// HandedOver is put by an active cluster as the last thing that it does: what has this
// has all.
type HandedOver struct {
	Schema int       `json:"schema"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
}

// Following is the key that says whom this cluster follows as a standby.
func (k Keys) Following() string { return k.root + "auth/following" }

// HandedOver is the key of the last thing that an active cluster writes.
func (k Keys) HandedOver() string { return k.root + "epoch/handedover" }

// mirror is the prefix of what a standby has of the active cluster. It lies beside what the
// cluster has of its own, so that neither a backup nor a view takes the one for the other.
func (k Keys) mirror() string { return k.Prefix() + "/mirror/" }

// MirrorCursor is the key of what the copy is of.
func (k Keys) MirrorCursor() string { return k.mirror() + "cursor" }

// Copies is the prefix of all copies of the active cluster, whole or not.
func (k Keys) Copies() string { return k.mirror() + "copy/" }

// Copy is the prefix of one copy. The key of a record in it is that of the active cluster
// without its prefix.
func (k Keys) Copy(generation int64) string {
	return k.Copies() + strconv.FormatInt(generation, 10) + "/"
}
