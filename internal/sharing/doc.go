// Package sharing keeps what the tasks of a run, or of all runs of a job, share: entries,
// counters, barriers. It is the side of the node that owns the run's shard.
//
//	task --socket--> minion --stream--> its node --link--> owner's node: Service.Do --> etcd
//
// A scope (a run, or a job) is one value in etcd. Whatever is asked of a scope at the same
// time is done in one round: the value is read, the requests are done to it one after the
// other, and it is written once, if it has changed. Nothing is remembered between rounds, so
// a new owner has nothing to learn.
//
// # States of a barrier
//
//	(none) --a task arrives--> waiting --all are here---------> open
//	   ^                         |     --they never can be---> broken
//	   +---nobody waits any more-+
//
// Who waits is known in memory only: each waiter asks again every PollMost, or sooner, and
// so tells a new owner that it is here. That a barrier is open or broken is stored before
// anybody is told, and stays for as long as the run is open.
//
// # Invariants
//
//	H1  Only a task of an open run is answered: its minion is the one at the other end of
//	    the session (package agentpush), and the owner of the shard knows the attempt as one
//	    that a minion may have. Another's run cannot be named: the scope follows from the task.
//	H2  What is written compares the shard's owner, by its token, and the value as it was
//	    read; what is written for a job, that the job is there. An owner that was replaced
//	    writes nothing.
//	H3  A write is done at most once. One that cannot be known to be done or not is told as
//	    unsure, and not repeated.
//	H4  An answer other than unavailable or unsure tells what is durable.
//	H5  A barrier that has let one task pass lets all pass, for ever; one that is broken
//	    lets none pass. It opens only when so many tasks of the run as it waits for were here,
//	    none of which had ended.
//	H6  A scope has at most shared.MaxKeys keys and shared.MaxBytes bytes, and a run
//	    shared.MaxBarriers barriers. A key is data, and no part of a key of etcd. Nothing
//	    is written while etcd's space is nearly used up.
//	H7  A task is answered at most Rate requests a second, after a burst; a scope is written
//	    at most once each WriteEvery; a node does at most Rounds rounds at once. What is
//	    beyond waits, and is refused after a while.
//	H8  What a run has is removed once its record is written, and what a job has in the
//	    transaction that deletes it.
//
// # Failures
//
//	etcd is nearly full               nothing is written, as no new job is stored; reading,
//	                                  deleting and waiting go on
//	a task dies                       its attempt ends: if it was the last one, barriers that
//	                                  wait for all break, within JudgeEvery; those for a number
//	                                  once too few are left. An attempt that follows comes anew
//	a waiter is killed, its task not  it counts as here until its last question is over, and
//	                                  ForgetAfter: PollMost and ForgetAfter at most
//	the owner dies                    waiters ask the next one; see the states above
//	a node or link on the way dies    reads, watches and barriers are asked again by the
//	                                  minion; writes: H3
//	an answer of etcd is lost         the value tells which write made it; if that cannot be
//	                                  read either: H3
//	etcd cannot be reached            unavailable, and nothing is done
//	the job is deleted                its open runs keep what is theirs; what is the job's is
//	                                  gone, and is refused
//	the job moves to another group    the same, for runs that are open meanwhile
//	a run ends amid a write           the write may come after the removal; what it left is
//	                                  found by SweepEvery
//
// # Not promised
//
// Fairness between tasks. That a watch tells of each version: it tells of the newest. That
// items of queues share anything. Speed: a write costs a write of etcd, of up to MaxBytes.
package sharing
