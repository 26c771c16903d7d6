// Package lock is Carillon's fenced locks on etcd leases. It can be used on its
// own.
//
// A Session is a lease that is kept alive, or borrowed from who does so. On it
// lie grants: an Ownership is a key that one session claimed, or was handed; a
// Hold is the turn of one contender in a Mutex. Each carries a Token, and each
// write that it protects compares the grant's Fence, or gives the token to the
// resource that is written to.
//
// A Mutex is a plain lock, a shared one (readers and writers), or a counting
// semaphore. Contenders have priorities, may preempt weaker holders, may be
// counted per session (reentrant), and may bound how long they hold.
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
//	contender  new  --lock free--> held
//	                --lock not free--> waiting
//	           waiting --handed over by who unlocks--> held
//	                --nobody ahead, nobody holds, proven--> held
//	                --ctx or session ended--> gone, unless its place is kept
//	           held --Unlock--> gone, and handed over if somebody can take it
//	                --session lost, or broken--> gone, uncleanly
//	                --preempted, or held too long--> over; gone by Unlock, or
//	                                        uncleanly when its grace has passed
//
// # Keys
//
// All keys of the lock with the prefix P lie under P/g/, P/h/ and P/w/. They
// belong to nothing else: no other lock's prefix may begin with one of them.
//
//	P/w/CLASS/KIND/ID   a place: a contender that waits. CLASS is the priority
//	                    as eight hex digits, 7fffffff less the priority, so that
//	                    a higher one sorts first. Within a class, who has the
//	                    lower create revision is first.
//	P/h/KIND/ID         a hold. Its mod revision is the token's revision.
//	P/g/KIND/ID         a guard: keeps out whom the hold ID keeps out, for its
//	                    lock delay. A semaphore's guards are its permits: they
//	                    have a number of six digits for ID, and every hold has one.
//
// KIND is "exclusive", "shared", or "limit-" and six digits. ID is the
// contender's, without slashes. The values are JSON: of a place and of a hold a
// Place, of a hold also when it was granted ("held"), its permit ("slot"), and
// hints of who is next ("next"); of a guard the key of its "hold", and the
// "delay" in nanoseconds.
//
// Places and holds may lie on no lease: of contenders that outlive processes.
// They are served and respected like all others. Who puts such a place sees its
// grant by a watch on the hold's key, and is done with it by deleting that, with
// its guard if it has one. If the lock falls free without an Unlock while such a
// place is first, who put it takes the lock by the transaction of I10.
//
// # Invariants
//
// I1. One owner. At every revision of etcd a key has at most one grant, and a
// mutex at most as many holds as its kind allows.
//
// I2. Tokens rise. A later grant of the same key or mutex has a higher token.
//
// I3. The session ends first. Its deadline is when the last good renewal was
// sent, plus the granted TTL, less the margin. Held is false and Lost is closed
// from then on, before the server can end the lease. A renewal whose answer
// comes after the deadline does not bring the session back.
//
// I4. Ownership is proven by a transaction that goes through raft: never by a
// read that tells what is so, and never by a transaction that can only read. A
// contender may learn from a watch, or a read, that such a transaction has
// granted it the lock: its hold's key is put by no other, so that is a fact of
// etcd's history, and I3 is what makes it safe to rely on it.
//
// I5. No ghosts. A write whose answer was lost either is found to be done and
// counts, or is undone and cannot happen later, even if the request is still
// on its way. To that end each write compares that its own mark does not
// exist, and to give a write up is to put its mark, or it compares the revision
// of a key that is then deleted; see Session.commit. Keys of contenders are
// used again, but not after a lost answer.
//
// I6. Only one's own. Releasing, unlocking and cleaning up compare the grant's
// revision: they never touch a newer grant. All are idempotent.
//
// I7. A hand-over is one transaction, of an ownership and of a hold. The key or
// lock is never without an owner, and if the successor's lease is gone nothing
// has changed. A key that is put again keeps its create revision, so the fence
// is its mod revision.
//
// I8. A higher priority first; among equals first come, first served, by the
// order in which etcd took the places. Whoever finds a lock free does not pass
// those of its priority or a higher one who wait. No herd: a waiter watches its
// own keys and one thing more, a place that is before its own, or the holds if
// there is none; one that can rely on being handed the lock watches that only
// after a moment, in case those before it die.
//
// I9. Nobody waits for a session that has ended: Lock returns ErrLost or
// ErrClosed at once.
//
// I10. What a kind allows is compared in the transaction that grants: for an
// exclusive hold, that there is no hold and no guard; for a shared one, that
// there is none that is not shared; for a permit, that its guard is free and
// that no hold is of another kind. And that nobody is ahead: no place of a
// higher class, and none of the own class that is older (for a shared hold: no
// exclusive place that is). Or it is the hand-over of I7, which compares the
// hold that ends, the place that it goes to, and that no higher class waits.
//
// I11. The holds of a session by reentrant mutexes of one prefix have one grant;
// it is released when the last of them is unlocked. Who holds exclusively may
// share; who shares and asks for more is refused, for it would wait for itself.
//
// I12. Preemption. A holder is told by its watch as soon as a waiter of a higher
// priority that preempts is kept out by it: Preempted is closed; a grace later
// the hold's context ends; another grace later the lock is freed. The waiter
// breaks the hold itself a second after that. Of a semaphore the weakest hold
// goes: the lowest priority, of those the youngest.
//
// I13. Lock delay. After a hold that asked for it has ended in any other way than
// by Unlock, its guard remains, and whoever finds it without its hold puts it on
// a lease of that length. So the delay is counted by etcd, and outlives whoever
// found it.
//
// I14. Maximum hold time. The hold's context ends when it is reached, and a grace
// later the lock is freed, if Unlock has not been called. A waiter breaks the
// hold a second after that, counted from when it first saw the hold.
//
// I15. Break deletes one hold, at one revision, in a transaction that also does
// what the caller asks, such as an audit record: both or neither.
//
// # Failures
//
//	what fails                           what happens
//	----------                           ------------
//	holder's process dies                the lease ends within its TTL (plus the server's half second)
//	holder is cut off from etcd          it stops at its deadline; the lease ends later (I3)
//	holder's process or host stands      others are granted the lock; the holder's Held is false at the next
//	  still (SIGSTOP, suspend)             look, and its writes fail the fence
//	holder is alive but stuck            its maximum hold time, if it has one (I14), a preempting waiter
//	                                       (I12), or an operator (I15) ends the hold
//	hold is lost uncleanly               others wait for its lock delay, if it has one (I13)
//	one etcd member is dead or slow      renewals are hedged over the others
//	etcd has no leader                   nobody is granted anything; leases are extended by the next leader
//	answer of a claim or entry is lost   resolved by a transaction, else undone in the background (I5)
//	answer of a release is lost          tried again, then in the background, until the lease has ended
//	answer of a hand-over is lost        resolved by a transaction; else the caller stops, and may Release.
//	                                       Of an unlock: as of a release; it may be handed over or freed
//	successor dies during a hand-over    ErrNoSuccessor and nothing changed, or the key ends with its lease;
//	                                       an unlock goes on to the next waiter
//	unlocker dies                        the first waiter sees the hold go with its lease, and takes the lock
//	a waiter dies                        its place goes with its lease; whoever is behind it sees that
//	waiter gives up                      its place is removed in the background
//	a watch fails, or is compacted       the waiter looks, by a transaction, and watches again
//	a lock changes hands before Break    BreakError, which says who holds it; nothing has changed
//	another limit is in use              ErrLimit; nothing has changed
//	etcd is restored from a backup       the epoch in the tokens must be raised, and sessions opened anew
//
// # Not promised
//
// That the former holder has stopped when a new one begins: a process that
// stood still does not know. Only fencing is safe there. The same is true of
// every hold that is taken from a holder that is at work: by Break, by a waiter
// that preempts, by the maximum hold time. A resource that cannot compare tokens
// is as safe as the clocks' rates and the margin are; a grace and a lock delay
// make it more likely that the former holder has stopped, and prove nothing.
//
// That a lost lock is free again sooner than the TTL, or as soon: a new etcd
// leader gives every lease its full TTL again, and an election on top.
//
// That a hold that lasts a moment only is told of a preemption or break: holds
// are watched from a tenth of a second on.
//
// That marks vanish before the session ends: each write that was given up
// leaves one small key on the session's lease.
//
// That a place with an ID of the caller's is gone for good if Abandon is called
// while a Lock with that ID goes on somewhere, or has just ended with an answer
// lost: Abandon it again.
//
// # Tests
//
// The tests let leases run out, which etcd counts in whole seconds, and check many
// histories for linearizability, once for each mutant: a minute.
package lock
