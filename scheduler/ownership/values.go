package ownership

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// OwnerValue makes the value of an owner key. due is the instant that the owner
// is to fire next; timers.Never: none that is known.
func OwnerValue(node, from job.NodeID, now, due int64) (string, error) {
	grant, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("new grant id: %w", err)
	}
	o := etcdkv.Owner{Schema: etcdkv.Schema, Node: node, Grant: grant.String(), Since: time.Unix(0, now).UTC(), From: from}
	if due != timers.Never && due != 0 {
		o.Due = time.Unix(0, due).UTC()
	}
	return etcdkv.Encode(o)
}

// PlaceValue makes the value of a place in line.
func PlaceValue(n job.NodeID, now int64) (string, error) {
	return etcdkv.Encode(etcdkv.Place{Schema: etcdkv.Schema, Node: n, Since: time.Unix(0, now).UTC()})
}
