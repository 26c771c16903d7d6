// Package lockexec runs a command that may run only while a lock is held.
//
// Two processes do that. The keeper (`carillon lock`) holds the lock; the shim,
// the same program started by it, is the parent of the command. The keeper tells
// the shim over a pipe how long the lock may be relied on. The shim ends the
// command with all its descendants, in time before the lock can be granted to
// anybody else, when
//
//   - the keeper says so (the lock was broken, preempted, or held for too long);
//   - the keeper is dead, by whatever: the kernel closes the pipe;
//   - the keeper stands still (SIGSTOP) or cannot renew: the deadline comes near.
//
// # Invariants
//
//	X1  No process of the command's tree is alive at the deadline that the
//	    keeper told last, if the shim runs: SIGTERM is sent a grace before it,
//	    SIGKILL at the latest right at it.
//	X2  The tree is all that descends from the shim, which adopts orphans (child
//	    subreaper): new sessions and double forks do not escape.
//	X3  When the command has ended, what it left running is ended too, before
//	    the shim ends; only then is the lock given back.
//	X4  Once the tree is being ended, no later deadline saves it.
//	X5  Of the open files the command gets its standard input, output and error
//	    only, as commands on minions do: what else whoever called had open, by
//	    accident or for a purpose of its own, does not reach it. Who wants to
//	    pass a file on, as for a lock by flock, opens it in the command.
//
// The clock is CLOCK_BOOTTIME, which both processes share and which goes on in
// suspend.
//
// # Not promised
//
// Anything when the shim itself is killed or stopped, or the whole machine
// stands still: then only the fencing token helps (CARILLON_LOCK_TOKEN).
package lockexec
