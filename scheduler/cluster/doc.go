// Package cluster is a node's view of the cluster, as etcd has it.
//
// In it: who is alive and healthy, who owns which shard, what groups, calendars,
// scripts, pauses, backfills and dependencies there are, what operators want of shards and
// nodes, what people want of open runs, and how many tasks count under each cap. Each
// prefix is followed by one map, registered in one place (New). What is asked often is
// made anew at each change and then only read: a view is never changed in place, so
// that a caller may keep what it was given.
//
// Not in it: what is concluded from any of that. Nothing is written to etcd from here,
// and nothing here makes a fire unique: a view may be late, and may differ from node
// to node. Jobs, triggers and slots are read by the owner of their shard alone.
//
// A plan may only rest on a view that has come to each edit that was made: the
// revisions of pauses, groups and calendars are told for that (I26 of package
// scheduler), and they are as of a moment before what is read afterwards.
package cluster
