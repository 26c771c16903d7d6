// Package sim runs whole scheduler nodes against an etcd in memory, on a virtual
// clock, and disturbs them: nodes crash and come back, stand still, lose their
// way to etcd in one direction or both, get answers late, lost or ambiguous,
// have their clocks stepped by hours, and jobs are edited and started by hand meanwhile.
// An oracle then holds what ran and what is recorded against the schedules:
//
//	S1  every occurrence has a record, and one that did not run says why
//	S2  no attempt of a task is started twice, and a fire whose attempt may have
//	    run is not tried under another name
//	S3  nothing is started under a token older than one that its minion has seen
//	S4  nothing is ordered before its instant and its part of the jitter, by the true
//	    time: most clocks are right, also as nodes have compared them last
//	S5  what is recorded as run did run, and the other way round; what ended as
//	    indeterminate is recorded as its minion says later
//	S6  in the end nothing is left over: no slot, no trigger, no note
//	S7  in an ordered group, of each mode, no two runs are under way at a time, and they
//	    start in the order of their instants
//	S8  what was edited or disabled is committed by the schedule that held, up to the
//	    instant that whoever edits is told; nothing is lost between two schedules (S1)
//
// A run is told by its seed, which decides on jobs, disturbances and faults of
// the way to etcd. Goroutines are scheduled by the runtime, and nodes choose minions
// by a hash of their own, so that a seed gives the same story, and mostly, but not for
// certain, the same interleaving. What fails rarely is to be found by what is said of
// it: of a fire that breaks S7 all is printed that was said of it, and when.
//
//	make sim                                         many seeds
//	go test ./test/sim -sim.seed 17 -sim.hours 2 -v  one seed again
//
// A minion starts most of what it accepts at once, and lets some wait for up to six
// seconds, while its owner's lease may end or another come: it gives that back then.
// What is said to minions and by them takes up to four seconds, and comes in any order,
// as it may where a report waits for a node that is reachable, or a minion goes from
// one node to another.
//
// That these tests can fail was tried by hand: with commits that compare no
// fence, with missed occurrences that get no record, and with fires that are
// closed before their record is written, four seeds of an hour fail each time. With a
// gate that has no order each seed fails; with overtaken word that is believed, one
// of fifteen. A goroutine of the product that looks again and again without a pause stops the
// virtual clock: the test hangs, and go prints where.
//
// # Tests
//
// Each seed is a cluster for thousands of steps, checked after each: half a minute.
package sim
