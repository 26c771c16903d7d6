// Package ownership compares the shards that a node owns with those that it ought to,
// under one lease, and does what is to be done about the difference: it claims what is
// free and its to hold, goes on with what it holds, hands over what is another node's to
// hold, and seizes what a dead or overdue node holds.
//
//	         claim, seize, adopt               its time is over, or the lease is lost
//	free  ------------------------> held  ------------------------------------------> free
//	                                 |
//	                                 +--pass--> passing --the other has it--> free
//
// Who ought to hold a shard is what packages placement and mode say, unless an operator
// has said something else (an override). Nodes that see different things for a moment may
// try for the same lock: etcd decides.
//
// In it: Node, which looks at all shards again and again; the places in the lines of
// groups; what a node tells of itself (its phase); and the hand-over at its end.
//
// Not in it: what is done with a shard that is held (Deps.Run); whether others live
// (package peers); the lease itself (package lock); and how a node joins.
package ownership
