package epoch

import (
	"fmt"
	"time"
)

// Point is how far etcd was seen. The zero value: not at all.
type Point struct {
	Schema  int    `json:"schema"`
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch"`
	// Mark is the mod revision of the mark, Revision that of etcd.
	Mark     int64     `json:"mark,omitempty"`
	Revision int64     `json:"revision,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// Older reports whether what p tells is older than what seen does, of the same cluster.
func (p Point) Older(seen Point) bool {
	if p.Epoch != seen.Epoch {
		return p.Epoch < seen.Epoch
	}
	return p.Revision < seen.Revision || p.Mark < seen.Mark
}

// Raise returns the higher of both: seen, or what p adds to it.
func (p Point) Raise(seen Point) Point {
	switch {
	case p.Epoch < seen.Epoch:
		return seen
	case p.Epoch == seen.Epoch:
		p.Mark, p.Revision = max(p.Mark, seen.Mark), max(p.Revision, seen.Revision)
	}
	return p
}

// String says where in etcd's history it is.
func (p Point) String() string {
	if p.Mark != 0 {
		return fmt.Sprintf("epoch %d, revision %d, mark %d", p.Epoch, p.Revision, p.Mark)
	}
	return fmt.Sprintf("epoch %d, revision %d", p.Epoch, p.Revision)
}
