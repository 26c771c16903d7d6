package cluster

import "github.com/carillon-cron/carillon/job"

// Scripts are the library's scripts by name and version; version 0 is the newest.
type Scripts map[job.ScriptRef]*job.SavedScript

func (v *View) onScripts() {
	entries, _ := v.scripts.Snapshot()
	made := make(Scripts, 2*len(entries))
	for _, e := range entries {
		l := &e.Value.SavedScript
		made[job.ScriptRef{Key: l.Key(), Version: l.Version}] = l
		if newest := made[job.ScriptRef{Key: l.Key()}]; newest == nil || newest.Version < l.Version {
			made[job.ScriptRef{Key: l.Key()}] = l
		}
	}
	v.index.Store(&made)
	v.Wake()
}

// Scripts returns the scripts of the library.
func (v *View) Scripts() Scripts { return *v.index.Load() }

// Find is a job.ScriptFinder.
func (s Scripts) Find(ref job.ScriptRef) (*job.SavedScript, bool) {
	l, ok := s[ref]
	return l, ok
}
