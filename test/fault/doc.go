// Command fault runs a real cluster, disturbs it, and checks what became of
// every occurrence.
//
//	go run ./test/fault -scenario kill -for 60s -seed 7
//
// It builds the binaries, with the tag "fault" (see faults), and starts them as processes: one etcd, three
// schedulers, two workers. Jobs that are due every second append their fire id
// to one file, the trace; a line is one write. While they fire, a scenario
// disturbs the cluster every few seconds, and somebody, the operator, edits, pauses,
// starts and backfills other jobs, the probes. Then it waits until every occurrence
// of the time before is decided, disables the jobs, waits until no run is open,
// and compares: the occurrences that the schedules say there were, what the operator
// asked and was told, the trace, and the run records.
//
//	doubled       fires that are in the trace more than once, or have two records:
//	              of their own, or one of their own and a place in a row of missed ones
//	missing       occurrences, instants of a backfill and starts by hand that were
//	              accepted, which are not in the trace, and have no record that
//	              says, with a reason, why they were not run
//	unaccounted   fires about which trace and records disagree: recorded as run
//	              without a trace, in the trace without a record that says so, with
//	              another outcome, exit code, minion or attempt than the command had;
//	              fires that ran or are recorded and are no occurrence of their job,
//	              and were asked for by nobody; reasons that are not so, as of a
//	              calendar that is open then; what a pause or a calendar closed and is
//	              recorded as missed; and fires of which nobody knows whether they ran,
//	              though no host and no shim dies here
//	out_of_order  runs of an ordered group that started after one of a later instant
//	early         runs that started before their instant and their part of the jitter
//	stale         tasks that were started under a token after the lease of its
//	              owner had ended, in shards that were taken from it: a lease lasts
//	              no longer than hold after the last moment at which it can have
//	              been renewed
//	crowded       runs that were under way while others were whose end they should
//	              have waited for: of an ordered or bounded group, of a lock, of a job
//	              whose overlap policy is not allow, of a backfill
//	forbidden     runs of an instant after the one from which an edit, a disabling, a
//	              deletion or a pause held, by its own answer, or at which a calendar
//	              was closed
//	stuck         what had not ended when it was no longer waited for: runs, backfills,
//	              starts by hand, shards whose occurrences were not decided
//	unready       times that a node said that it was ready though shards had no owner,
//	              which it could know (readiness.go)
//
// What is not looked at: how late a run starts, beyond what late_ms tells; the order in
// which runs wait that are in no ordered group; jobs that other jobs, webhooks or keys
// start; retries and steps; which command a run has right after an edit, beyond that
// it is one of the job's; an edit of a group or of a calendar; a backfill of a job that
// is edited; records that history has merged, of which readers see the last.
//
// The last line is the result; the exit code is 0 if all of these are 0. verbs is how
// much the operator did. In it
// is how long shards of a disturbed node were without a new grant, by the
// cause, as a watch of etcd saw it:
//
//	takeover_ms_kill_*       from the SIGKILL to the grant
//	takeover_ms_handover_*   from the SIGTERM to the grant: a node hands its
//	                         shards over a few at a time
//	takeover_ms_pause_*      from the SIGSTOP to the grant
//	takeover_ms_partition_*  from cutting the node off etcd to the grant
//
// Scenario scale counts the hash shards that moved, those that had to, and how
// often one was without an owner though nobody had crashed. In scenario
// partition each node has a network namespace of its own, which needs root and
// iproute2; nodes are cut off both ways, one way, from etcd, and from their
// peers. In scenario modes the jobs are in groups of every mode. In etcd-restart
// and etcd-kill-member an etcd server is killed, the leader as often as not, and
// started again; in etcd-slow a proxy holds back what is said to etcd. In clock
// the clock of a scheduler steps, by seconds or by hours, and back: fires may start
// early by what the comparison of clocks leaves open, a quarter of a second. In herd
// twenty times as many jobs as there are steady ones are due in one second;
// herd_drain_ms is when the last of their orders was sent. In overload ten times as
// many jobs are due every second as -jobs says, more than the host can run: what is
// later than 5 s is missed, everything is accounted for, and the shards of a node
// that is killed are taken over as fast as ever; in the end its jobs are due every ten
// seconds only. soak does all of this, gathers
// records before history forgets them, and wants memory, goroutines and etcd's size
// to stay flat: the median of the last third
// of the measurements may be 1.3 times that of the middle third.
//
// In embedded there is no etcd: the schedulers keep the cluster's data themselves. They
// are killed and drained, one loses the data of its etcd or all of its data and is
// replaced, the members go from three to one and back (own.go), and the nodes are restarted
// one after another with another build (rollout.go).
//
// In site there are three sites of two nodes and three minions each, in networks of their own
// that are 10 ms apart (sitenet.go); the first node of each is a member of the cluster's own
// etcd, and all have their default settings. A site is cut off, or dies as a whole without a
// word, and comes back (site.go). There are no probes. rto_ms is how long it takes from the
// loss until a new owner has started a run of each job that a node of the site owned; each
// is due every second.
//
// In queue there are no jobs: items are put into a queue while nodes, minions and etcd
// servers die and come back, a minion at times after its items have gone to the other
// one. Each item that was put has to have one record, of an attempt whose command had
// ended; no attempt is started twice; and of the items with one key one is done at a
// time (queue.go).
//
// In plan an upstream sends plans, whose tasks wait for one another, again and again, and is
// called back; it does not take some calls, and some answers are lost. Each task has to have
// succeeded, with a command that ended; none has begun before the one that it waits for had ended;
// each plan is accepted once, however often it was sent; and what the upstream was told has no gap
// and no second end (upstream.go).
//
// In plan-large there is one plan, of -tasks tasks and four types, and eight minions; nodes, minions
// and etcd servers are killed in turn until it has ended. Memory has to stay flat (planlarge.go).
// A campaign leaves it out.
//
// In notify jobs fail and recover, and four receivers are told of it, signed: one takes all,
// one dies and one hangs now and then, and one of all kinds is told several alerts at once;
// nodes, two at a time, and minions die meanwhile. Whatever the records make an alert has to
// be taken by each receiver at least once, always in the same message, under an id that is of
// the run and the event; nothing else may be told (alerts.go).
//
// A scenario is a file that disturbs; the rest is shared.
//
// # Probes
//
// In every scenario but dispatch and site there are two jobs in an ordered group of each mode,
// one of them with jitter; jobs with jitter; jobs with calendars that are closed today,
// on other days, and for seconds, one of which moves to their ends; one that fails; one
// of each overlap policy; some that are paused, alone, as a group, with their namespace
// and with everything; one that is backfilled; one that is started by hand; and six
// that are edited: schedule, end, calendars, enabled, command, group, policies, and that
// are deleted and made anew (probes.go, operator.go). The oracle knows calendars and
// edits by itself (plan.go): of the product's code it uses the reading of cron
// expressions and the part of the jitter that a fire has.
//
// # Many runs
//
//	go run ./test/fault campaign -seeds 20 -loads 0,4
//
// runs all scenarios by many seeds, quiet and beside busy programs. It stops at nothing
// that a run finds, prints a line for each, and fails in the end if one was not clean,
// whose output it keeps. Lines are kept in bin/fault; broken off, it goes on behind the
// last one, unless another commit is checked out. make fault and make test-long do it.
//
// # Time
//
// Nothing waits for a length of time, and no step has a limit: it waits for what is
// to be, such as that nothing is open, by a list that lacks nothing. One limit,
// -hang, says when a run hangs; what is open then is stuck. A run that fails prints the one command that
// repeats it, and keeps logs, trace and records in its directory. -load runs busy
// programs beside it. Two runs on a machine share no ports, directories or names
// of network namespaces.
//
// # What is in make test
//
// Scenarios short (kill, drain, standstill and the death of a minion, in groups of
// every mode), etcd (death and slowness of etcd, and a small herd) and partition,
// with each disturbance once (-once), and seven parts of dispatch. The others are
// these for longer, and more: make test-long runs them.
//
// # What they tell
//
// make mutants builds the programs with one known mistake after another
// (mutant_test.go), and expects a test to tell of it:
//
//	the gate of ordered and bounded groups stands open     TestNodesAndMinions: crowded
//	one at a time is not kept                              TestNodesAndMinions: crowded
//	ordered groups have no order                           TestNodesAndMinions: out_of_order
//	fires start before their instant                       TestNodesAndMinions: early
//	the jitter is forgotten                                TestNodesAndMinions: early
//	the cursor passes what is not committed                TestNodesAndMinions: missing
//	a backfill leaves instants out                         TestNodesAndMinions: missing
//	starts by hand are lost                                TestNodesAndMinions: missing
//	an edit is said to hold at once                        TestNodesAndMinions: forbidden
//	a pause begins late                                    TestNodesAndMinions: forbidden
//	calendars are not looked at                            TestNodesAndMinions: forbidden
//	calendars close every day                              TestNodesAndMinions: unaccounted
//	runs that are taken over have no record                TestNodesAndMinions: unaccounted
//	what failed has succeeded                              TestNodesAndMinions: unaccounted
//	a run is recorded twice                                TestNodesAndMinions: doubled
//	a node is ready while shards have no owner             TestNodesAndMinions: unready
//	the end of a lease is ignored                          TestNodesAndMinions: stale
//	orders are not journaled                               TestDispatch: doubled, unaccounted
//
// Other mistakes were tried once each and not told of, mostly since the instant at
// which they matter is too short to be met by chance; a run that is never recorded, or
// never closed, since its owner tells of it as ended while it lives. They are left to
// the tests of the packages:
//
//	an edit forgets what was due before                    TestNodesAndMinions
//	some runs are never recorded, or never closed          TestNodesAndMinions
//	a commit compares neither lock nor state               TestNodesAndMinions
//	a hand-over does not compare the fence                 TestNodesAndMinions
//	history gives up where etcd does not answer            TestEtcd
//	a commit that is not answered counts as made           TestEtcd
//	presence that went with a lease is not written again   TestPartition
//	a node resumes at one peer what it began at another    TestPartition, which had met
//	                                                       it in the product before
//
// No mistake is known yet that TestEtcd or TestPartition tells of each time.
//
// # Dispatch
//
// Scenario restore (restore.go) has an oracle of its own. In turns etcd is lost and put back
// by a backup and `recover`, with nodes, and an old copy of its disk is put in its place
// under running nodes, as it is and with its revision raised by a milliard, which have to
// notice, and is adopted. Jobs leave their fire ids: none
// twice, each with a record, and each instant is recorded. What was made after a backup is
// lost, and not looked at.
//
// Scenario standby (standby.go) has the same oracle, and two clusters, of which one follows
// the other: it takes over by a planned switch, after the active one was killed, and after a
// minion and its disk were lost with that. An occurrence whose end nobody knows counts as
// unaccounted unless such a minion may have run it.
//
// Scenario dispatch is made of parts (dispatch.go), and has an oracle of its own.
// It needs root, iproute2 and util-linux: each of five minions has a network
// namespace, a small disk and a boot id that it shares with nobody. Commands are
// fanned out to them, and append a mark to the file of their host, first of all.
//
//	scheduler-kill  the owner of a fan-out dies, at up to 100 points
//	minion-kill     minions die at each boundary of their journal
//	reboot          hosts end with all that runs, and come back in another boot
//	partition       a host is cut off while its command ends
//	two-owners      an owner stands still past its lease, and goes on
//	cancel          fan-outs are cancelled as soon as they are granted
//	disk-full       disks fill up before orders come, and while commands run
//	cloned-id       a second process has a minion's id and a copy of its data
//	revoked         a minion's certificate is revoked while its command runs
//	gone            a host goes for good while its commands run, and comes back when
//	                all of these have ended
//	shim-kill       supervising processes are killed while commands run that have
//	                started others
//	etcd-outage     etcd stands still for longer than a run waits for its minion,
//	                while minions run commands and start again
//	stalled         one minion of 100 reads nothing; the others must not wait for it.
//	                In a short run it is one of 20. 95, or 15, of them are fakes in a
//	                process of their own
//	escape          commands leave their session and their parents
//	output          a gigabyte of output, a tenth of it in a short run
//
// At the end of a part no run may be open, and these are to be none:
//
//	doubled      attempts of a task that left more than one mark
//	missing      runs that were granted, or tasks of theirs, without a record or an end
//	unaccounted  tasks that are said to have succeeded and left no mark, or not to have
//	             been started and left one; marks without a record; and what a part
//	             wants besides, such as that a command on a host that was cut off is
//	             known to have succeeded
//	early        tasks that started before they were asked for
//	stuck        what had not ended when it was no longer waited for
//
// There are no ordered groups in it, and no schedules but one.
//
// -for is how long a part goes on that repeats itself.
//
// # Tests
//
// What is killed are processes, and what takes their place waits for leases of seconds
// to run out, in each of the four scenarios that `make test` runs: a minute and a half.
package main
