package main

import (
	"fmt"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
)

// bumpedBy is by how much a restore of etcd's raises the revision, as etcd's own text
// proposes.
const bumpedBy = 1_000_000_000

// bump raises the revision of an etcd that does not run, as `etcdutl snapshot restore
// --bump-revision --mark-compacted` does: by one record without a key, far up, and a
// compaction there. All keys stay at their revisions.
func bump(dir string) error {
	be := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(dir, "member", "snap", "db"))
	tx := be.BatchTx()
	tx.LockOutsideApply()
	var latest mvcc.Revision
	err := tx.UnsafeForEach(schema.Key, func(k, _ []byte) error {
		if rev := mvcc.BytesToRev(k); rev.GreaterThan(latest) {
			latest = rev
		}
		return nil
	})
	if err == nil {
		latest.Main += bumpedBy
		tx.UnsafePut(schema.Key, mvcc.RevToBytes(latest, mvcc.NewRevBytes()), []byte{})
		mvcc.UnsafeSetScheduledCompact(tx, latest.Main)
	}
	tx.Unlock()
	be.ForceCommit()
	if closed := be.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("bump %s: %w", dir, err)
	}
	return nil
}
