package cluster

import (
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Wishes are what people want of open runs, by the shard of the run and by key.
type Wishes map[job.ShardID]map[string]etcdkv.Entry[etcdkv.Wish]

func (v *View) onWishes() {
	entries, _ := v.wished.Snapshot()
	view := Wishes{}
	for key, e := range entries {
		of := view[e.Value.Shard]
		if of == nil {
			of = map[string]etcdkv.Entry[etcdkv.Wish]{}
			view[e.Value.Shard] = of
		}
		of[key] = e
	}
	v.SetWishes(view)
	v.Wake()
}

// SetWishes puts wishes in the place of what is in view.
func (v *View) SetWishes(w Wishes) { v.wishes.Store(&w) }

// Wishes returns what people want of open runs.
func (v *View) Wishes() Wishes { return *v.wishes.Load() }
