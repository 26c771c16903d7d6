package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// RunCommands are what people want of open runs, by the shard of the run and by key.
type RunCommands map[job.ShardID]map[string]etcdkv.Entry[etcdkv.RunCommand]

// commands are the commands to runs; byShard is made anew at every change.
type commands struct {
	wake    func()
	stored  *etcdkv.Map[etcdkv.RunCommand]
	byShard atomic.Pointer[RunCommands]
}

func (c *commands) follow(f *feed, keys etcdkv.Keys) {
	c.wake = f.Wake
	c.byShard.Store(&RunCommands{})
	c.stored = follow(f, keys.RunCommands(), etcdkv.Decode[etcdkv.RunCommand], c.onCommands)
}

func (c *commands) onCommands() {
	entries, _ := c.stored.Snapshot()
	view := RunCommands{}
	for key, e := range entries {
		of := view[e.Value.Shard]
		if of == nil {
			of = map[string]etcdkv.Entry[etcdkv.RunCommand]{}
			view[e.Value.Shard] = of
		}
		of[key] = e
	}
	c.SetRunCommands(view)
	c.wake()
}

// SetRunCommands puts commands in the place of what is in view.
func (c *commands) SetRunCommands(w RunCommands) { c.byShard.Store(&w) }

// RunCommands returns what people want of open runs.
func (c *commands) RunCommands() RunCommands { return *c.byShard.Load() }
