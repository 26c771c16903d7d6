package cluster

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// View is a node's view of the cluster: who is alive, who owns what, and what
// operators and groups say about it. Its methods may be called by many goroutines;
// before Synced they know nobody. What they return must not be changed.
type View struct {
	*feed
	nodes
	owners
	groups
	pauses
	calendars
	scripts
	secrets
	notifiers
	caps
	commands
	work
}

// New returns a View; Run keeps it current.
func New(client *clientv3.Client, keys etcdkv.Keys, meta etcdkv.Meta) *View {
	v := &View{feed: &feed{client: client, changed: make(chan struct{}, 1)}}
	v.nodes.follow(v.feed, keys)
	v.owners.follow(v.feed, keys, meta.Shards)
	v.groups.follow(v.feed, keys)
	v.pauses.follow(v.feed, keys)
	v.calendars.follow(v.feed, keys)
	v.scripts.follow(v.feed, keys)
	v.secrets.follow(v.feed, keys)
	v.notifiers.follow(v.feed, keys)
	v.caps.follow(v.feed, keys)
	v.commands.follow(v.feed, keys)
	v.work.follow(v.feed, keys)
	return v
}

// Reread has views of pauses, groups and calendars listed anew, on another
// connection. It does not block.
func (v *View) Reread(pauses, groups, calendars bool) {
	if pauses {
		v.pauses.stored.Reread()
	}
	if groups {
		v.groups.stored.Reread()
	}
	if calendars {
		v.calendars.stored.Reread()
	}
}

// Shards returns all shards that there are: the hash shards, and one for each
// group.
func (v *View) Shards() []job.ShardID {
	groups := v.Groups()
	out := make([]job.ShardID, 0, len(groups)+v.shards)
	for i := range v.shards {
		out = append(out, job.ShardID(i))
	}
	for id := range groups {
		out = append(out, id)
	}
	return out
}
