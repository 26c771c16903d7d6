// Package placement says which node ought to hold each hash shard.
//
// In it: the weighted rendezvous hashing with bounded load. It is pure: shards
// and nodes in, a node for each shard out, so that all nodes that see the same
// members place alike.
//
// Not in it: who holds a group's shard (package mode), what an operator has
// decided about one, and how a shard gets to the node that it is placed on.
// Placement makes no fire unique: etcd does, by the shard's lock.
package placement
