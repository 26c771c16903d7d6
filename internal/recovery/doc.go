// Package recovery lets a cluster go on that was restored from a backup: it finds out what
// has run since the backup was taken, so that it does not run again.
//
// The cluster is held meanwhile: no node takes a shard (package epoch). Minions remember
// what they have run, in their journals, for 48 h by default. Each is asked for every fire
// that was due, or has ended, after the oldest cursor of the backup.
//
// # What becomes of an occurrence after the cursor of its shard
//
//	a minion knows it, ended or under way     an open slot names it with its minions: the
//	                                          owner asks them, as after any loss of an owner,
//	                                          and records what they say
//	a minion knows it, ended, and other jobs  recorded as the minion remembers it: in a slot its
//	wait for its end; or a share of a node    end would be told to those jobs once more
//	a minion knows it, by hand or by another  the same if it has started; else it is listed,
//	trigger                                   and is not started
//	nobody knows it, and a minion that may    recorded as indeterminate, and not run again
//	have run it does not answer, or has lost
//	its journal, or has an old copy of it
//	nobody knows it, and all such have        it has not run: the owner comes to it when the
//	answered, or it was due after LostAt      shards are released, and the misfire policy decides
//	its job is not in the backup              the job is listed as lost
//
// The shard's state says up to where this was so (ShardState.Ahead): the owner plans from
// the cursor of the backup, and passes over what a slot or a record says has run.
//
// # Invariants
//
//	R1  Nothing is written unless the hold is as it was read: one recovery wins.
//	R2  The hold goes last, when all else is durable. A recovery that was broken off is begun
//	    again: what it has written counts as known.
//	R3  An occurrence that a minion may have run is not run again. With silent minions
//	    nothing is done unless that is accepted.
//
// # Not promised
//
// Items of queues, and occurrences that queues do, are as they were at the backup. A job that
// waits for another's end does not start for an end that came after the backup, unless the
// run went on over the restore.
//
// What only a minion knew whose data is lost too: it is indeterminate, unless the minion was
// not in the backup either. What is older than the journals keep.
package recovery
