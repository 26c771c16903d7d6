package etcdkv

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// Permits is who counts under a cap that holds for the whole cluster: the tasks
// on minions that have Value of Label. Owners of shards write it, each for the
// fires of its own shard, comparing their token and the value's revision. There
// is no key where nobody counts.
type Permits struct {
	Schema  int      `json:"schema"`
	Label   string   `json:"label"`
	Value   string   `json:"value"`
	Holders []Holder `json:"holders"`
}

// Holder is a fire whose tasks count.
type Holder struct {
	// Fire is that of the tasks: a share's, where it is shared out.
	Fire job.FireID `json:"fire"`
	// Shard is where the fire's slot lies.
	Shard   job.ShardID    `json:"shard"`
	Minions []job.MinionID `json:"minions"`
}

// Count returns how many tasks count.
func (p *Permits) Count() int {
	n := 0
	for i := range p.Holders {
		n += len(p.Holders[i].Minions)
	}
	return n
}

// Holds reports whether a fire's task on a minion counts.
func (p *Permits) Holds(f job.FireID, m job.MinionID) bool {
	i := p.find(f)
	return i >= 0 && slices.Contains(p.Holders[i].Minions, m)
}

// Add makes a fire's task on a minion count.
func (p *Permits) Add(f job.FireID, s job.ShardID, m job.MinionID) {
	i := p.find(f)
	if i < 0 {
		i = len(p.Holders)
		p.Holders = append(p.Holders, Holder{Fire: f, Shard: s})
	}
	if !slices.Contains(p.Holders[i].Minions, m) {
		p.Holders[i].Minions = append(p.Holders[i].Minions, m)
	}
}

// Remove makes a fire's task on a minion not count, and reports whether it did.
func (p *Permits) Remove(f job.FireID, m job.MinionID) bool {
	i := p.find(f)
	if i < 0 {
		return false
	}
	h := &p.Holders[i]
	j := slices.Index(h.Minions, m)
	if j < 0 {
		return false
	}
	h.Minions = slices.Delete(h.Minions, j, j+1)
	if len(h.Minions) == 0 {
		p.Holders = slices.Delete(p.Holders, i, i+1)
	}
	return true
}

func (p *Permits) find(f job.FireID) int {
	return slices.IndexFunc(p.Holders, func(h Holder) bool { return h.Fire == f })
}
