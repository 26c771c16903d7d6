// Package lock is Carillon's fenced locks on etcd leases. It can be used on its
// own.
//
// A Session is a lease that is kept alive. On it lie grants: an Ownership is a
// key that one session claimed, or was handed; a Hold is the turn of one
// contender in a Mutex. Each carries a Token, and each write that it protects
// compares the grant's Fence, or gives the token to the resource that is
// written to.
//
// # States
//
//	session    open --renewed--> open
//	                --deadline, or lease gone--> lost
//	                --Close--> closed
//	           A session that is lost or closed never comes back.
//	ownership  claimed or adopted --Release--> over
//	                --Handover--> over, and the successor adopts
//	                --session lost or closed--> over
//	mutex      place taken --older places gone, confirmed--> held --Unlock--> free
//	                --ctx or session ended--> place removed
//
// # Invariants
//
// I1. One owner. At every revision of etcd a key has at most one grant, and a
// mutex at most one first place.
//
// I2. Tokens rise. A later grant of the same key or mutex has a higher token.
//
// I3. The session ends first. Its deadline is when the last good renewal was
// sent, plus the granted TTL, less the margin. Held is false and Lost is closed
// from then on, before the server can end the lease. A renewal whose answer
// comes after the deadline does not bring the session back.
//
// I4. Ownership is proven by a transaction that goes through raft: never by a
// read, and never by a transaction that can only read.
//
// I5. No ghosts. A write whose answer was lost either is found to be done and
// counts, or is undone and cannot happen later, even if the request is still
// on its way. To that end each write compares that its own mark does not
// exist, and to give a write up is to put its mark; see Session.commit.
//
// I6. Only one's own. Releasing, unlocking and cleaning up compare the grant's
// revision: they never touch a newer grant. All are idempotent.
//
// I7. A hand-over is one transaction. The key is never without an owner, and
// if the successor's lease is gone nothing has changed. A key that is put
// again keeps its create revision, so the fence is its mod revision.
//
// I8. A mutex is first come, first served, by the order in which etcd took the
// places. A waiter watches the place right before its own, and its own.
//
// I9. Nobody waits for a session that has ended: Lock returns ErrLost or
// ErrClosed at once.
//
// # Failures
//
//	what fails                           what happens
//	----------                           ------------
//	holder's process dies                the lease ends within its TTL (plus the server's half second)
//	holder is cut off from etcd          it stops at its deadline; the lease ends later (I3)
//	holder's process or host stands      others are granted the lock; the holder's Held is false at the next
//	  still (SIGSTOP, suspend)             look, and its writes fail the fence
//	one etcd member is dead or slow      renewals are hedged over the others
//	etcd has no leader                   nobody is granted anything; leases are extended by the next leader
//	answer of a claim is lost            resolved by a transaction, else undone in the background (I5)
//	answer of a release is lost          tried again, then in the background, until the lease has ended
//	answer of a hand-over is lost        resolved by a transaction; else the caller stops, and may Release
//	successor dies during a hand-over    ErrNoSuccessor and nothing changed, or the key ends with its lease
//	waiter gives up                      its place is removed in the background
//	etcd is restored from a backup       the epoch in the tokens must be raised, and sessions opened anew
//
// # Not promised
//
// That the former holder has stopped when a new one begins: a process that
// stood still does not know. Only fencing is safe there. A resource that
// cannot compare tokens is as safe as the clocks' rates and the margin are.
//
// That a lost lock is free again sooner than the TTL, or as soon: a new etcd
// leader gives every lease its full TTL again, and an election on top.
//
// That marks vanish before the session ends: each write that was given up
// leaves one small key on the session's lease.
package lock
