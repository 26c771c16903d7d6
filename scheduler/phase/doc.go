// Package phase is how far a fire, and each task of its run, has come, as its owner
// knows: one value for each, and a table of which may follow on which.
//
// # A fire
//
//	                 +--- its minions have it not, after all ---+
//	                 v                                          |
//	new ----------> Due --------- its start has come -------> Started ---is to end---> Ending
//	 |               |\                                         ^                        |
//	 |               | \--- something of its job runs --> HeldBack (promoted)   its minions have it not
//	 |               |                                                                   |
//	 |               +--------------------- is to end ------------------> Dropped <------+
//	 |
//	 +--> Skipped, Missed: it leaves a record, and never runs
//	 |
//	 +--> Orphaned: as Due, HeldBack, Skipped or Missed was stored, once that is told
//
//	each of them ---> Ended
//
//	Due       it is to be run, and does not count as running: its start has not come,
//	          or what runs of its job has not been looked at
//	HeldBack  the overlap policy holds it back
//	Started   it runs, or may run, for the overlap policy: its start has come, and
//	          nothing was in its way
//	Ending    it ran, and is being ended: nothing of it is started any more
//	Dropped   it is being ended, and does not count as running
//	Skipped   it is not run, because of a policy; the record of that is on its way
//	Missed    it is not run, because it is too late; the record is on its way
//	Orphaned  nothing is known of its job, and it is being asked whether it is recorded
//	Ended     its record is on its way to history, or there is nothing to record
//
// A fire is Due or Started whether its orders are sent or not: that is what its tasks
// say. Whether it stands before the gate of its group, or waits for the group's lock,
// is another question.
//
// # A task
//
//	              +----------------------------------------------------------+
//	              |  given back, or never came: it is ordered again          |
//	              v                                                          |
//	new ---> Waiting ---dispatch---> Sent ---has it---> Held ---started---> Running
//	  \           ^                    |                 ^ |                 ^ | |
//	   \          | never accepted     |                 | |                 | | |
//	    \         |                    |   has it        | | given back      | | |
//	taken over -> Unknown <--------------------------------+----under an-------+ |
//	              |  |  \_____________ has it, or has started it ______________/ |
//	              |  |                                       earlier owner's     |
//	              |  +--- never accepted, and ordered anew meanwhile ---> Sent   |
//	              v                                                              v
//	            Ended <----------------- from each of them ----------------------+
//
//	Waiting   nobody has sent its order, or its minion has it no more
//	Sent      this owner has sent an order of it, and has heard nothing since
//	Unknown   an earlier owner may have ordered it: its minion is being asked
//	Held      its minion has it, by its word, and has not started it
//	Running   its minion has started it, by its word
//	Ended     it has its final report
//
// Any word of a minion may come at any time, also of a task that this owner takes for
// waiting: a copy of an earlier order has it then. What never happens: a task that has
// ended goes on; one that has started has not; and one whose order was sent becomes one
// of which an earlier owner may know.
//
// In it: the phases of fires and of tasks, and their tables. Not in it: what makes one
// change its phase, and what is done then, which is the shard's; the state that a run is
// recorded with (job.State); and what a fire waits for before it may start.
//
// The package is pure.
package phase
