// Package plans has the tasks of plans done by queues.
//
//	plan --accepted--> chunks in etcd --owner--> items of queues --ends told--> states of tasks
//
// A plan belongs to the shard that its name hashes to. The node that holds the shard's lock is
// its owner: it puts tasks into their queues once nothing keeps them, and writes down what
// becomes of them. All of it is in etcd; an owner that begins anew reads it and goes on.
//
// The keys of a plan: plans/NS/UPSTREAM/ID is its description, which makes it one. Under
// plandata/UID/ are its tasks in chunks (c/), which never change, the states of the tasks of
// each chunk (s/), the counts (status), and for each task that is in a queue what is known of
// its item (x/). What the upstream is to be told is there, too (e/). planstaging/UID says that chunks are not a plan yet, or no more.
//
// # States of a task
//
//	pending --> queued --> running --> succeeded | failed | expired | cancelled
//	   `--> skipped | expired | cancelled | failed           (package plan has the table)
//	pending, queued --> replaced, by an amendment of the plan
//
// # Invariants
//
//	P1  A plan is accepted whole or not at all: its description is written by one transaction,
//	    which compares that there is none, and that its chunks were not given up meanwhile.
//	P2  The same plan again, by namespace, upstream, id and digest, is recognised and changes
//	    nothing. Another content under the same id is refused.
//	P3  A task is put into its queue at most once: the transaction that puts it, and no other,
//	    writes the key of its item and compares that there was none, and that the owner, the description of
//	    the plan and the queue are those that were read. The key is there until the end of the
//	    task is in its state.
//	P4  How an item ends is under its key since the transaction that ended it (queue, Q12). The
//	    owner writes the state and removes the key in one transaction, under its fence: an end
//	    counts once.
//	P5  A state goes to another one only by the table, and never from an end.
//	P6  A task is put only when all tasks that it waits for have succeeded, and not before its
//	    time. One whose predecessor ended otherwise is skipped; one that is pending at its
//	    deadline has expired.
//	P7  From when an order to cancel is accepted, no task that it names is put into a queue.
//	P8  What lies under plandata/ has a description, of a plan or of its amendment, or a key under
//	    planstaging/, by which it is removed.
//	P9  An amendment, which is a new version of the plan, is taken over whole: nothing is put
//	    from when it was accepted until then. Tasks that it leaves as they are, and those that
//	    a worker has begun with, stay; of others that it changes the old ones are Replaced,
//	    and then the new ones are added; those that it leaves out are cancelled. The numbers of
//	    tasks stay, and so do the ids of their items.
//
//	C1  The upstream is told of each change of a task's state, in the order in which they were
//	    written down, by one call after the other. Changes are numbered from 1 without a gap.
//	C2  A change is written down to be told in the transaction that writes the state, and is
//	    removed only when the upstream has taken the call, or did not for tellExpires. A call
//	    that is repeated has the same id.
//
//	failure                         what happens
//	the upstream does not answer    it is called again, after pauses that grow to an hour; its
//	                                tasks go on
//	the answer of a call is lost    it is called again with the same id
//	the owner dies                  the shard's next owner reads chunks, states and items; P3
//	                                keeps it from putting a task twice
//	a put's answer is lost          the key of its item shows whether it was put
//	somebody else's item has        the task fails; those that were to be put with it are put
//	  the id of a task's              one by one
//	the queue is draining or full   its tasks wait, and the plan says why
//	the queue is gone, or refuses   the task fails, with the reason
//	  the parameters by now
//	a worker or dispatcher dies     see packages queue and internal/queues
//	the sender dies while sending   nothing was accepted; its chunks are swept
//	etcd cannot write               nothing is put or written down; it is tried again
//
// # Not promised
//
// That tasks without dependencies run in the order of the plan: queues order by priority, and
// what is put first is what waited longest among those of the same priority. That a task is
// done once: see package queue.
//
// # Sizes
//
// The owner keeps some fifty bytes and the id of each task of a plan that has not ended, and
// has at most window tasks of a type in queues at once.
package plans
