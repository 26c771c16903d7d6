// Package sealing keeps what a cluster holds of its own in etcd sealed: the authority's
// key, keys of session tickets, hashes of join tokens, secrets of webhooks, the bootstrap
// token (etcdkv's Keys.Secrets is the list). The key is in a file of each node (package
// sealkey); etcd has its id only, in one record, the state, by which all nodes go.
//
// A cluster without a state is in the clear. One comes to be when a cluster is made by a
// node that has a key, and whenever all live nodes have the same first key in their
// files: so a cluster that was in the clear is sealed, and so another key takes over.
// Each node says on its lease which keys it has.
//
// # Invariants
//
//  1. What is written is sealed by the key of the state: each write of a secret compares
//     that the state is the one that it went by.
//  2. The state names a key that all live nodes have as their first. A transaction
//     compares that neither they nor their files changed meanwhile. So no live node is
//     left with what it cannot open, and two files in another order undo nothing.
//  3. What was there before is sealed anew value by value, each only if it is still what
//     was read; then the state is settled. A node that ends amid this is followed by
//     another.
//  4. Once it is settled, a secret in the clear is refused, and so is one of another key
//     of etcd: who puts it there has not the nodes' key.
//  5. A node that lacks the key of the state does not start, and says which file is
//     missing, and where there is one.
//  6. A key is made only where nobody has one: in a cluster that is in the clear, of
//     which no live node says that it has one. Of two nodes that make one at once the
//     first one's counts, and the other one starts not, and leaves no file.
//  7. A file that is exchanged under a running node counts within seconds, if it is good
//     and has each key that is still needed; else the node goes on with the former one,
//     and says so.
//
// # Failures
//
//	a node has no file, or another key      it does not start; a running one that was cut off while the key changed goes on, opens
//	                                        and writes no secrets, and says so
//	a node of a former release is live      the cluster stays in the clear, or with its former key, until it is not
//	the file is lost on all hosts           what is sealed is lost: a new authority (Replace), and secrets of webhooks anew
//	etcd is restored to before it was sealed it is in the clear, and is sealed again
//
// # Not promised
//
// Who writes etcd may remove the state, or put an older value of a secret in its place.
// What was in the clear before stays in backups and in old pages of etcd's files.
package sealing
