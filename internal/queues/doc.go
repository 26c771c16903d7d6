// Package queues has minions do the items of queues.
//
//	item in etcd --claim--> marker in etcd --order--> hub --> minion --report--> settled
//
// Each queue belongs to the shard that its name hashes to, and the node that holds the
// shard's lock is its dispatcher: so dispatchers are fenced and spread over the nodes as
// jobs are, and reports find them as they find the owners of jobs. What is queued, and
// who has what, is in etcd (package queue); what minions have started is in their
// journals; nothing else has to be remembered.
//
// A minion offers to work on queues by a fact (job.FactQueues); the target of the queue
// says whether it may. Each of its places is worth one item at a time.
//
// # Invariants
//
//	D1  An item is ordered only while its marker names the minion, under the token of the
//	    shard's lock. The id of the task is the item's first claim and the attempt, so a
//	    second order of one attempt starts nothing: orders are repeated until they are
//	    answered, and by each new dispatcher.
//	D2  A claim is settled by a transaction that compares marker, item and the
//	    dispatcher's fence. What a worker says of an attempt that is not the item's
//	    present claim changes nothing: it is told to end it, or to forget it.
//	D3  A result is in history before its item leaves the queue, and a minion is told to
//	    forget it only after that. A later attempt replaces it there, as its token is
//	    higher.
//	D4  An item whose minion is connected to no node for longer than lostAfter, or was
//	    revoked, goes back, as the first in line.
//	D5  A queue that is paused hands nothing out. What was handed out goes on.
//	D6  Nothing is started that is beyond the bounds of who applied the queue, or of who put
//	    the item or put it back: each order is looked at before it is sent. What it starts
//	    may not be started: the item is a dead letter, with the reason. The minion may not
//	    have it: the item goes back to the line, as after any attempt. Roles that have
//	    become narrower since count as they are now.
//	D7  An occurrence of a job is put into its queue at most once: the transaction that
//	    puts it writes a key for it and compares that there was none, and that the order
//	    is of the present owner of the job's shard. The key is there until the run has been
//	    in history for rememberFor, so that whoever owns the shard by then finds it.
//	D8  The end of an item is under that key since the transaction that ended it (queue,
//	    Q12), and is told to the owner of the job's shard until its run is in history.
//
//	failure                         what happens
//	a minion dies                   its shim and its journal tell of the item when it is
//	                                back; else D4
//	a minion is back too late       D2
//	a minion has lost its journal   it says that it does not know the item, and gets it
//	                                again
//	the dispatcher dies             the shard's next owner reads items and markers, and
//	                                orders again what is in hand
//	the answer of etcd is lost      the claim shows up in the view, and is ordered or
//	                                taken back
//	history cannot be written       items stay claimed until it can
//	the owner of a job dies         the shard's next owner asks for the occurrence, and
//	                                orders it if it has no key (D7)
//	the queue is gone, draining,    the run ends as rejected, with the reason
//	  full, or refuses the payload
//
// # Not promised
//
// That an item is done once: see package queue. That the order by priority and put holds
// for items that are tried again after a failure.
//
// In it: Dispatch, which a node has one of; a runner for each queue whose dispatcher is
// here; Fires, by which the scheduler sends occurrences of jobs to queues as it sends others to
// minions. Not in it: what people ask for (internal/control/queues).
package queues
