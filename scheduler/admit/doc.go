// Package admit says whether a task may start now, and if not, what it waits for. It
// is asked when the start of a task has come, by the one goroutine of its shard's owner.
//
// Four things may be in its way, and they are asked in this order:
//
//	Rollout  its run goes in batches, canaries first, so many per label at a time
//	Gate     its group is ordered, or bounded (maxConcurrent): others are before it
//	lock     its group has a mutex, which each of its runs holds (lock.go)
//	permits  so many tasks may be under way in the whole cluster where the value of a
//	         label is the same (clusterMaxPer, permits.go)
//
// Whoever is told No asks again: at an instant, or when somebody who was in
// the way has ended. So nobody asks in a loop, and who waits costs nothing.
//
// How a run stands at the gate is one value, and what it has of the lock another:
//
//	nowhere --committed--> in line --its start has come--> before --a place is free--> inside
//	   ^                     |  ^                                                       | |
//	   |                     |  +------ its minions have not started it, after all -----+ |
//	   +---------------------+--------------------- recorded ------------------------------+
//
//	nothing --asks--> asking --got--> holding --ended--> nothing
//
// In it: these four, the leases and keys in etcd that the lock and the permits lie in,
// and what is left there by earlier owners. Invariants I12, I15 and I18 of package
// scheduler are held here.
//
// Not in it: when a task's start comes, which is the shard's; what its overlap policy
// says (scheduler/plan); the order and the canaries of a rollout, which are chosen with
// its minions; and how an order is sent.
package admit
