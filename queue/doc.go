// Package queue keeps typed task queues in etcd, for work that any one worker
// of a type may do.
//
// # Protocol
//
// A queue is named by namespace and type. An item is a persistent key. A claim
// is a second key, the marker, on the worker's lease; while it exists the item
// is that worker's. One dispatcher per queue, which holds a fenced lock, hands
// items out; everybody may put items, and the worker settles its claim itself.
//
//	Put ──> waiting ──Claim──> claimed ──Done──> gone
//	          ^                 │ │
//	          │  Fail, or the   │ │ the same, after the last attempt
//	          └─ marker is gone ┘ └──────────> dead ──Redrive──> waiting
//
//	Q1  An item stays until Done, and a dead letter until Redrive: each move is
//	    one transaction, and no other write deletes an item.
//	Q2  An item has at most one marker: a claim compares that there is none.
//	Q3  Done, Fail and Extend compare the create revision of the marker and, if
//	    they end the claim, the mod revision of the item. A worker that has
//	    lost its claim gets ErrLost, and changes nothing.
//	Q4  Every write of a dispatcher compares its fence. One that has lost the
//	    lock hands out nothing, and ends with ErrFenced.
//	Q5  Of the items that may be claimed, as the dispatcher knows them, the one
//	    with the highest priority goes first, then the one that was put first.
//	    An item whose worker was lost keeps its place, so it is the next one.
//	    With aging, an item is as good as one that was put so much later for each
//	    priority that it has less.
//	Q6  A claim counts as an attempt in the transaction that makes it. After the
//	    last attempt the item becomes a dead letter, and is not handed out again.
//	Q7  All of this is in etcd. A dispatcher that starts anew reads it and goes
//	    on; what workers do meanwhile is not disturbed.
//	Q8  An ID is in the queue once, whatever the priority, dead letters included: in
//	    the transaction that adds an item, Put compares that its ID is nowhere, and
//	    leaves an item alone that is there. So it can be repeated after a lost answer.
//	Q9  Of the items that have the same key, at most one is claimed at a time. Those
//	    that wait for it keep their order, and others pass them.
//	Q10 Within the window of a de-duplication key at most one item is put with it,
//	    whatever has become of that one since.
//	Q11 An item that has not been claimed by the time at which it expires becomes a
//	    dead letter. An order to end a claimed item outlives its claim: once nobody
//	    has the item it is gone.
//	Q12 An item that does the occurrence of a job, or the task of a plan, has a key that outlives it. How the
//	    item ended is written there in the transaction that ends it, whoever ends it; a
//	    dead letter has ended, and is no job's occurrence any more when it is redriven.
//
//	Q13 A checkpoint is written while the claim lasts, in a transaction that compares it, and
//	    goes to the item in the transaction that ends the claim. It is lost with a claim
//	    that ends by its lease or deadline, and kept with a dead letter.
//	Q14 What was snoozed, or interrupted, is tried again whatever the number of attempts.
//
//	failure                          what happens
//	a worker dies                    its lease ends, with it its markers; the
//	                                 items are first in line again
//	a worker hangs, its lease lives  the visibility deadline passes, and the
//	                                 dispatcher takes the marker away
//	a worker comes back too late     its Done is refused (Q3)
//	the dispatcher dies              its lock passes on, and the next one reads
//	                                 items and markers (Q7); deadlines start anew
//	the answer to a claim is lost    the dispatcher takes the marker away when it
//	                                 sees it; that attempt counts
//	the answer to a Done is lost     the worker calls again; ErrLost then means
//	                                 that it was done, or was lost before
//	etcd cannot write                nothing is handed out, nothing is lost
//
// # Not promised
//
// That an item is worked on only once: a worker that hangs may go on while
// another one has the item. Whatever must not happen twice uses Claimed.Token,
// which rises with every claim of an item. Neither is it promised that items
// end in the order in which they began.
//
// # Sizes
//
// The dispatcher keeps all items in memory, so payloads are best references.
// One worker's lease should not carry more than about 1000 markers.
//
// # Who uses it
//
// Package internal/queues dispatches the queues of a cluster by it: its workers are
// minions, which have no leases, so it ends the claims of those that are lost itself
// (Settle with Lost). Programs that have etcd may use it as they use package lock.
//
// # Tests
//
// The model tests make thousands of histories against a real etcd: twenty seconds.
package queue
