// Package jobstore finds jobs as they are stored: in which shard one lies, when it
// is due, and from when on an edit of it holds.
//
// A job lies in one place at any revision: in the shard of its group, which
// Keys.GroupedJob tells, or without a group in its hash shard.
//
// Not in it: how jobs are shown (see catalog), and how they are changed (see apply).
package jobstore
