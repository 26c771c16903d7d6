package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// backups measures how long a backup takes of a cluster with so many jobs, to a file that
// is on the disk, and how long it takes to put it into an empty prefix of an etcd.
type backups struct{ jobs int }

func (b backups) measure(ctx context.Context, e *env) error {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	defer store.close()
	keys := etcdkv.NewKeys("")
	meta, err := etcdkv.Encode(&etcdkv.Meta{Schema: etcdkv.Schema, ClusterID: "bench", Epoch: 1, Shards: shards})
	if err != nil {
		return err
	}
	if _, err := store.Put(ctx, keys.Meta(), meta); err != nil {
		return fmt.Errorf("the cluster: %w", err)
	}
	if err := (&jobsOf{namespace: "bench", count: b.jobs, expr: always("@daily"), command: []string{noopTask}}).put(ctx, store.Client); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carillon-bench-backups-")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var taken, restored []float64
	var bytes int64
	for round := range e.rounds {
		begin := time.Now()
		kept, end, err := backup.Create(ctx, backup.FromEtcd(store.Client, keys, ""), backup.Wish{To: backup.Directory(filepath.Join(dir, fmt.Sprint(round)))})
		if err != nil {
			return err
		}
		taken = append(taken, time.Since(begin).Seconds())
		if bytes = kept.Bytes; end.Jobs != int64(b.jobs) {
			return fmt.Errorf("%d jobs are in the backup, want %d", end.Jobs, b.jobs)
		}
		to := etcdkv.NewKeys(fmt.Sprintf("/restored-%d", round))
		begin = time.Now()
		back, err := backup.Restore(ctx, store.Client, to, func() (io.ReadCloser, error) { return backup.Open(kept.Path, nil) }, backup.Options{})
		if err != nil {
			return err
		}
		restored = append(restored, time.Since(begin).Seconds())
		there, err := store.Get(ctx, to.Jobs(), clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return fmt.Errorf("the jobs: %w", err)
		}
		if there.Count != back.Jobs || back.Jobs != int64(b.jobs) {
			return fmt.Errorf("%d jobs were restored, want %d", there.Count, b.jobs)
		}
	}
	of := fmt.Sprintf("of %d jobs", b.jobs)
	if err := e.report("backup_100k_jobs_s", "s", taken, fmt.Sprintf("a backup %s, %d bytes on the disk", of, bytes)); err != nil {
		return err
	}
	return e.report("restore_100k_jobs_s", "s", restored, "into an empty prefix, checked first, "+of)
}
