package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Scripts are the library's scripts by name and version; version 0 is the newest.
type Scripts map[job.ScriptRef]*job.SavedScript

// scripts are the scripts of the library; index is made anew at every change.
type scripts struct {
	wake   func()
	stored *etcdkv.Map[etcdkv.StoredScript]
	index  atomic.Pointer[Scripts]
}

func (l *scripts) follow(f *feed, keys etcdkv.Keys) {
	l.wake = f.Wake
	l.index.Store(&Scripts{})
	l.stored = follow(f, keys.Scripts(), etcdkv.Decode[etcdkv.StoredScript], l.onScripts)
}

func (l *scripts) onScripts() {
	entries, _ := l.stored.Snapshot()
	made := make(Scripts, 2*len(entries))
	for _, e := range entries {
		saved := &e.Value.SavedScript
		made[job.ScriptRef{Key: saved.Key(), Version: saved.Version}] = saved
		if newest := made[job.ScriptRef{Key: saved.Key()}]; newest == nil || newest.Version < saved.Version {
			made[job.ScriptRef{Key: saved.Key()}] = saved
		}
	}
	l.index.Store(&made)
	l.wake()
}

// Scripts returns the scripts of the library.
func (l *scripts) Scripts() Scripts { return *l.index.Load() }

// Find is a job.ScriptFinder.
func (s Scripts) Find(ref job.ScriptRef) (*job.SavedScript, bool) {
	l, ok := s[ref]
	return l, ok
}
