// Package phase is how far a task of a run has come, as its owner knows: one value,
// and a table of which may follow on which.
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
// In it: the phases of a task and their table. Not in it: what makes a task change its
// phase, and what is done then, which is the shard's; the state that a run is recorded
// with (job.State); and whether a fire as a whole waits for a lock, a line or a minion.
//
// The package is pure.
package phase
