// Package locks lets clients hold locks that never reach etcd: a node does for
// them what package lock does. All state is in etcd, so any node serves any
// request: a session is a lease, with a record on it that names its holder; a
// client's place in a lock's queue has an id of the client's own, by which it goes
// on waiting through any node. The client counts its own deadline, from when it
// sent the last renewal that was answered. What a client calls itself is its own word:
// the record has who opened the session, where that is known, before it.
//
// In it: sessions, acquiring and releasing, who holds and waits, and breaking a
// lock for an operator. Not in it: how a lock is fenced and queued; that is lock's.
package locks
