package api

// Topic names what a change is about, for pages that refresh themselves.
type Topic string

// The topics of changes.
const (
	TopicJobs    Topic = "jobs"
	TopicRuns    Topic = "runs"
	TopicNodes   Topic = "nodes"
	TopicMinions Topic = "minions"
	TopicShards  Topic = "shards"
	TopicGroups  Topic = "groups"
	TopicQueues  Topic = "queues"
)

// Change is that something has changed under a topic.
type Change struct {
	Topic Topic `json:"topic"`
	// Names are what has changed, as NAMESPACE/NAME, or a minion's id, where all of it is
	// known and the caller may see all. Empty: it may be anything of the topic.
	Names []string `json:"names,omitempty"`
	// ID is what a stream that is begun again goes on from: what is told by then is not told
	// again.
	ID string `json:"-"`
}
