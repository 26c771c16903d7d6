// Package worker is the minion: it takes orders from a node, starts commands
// and reports what became of them. It never reaches etcd.
//
//	node --Offer--> minion --journal--> Taken --> shim --> command
//	node <--Reports-- minion <--journal-- exit record <-- shim
//	node --Ack--> minion forgets
//
// Three parts keep a promise each. The journal (journal.go, package wal) keeps
// what was accepted. The shim (package shim) keeps the commands, and how they
// ended, in a process that outlives the minion. The session (session.go) tells
// a node, again and again, until it acknowledges.
//
// There is one shim per data directory, not one per command: the start of a Go
// process costs about 10 ms of processor time, which hundreds of commands per
// second on a small host could not pay.
//
// # States of a task on its minion
//
//	accepted --> intent --> handed --> running --> ended --> acked --> past
//
// What a Go handler runs goes from intent to running without a shim: its intent
// names this process, and a later process records it as indeterminate.
//
//	    |           |                                ^
//	    +-----------+--- cancelled, expired ---------+
//	(unknown) -- cancelled, expired, other attempt open --> ended
//	accepted, intent, handed and not started -- too late for its lease --> (unknown)
//
// accepted: durable, and Taken may be sent. intent: it is durable that it is
// handed to the shim next, and to which instance of it. handed, running: the
// shim has been told, has started it. ended: the final report is durable; it
// is sent, and sent again every five seconds and on every new session, until
// a node acknowledges it. past: state and exit code are remembered for
// Config.JournalKeep, so that a late copy of the order starts nothing.
//
// A task whose script is named by its hash, and not here, stays in intent until the
// text has come; the node is asked for it once for all such tasks, and again every
// five seconds and on every new session. The steps of a task run under a runner,
// which is the shim's command; see package steps.
//
// # Invariants
//
//	I1. A task (one attempt of a fire) is never started twice, whatever dies.
//	I2. Accepted is durable before Taken is sent.
//	I3. The highest token seen for a shard is durable before what came with it
//	    is answered; orders with a lower one are refused, after a restart too.
//	I4. A final report is durable before it is sent, and until it is acknowledged.
//	I5. The shim forgets an exit record only after the final report is durable.
//	    So a task that was handed to a shim that is still the same instance and
//	    does not know it was never started; nor was one that is not among the
//	    starts that a shim has noted which has died since this host was started.
//	I6. Indeterminate is never guessed: it is said when the command may have
//	    been started and nothing tells how it ended, and only then.
//	I7. Two attempts of one fire are never open at the same time.
//	I8. An order is not started after its NotAfter, unless it was accepted
//	    before and the same process waited for a place. The time is the node's,
//	    carried on by the monotonic clock.
//	I9. An order is not started after its HoldUntil, nor once a higher token was
//	    seen for its shard. It is looked at when it comes, when its turn comes,
//	    and last by the shim, which takes the start time right before it forks.
//	    What is not started for that is given back: it is durable that it will
//	    not be, and the node is told. It may be ordered again, as one that was
//	    never here. The time is this host's monotonic clock; what a process
//	    finds that an earlier one accepted has passed, for the boot may be another.
//	I10. What a task runs of a script has the hash that its order names, and is the
//	    task's own copy: nobody but the minion can change it.
//	I11. What a task starts is held against the minion's own list at its start
//	    (package allow), and has no open files but its input and output.
//	I12. An order of a schedule is not accepted more than 5 s before its instant, by
//	    this host's clock and by its node's: it is given back, and comes again.
//	I13. A task whose shim has died is open until what is left of it has been
//	    looked for and has ended (orphans.go), or its time-out has passed. What was
//	    found, and what cannot be known, is in its reason.
//	I14. What is started by an order has the signature of a node (Deps.Signatures,
//	    package agentpush/signature), in each process after the first that has seen one,
//	    and on a new data directory from the start; so has what ends a task, or asks
//	    about one. What is refused for it is known to nobody: no journal has it, and
//	    its token fences nothing.
//	I15. Nothing is started by an order of an older epoch than the minion has seen, nor by
//	    one of another cluster (seen.go, package internal/epoch).
//
//	I16. What may have been accepted and is not in the journal, since its data directory was
//	    lost or is an older copy, is indeterminate to whoever asks, and never unknown
//	    (memory.go), for as long as journals remember. A copy is noticed when the minion
//	    starts on it. Instants of backfills are old by nature: of these, a new directory
//	    says unknown.
//
// # Parts
//
// Minion is what a program calls. It makes the parts and does nothing itself:
//
//	tasks        what the minion knows of its tasks, under one mutex: journal and task
//	             table, places and the lines before them, outbox, awaited texts
//	admission    decides about an offer
//	signing      whether orders may be believed
//	execution    gives tasks places, and hands them to the shim or to handlers
//	commands     makes what the shim runs of an order
//	handlers     tasks that Go handlers run
//	supervision  the connection to the shim, and its news
//	orphans      what is left of tasks whose shim has died
//	reporting    makes last reports durable, until they are acknowledged
//	connection   the session with a node
//	facts        what the minion tells of its host
//	tests        self-tests
//	upkeep       what is done now and then
//
// What is done to one task costs the same however many wait, are open or are
// remembered (waiting_bench_test.go). Not here: how commands are started and watched
// (package shim), records on disk (package wal), control groups (package cgroup), what
// may be started (package allow).
//
// # Waiting beyond a lease
//
// A task that waits for a place may wait for longer than its owner's lease has
// to go. When its turn comes it is given back, its place is kept free for it, and
// the owner, if it is one still, sends it again at once, with the end of the lease
// as it is then. No more are given back than there are free places, so that the
// cost of a start does not grow with what waits. A question from an owner with a
// higher token takes whatever waits and is asked about, at once; one from the owner
// that has sent it takes nothing.
//
// That a task was given back is said once, and again to whoever asks, for ten minutes
// and of the last 50,000, also after a restart.
//
// # Self-update
//
// What a node tells of releases is passed on (Deps.Update); see internal/app/minion.
// A minion that is to be replaced retires: from a moment on at which no task is
// between accepted and started it takes nothing more. A self-test runs a command
// through the shim that is no task: journal, records and output know nothing of it.
//
// # Failures
//
//	minion dies                              what happens
//	before the order is durable              unknown to the minion; the node asks or offers again
//	accepted, Taken not sent                 as the next line; the node's copy is known and starts nothing
//	accepted, no intent                      certainly not started: waits for a Welcome, then is given back
//	                                         (I9); without a HoldUntil it starts, or ends as expired when
//	                                         NotAfter has passed
//	intent, not handed to the shim           the same shim says it does not know it, or the notes of the one that
//	                                         has died: as above
//	handed, running                          the command goes on; the next minion attaches and carries on
//	ended in the shim, not in the journal    the shim tells again
//	ended, not sent or not acknowledged      sent again
//	acknowledged, not journaled              sent once more; nodes drop what they have
//
//	shim dies                                the kernel kills its direct children, and the minion what they
//	                                         have left: by its control group, else by sessions and the marks
//	                                         in environments (I13). Tasks with an exit record are settled
//	                                         from it, those that it had not begun with start under the new
//	                                         shim, which is started at once; the others are indeterminate
//	what is left of a task cannot be killed  it stays open, as running, up to its time-out; then its processes
//	                                         are in the reason
//	minion and shim die                      as shim dies, when the next minion starts
//	host restarts                            what was handed to a shim is indeterminate; accepted tasks without
//	                                         an intent still start
//	torn journal                             the tail is cut: it was not durable, so nothing was promised
//	data directory lost, or an old copy      what was due before is told as indeterminate (I16)
//	damaged journal                          what is readable is kept; tasks that are open in it are
//	                                         indeterminate, because the record that would tell may be gone
//	full disk, journal over its cap          orders are refused with the reason, beats tell of the trouble,
//	                                         results wait in memory and may lose their output; it is tried
//	                                         every second whether the journal can be written again
//	full disk, output files                  what does not fit is counted; head, tail and result are not touched
//	little room on the disk                  beats tell of it; the oldest output files are removed
//	an order without a good signature        rejected, logged and counted; see signing.go
//	limits that the host cannot enforce      the task is rejected; see package cgroup
//	a user that is not there, or cannot      the task is rejected, and nothing is started
//	  reach the program or the directory
//	disk errors on sync                      Run ends with the error; commands go on in the shim
//	another process has our id               we are refused, and ask only the node that has the other one,
//	                                         with backoff, until it says otherwise; logged each time
//	a text that does not come                the task is rejected once NotAfter has passed, or when the
//	                                         node says that there is none
//	a minion and its shim die while a text   the task is indeterminate, as any with an intent, although
//	  is awaited                             it was not started
//	node lost                                the other servers are tried at once, then with full-jitter
//	                                         backoff from 0.2 s to 10 s
//
// # What is not promised
//
// Effects of a command that was killed half-way. Knowledge of tasks after
// JournalKeep, or of the oldest ones beyond 200,000 that were acknowledged more
// than ten minutes ago. Output of unacknowledged reports beyond 64 MiB: results
// then go without it (the output files have it). What package shim says of
// processes that hide. Other systems than Linux.
//
// A refusal for a stale token is a report with Known false: it says nothing
// about the task, which the present owner may order.
//
// # Tests
//
// The tests kill minions and supervisors between real programs, hundreds of times:
// half a minute.
package worker
