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
