// Package clock tells the time by the clock of most: a node compares its wall
// clock with those of its peers and of its minions, and goes by what more than
// half of them say. It does no I/O: whoever asks the others hands in what they
// said.
//
// # How clocks are compared
//
// A clock is known by its origin: what it shows, less what this machine's
// monotonic clock shows at that moment. The monotonic clock never steps and goes
// on in suspend (package boottime), so the origin of a clock that runs well stays
// what it is, and a step of it is a change of its origin by as much. A round trip
// gives the origin of another's clock: it was read in between, so half of the
// round trip is how far that may be off (Trip). Of the latest round trips the
// shortest counts, aged by how far two clocks may drift apart (Path).
//
// # The clock of most
//
// An instant has come when more than half of the clocks that are asked say so.
// The origin by which that is so is the lower median: of three the middle one, of
// two the one behind. Who is asked:
//
//	two other nodes or more      the nodes
//	fewer, but two others in all the nodes and the minions
//	one other node alone         both nodes
//	one minion alone, or nobody  nobody: of two clocks none is that of most; by
//	                             how much the minion's differs is told
//
// A node's own clock counts among them. As long as it is within the error of the
// comparison, it is what the node goes by; else it is corrected as far as is known.
//
//	C1  The time never runs ahead of the clock of most, as that was measured last,
//	    by more than twice the measurement's error and 10 ms.
//	C2  A step of the node's own clock moves its time only when it has been judged:
//	    between two judgements time goes by the monotonic clock.
//	C3  A clock that is off by more than Bound is wrong, until it is within half of
//	    that. What it says of itself then depends on nobody's good will: of an even
//	    number that splits, those ahead are wrong, so nothing starts early by the
//	    clock of either half.
//	C4  A clock that has stepped by more than Bound is in doubt. In its place its
//	    continuation by the monotonic clock is compared with the others: it was
//	    right if they agree with that, and the step set it right if they agree with
//	    it now. When they agree with neither, and when there is nobody else, a step
//	    that stands for longer than Settle is believed.
//	C5  A clock that is in doubt is no witness: it is not counted by others.
//	C6  When nobody is left to compare with, the time goes on as it was: what the
//	    others said last holds for Settle, and for longer than that of a clock that
//	    is wrong by it, until it is set right, or the node starts anew.
//
// # What may fail
//
//	one of three clocks or more is wrong   its node knows; the others go on
//	most clocks are wrong alike            nobody can know: they are the clock of most
//	two nodes differ, no minion            the one ahead is wrong, the one behind goes on,
//	                                       but for a step, which C4 settles
//	a node starts with a wrong clock,      nobody can know; at its first step the clock
//	and there is nobody to ask             is in doubt for as long as Settle
//	peers do not answer                    what they said last counts, for as long as
//	                                       drift leaves it worth something
//	all peers leave at once                C6
//	the machine is suspended               time goes on meanwhile; told by Look
//	minions lie                            they have a say only beside fewer than two
//	                                       other nodes, and shift the time by no more
//	                                       than Bound: beyond it they stop the node
//
// # Not promised
//
// That a clock that creeps away by less than Bound at a time is noticed where there
// is nobody to compare it with.
package clock
