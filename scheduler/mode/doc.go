// Package mode holds the policies by which a group's lock is passed on. It is
// pure: no I/O, no clock of its own.
//
// The mode says who ought to hold the lock and who fires which instant; etcd
// decides who holds it. Nodes that see different things for a moment may want
// different holders: that costs a hand-over too many, never a double fire.
//
// A mode is a value of Mode, in a file of its own, and has its line in All.
//
// # Invariants
//
//	M1  Nobody holds a lock by a mode's verdict who is not eligible and alive.
//	M2  With the same nodes and no due turn, the verdict stays the same: locks
//	    do not wander.
//	M3  failover never takes the lock from a live owner; failback does so only
//	    when the better node has been healthy for the hold-off, which doubles
//	    with each flap.
//	M4  In a ring of n nodes that all fire when it is their turn, the turns of
//	    any two differ by at most one.
//	M5  timeslice: who fires an instant depends on the scheduled instant and
//	    the ring alone, not on when it is looked at.
//	M6  Only roundrobin-preempt takes a lock from a live node that does not
//	    pass it on itself, and only when its turn is overdue by the grace.
//	M7  parallel: a node has one share of an occurrence, and each value of the
//	    spread label has one.
//
// # Tests
//
// The tests check models of all modes with thousands of histories: half a minute.
package mode
