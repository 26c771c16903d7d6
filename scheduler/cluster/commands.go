package cluster

import (
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// RunCommands are what people want of open runs, by the shard of the run and by key.
type RunCommands map[job.ShardID]map[string]etcdkv.Entry[etcdkv.RunCommand]

func (v *View) onCommands() {
	entries, _ := v.commanded.Snapshot()
	view := RunCommands{}
	for key, e := range entries {
		of := view[e.Value.Shard]
		if of == nil {
			of = map[string]etcdkv.Entry[etcdkv.RunCommand]{}
			view[e.Value.Shard] = of
		}
		of[key] = e
	}
	v.SetRunCommands(view)
	v.Wake()
}

// SetRunCommands puts commands in the place of what is in view.
func (v *View) SetRunCommands(w RunCommands) { v.commands.Store(&w) }

// RunCommands returns what people want of open runs.
func (v *View) RunCommands() RunCommands { return *v.commands.Load() }
