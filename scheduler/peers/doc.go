// Package peers finds out about other nodes by knocking at their ports.
//
// In it: one probe for each live member. A port that refuses belongs to a process
// that is dead, on a host that is alive: the node is a suspect, and its shards may be
// seized, as everything that an owner does is fenced. A port that does not answer
// says less: it counts against the node's health, and once most of all live nodes say
// so, the node is lost: its host or its site is cut off, and its shards may be seized, too.
// Not one node alone says that, nor half of them: where nodes are parted in two, one part
// at most is lost to the other.
//
//	answers        the node is neither
//	refuses        tried again at once; after refusals in a row, once it has
//	               answered before, the node is a suspect
//	does not answer   after silences in a row the node is unreachable
//
// Not in it: which members there are and what becomes of a suspect's shards. It
// writes nothing, and reads nothing from etcd.
package peers
