package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// work is what is to be done beside the schedules of jobs, and what of them is not.
type work struct {
	keys         etcdkv.Keys
	dependencies *etcdkv.Map[etcdkv.Dependency]
	stored       *etcdkv.Map[etcdkv.Backfill]
	asides       *etcdkv.Map[etcdkv.Aside]
	// waiters are dependencies by the job that is waited for.
	waiters atomic.Pointer[map[job.Key][]etcdkv.Dependency]
}

func (w *work) follow(f *feed, keys etcdkv.Keys) {
	w.keys = keys
	w.waiters.Store(&map[job.Key][]etcdkv.Dependency{})
	w.dependencies = follow(f, keys.Dependencies(), etcdkv.Decode[etcdkv.Dependency], w.onDependencies)
	w.stored = follow(f, keys.Backfills(), etcdkv.Decode[etcdkv.Backfill], nil)
	w.asides = follow(f, keys.Asides(), etcdkv.Decode[etcdkv.Aside], nil)
}

func (w *work) onDependencies() {
	entries, _ := w.dependencies.Snapshot()
	view := make(map[job.Key][]etcdkv.Dependency, len(entries))
	for _, e := range entries {
		view[e.Value.From] = append(view[e.Value.From], e.Value)
	}
	w.waiters.Store(&view)
}

// Waiters returns the dependencies to the jobs that wait for ends of a job's runs.
func (w *work) Waiters(of job.Key) []etcdkv.Dependency { return (*w.waiters.Load())[of] }

// Backfills returns the backfills by key.
func (w *work) Backfills() map[string]etcdkv.Entry[etcdkv.Backfill] {
	entries, _ := w.stored.Snapshot()
	return entries
}

// Aside returns the record that a job is set aside.
func (w *work) Aside(key job.Key) (etcdkv.Aside, bool) {
	entries, _ := w.asides.Snapshot()
	e, ok := entries[w.keys.Aside(key)]
	return e.Value, ok
}
