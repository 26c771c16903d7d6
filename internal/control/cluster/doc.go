// Package cluster is what operators see and ask of the units of ownership: nodes,
// shards and groups. Who holds what, who is drained, moved or held.
//
// Not in it: the records of what is ordered (see audit), minions (see minions), what is wrong (see doctor), and how a group is
// applied (see apply). Who ought to hold a shard is the scheduler's to decide: what
// is ordered here is a key that it reads.
package cluster
