// Package scheduler fires jobs: it owns shards, plans, commits and dispatches
// their fires, and closes them when their results are in history.
//
// # The one idea
//
// A shard is guarded by one fenced lock in etcd. Whoever holds it plans the
// shard's jobs, commits what is due in a transaction that compares the lock,
// and only then dispatches. No clock, heartbeat or placement makes a fire
// unique: the transaction does, and the minion's journal.
//
// # Shards, groups and modes
//
// A shard is one of the hash shards, which are placed on the nodes by weighted
// rendezvous hashing with bounded load, or a group, whose mode (package mode)
// says who ought to hold its lock. Each node compares what it owns with what it
// ought to: it claims what is free and its to hold, hands over what is another
// node's to hold, and seizes what a dead or overdue node holds. Nodes that see
// different things for a moment may try for the same lock: etcd decides.
//
//	free       no owner key; whoever the mode names claims it
//	owned      the owner key lies on a live lease
//	handed     re-put on the successor's lease, in one transaction
//	passed     as handed, in the very transaction that commits fires (round robin):
//	           the successor sends their orders
//	seized     re-put by another node, without the owner's doing
//
// An operator's override goes before the mode; an operator's drain takes the
// node out of all modes.
//
// Health has three levels: the process (its lease; its port refuses when it is
// dead), the service (it says itself whether its view is read and its loop goes
// round), and the address and port as most of its peers see them. Losing the
// first costs a node its shards. So does it if most of all live nodes say that its
// address does not answer: its host or site is lost, and the lease would take its
// time, the longer if etcd's leader went with it. The rest only keeps it from getting
// a lock back.
//
// # A fire's way
//
//	planned    in the owner's timer heap; nothing is written
//	committed  in a slot, an etcd value written together with the cursor
//	dispatched its orders are on their way to minions, at the instant or later
//	resolved   every task has a final report, or can have none any more
//	recorded   the run is in history; minions may forget it
//	closed     no open fire is left in the slot, which is deleted
//
// Where a job is dispatched to a queue, that stands in the place of a minion (dispatch.go): its
// order puts an item, and what becomes of the item is what a minion says of a task.
//
// How far it has come in its owner's memory, and each task of it, is one value each,
// which package phase draws.
//
// The cursor says how far the shard is committed; JobsRev, stored beside it,
// says which revision of the jobs that was planned from. A new owner reads
// both, and the open slots, and goes on:
//
//   - a job that existed at JobsRev is planned from the cursor;
//   - a job created later is planned from its creation;
//   - up to job.After the schedule holds that it had before (package plan);
//   - an occurrence after the cursor that is in a slot is committed already;
//   - for an open fire the minion is asked. What it never accepted is ordered
//     again under the same fire id, or, when too late, treated as a misfire.
//
// # What becomes of an instant
//
// Three questions, in this order (package plan, overlap.go):
//
//	is it one at all?      no, its turn, a pause or a calendar says so   skipped
//	                       no, dates or count say so                     it is none
//	is it too late?        no, or the misfire policy makes up for it     committed
//	                       yes: by more than the grace, and the policy
//	                       or catchUp does not                           missed
//	may it start beside    nothing of the job runs                       started
//	what runs?             overlap: allow                                started
//	                       overlap: skip                                 skipped
//	                       overlap: queue-one, queue-all, with room      waits
//	                       overlap: queue-one, queue-all, without        skipped
//	                       overlap: replace, replace-after-grace         waits, and ends what runs
//
// The first two are asked when the instant is planned, the third when its start
// comes: at the instant, after its part of the jitter, or, when several instants
// of a job have passed, one after the other, catchUpEvery apart. So what is only
// planned keeps nothing from starting. Instants of a backfill, and what was asked
// for, are not asked the second question; those of a backfill not the third: they
// have their own pace. The second is asked once more, of jobs that skip misfires,
// when a task that was ordered was not started: its owner is lost, or its minion has
// kept it waiting for longer than the grace and gave it back (report.go).
//
// # Invariants
//
//	I1  A fire is dispatched only after the transaction that committed it is
//	    known to have succeeded under the dispatching owner's token, or after
//	    a later owner has read it from a slot.
//	I2  Every write of an owner compares its token (the owner key's mod
//	    revision) and, for the cursor, the state's mod revision. A write that
//	    fails the compare stops the shard; its plan is dropped.
//	I3  An occurrence is in at most one commit, whatever edits, crashes and
//	    hand-overs happen.
//	I4  The cursor passes an occurrence only in the transaction that commits
//	    it, as a fire, or as skipped or missed with the reason.
//	I5  A slot is deleted only when every entry of it is in history and the
//	    cursor has passed all of them.
//	I6  The minion of a task is in the slot before the order is sent, and it
//	    changes only in a fenced rewrite, under a new attempt or before any
//	    owner has sent the order.
//	I7  A fire is never dispatched before its instant, by the clock of most (package
//	    internal/clock), not by the owner's own. A commit carries the time by which
//	    it was judged (Slot.CommittedAt, ShardState.Judged).
//	I8  A minion's report is acknowledged only when the run is in history.
//	I9  Nothing of a shard is written or dispatched after the holder's
//	    deadline has passed: lock.Session ends before etcd could grant the
//	    shard to another node.
//
//	I10 The lock is passed on with a commit only to a node that stands in line
//	    and whose lease lives; orders of such a commit are sent by the
//	    successor only. A slot has been sent by nobody exactly when the state
//	    that was written with it says so (ShardState.Unsent), was written at the
//	    revision of the owner's own grant, and the owner begins with the shard
//	    for the first time under it.
//	I11 A job that moves between shards is planned by one of them for every
//	    instant: up to the old shard's cursor by the old one, after it by the
//	    new one. The move changes the old shard's state, so that no commit of
//	    its owner that began before can succeed.
//	I12 In an ordered group no two runs are under way at a time, and they start
//	    in the order of their instants: a run stands in line from its commit to
//	    its record, whatever keeps it from starting. At most maxConcurrent are
//	    under way in a bounded group; a run counts until its record.
//	I13 The end of a run that another job waits for is told once: the note of it
//	    is written in the transaction that takes the run out of its slot, and
//	    becomes a trigger in a transaction of its own (outbox.go). So with changes
//	    of a watched key (watch.go), and instants of a backfill (backfill.go).
//	I14 What a pause or a calendar does not let run has a record that
//	    says so, except instants that a calendar moves. What was due in a pause is not
//	    run either when an owner comes to it after that has ended: the pause is stored
//	    with its end for as long, the last etcdkv.MaxRests of one thing (package cluster).
//	I15 A rollout starts no task before its turn, whatever owner it has: the
//	    order is that of the stored tasks, what an earlier owner may have sent
//	    counts as running until its minion has said otherwise, and that it was
//	    promoted or stopped is stored.
//	I16 What somebody wants of an open run is seen to by whoever owns it, until
//	    it has come true or the run has ended.
//	I17 The open fires of a job that is deleted end as all others do, whoever owns
//	    the shard then: what was ordered as its minions say, what was not as
//	    cancelled. The deletion leaves a record of the job, which stays until
//	    all of them are in history (moved.go, orphans.go).
//	I18 A task whose run has a bound for the whole cluster (clusterMaxPer) is
//	    sent only once the key of its label's value lists it, written under the
//	    owner's token, where with it no more are listed than that bound. It stays
//	    listed, through all owners and attempts, until its end is known; whoever
//	    is listed and is in no slot any more is removed (package admit).
//	I19 Each instant ends as the table above says, whatever policies meet: what
//	    is closed is never missed and takes no other's place, and only what runs
//	    is in another's way.
//	I20 An order carries the end of its owner's lease, as far as that is renewed
//	    when it is sent, and its minion starts nothing after it. So under a token
//	    nothing starts once the lease has ended, which is before etcd can grant
//	    the shard because of that. A shard that is granted earlier, since its
//	    owner passed it on or was taken for dead, may see starts under the token
//	    before for as long as that lease had to go, LeaseTTL less the margin at
//	    most, and for no longer than until its new owner has asked. What was not
//	    started for that comes back, and is ordered by whoever owns it then.
//	I21 No job keeps the others of its shard waiting: what one plan looks at is
//	    bounded by counted steps, and a job whose next instant is not found in
//	    those, or that cannot be read, is set aside. Of one with a schedule each
//	    occurrence is recorded as skipped, with the reason (package plan, aside.go).
//	I22 No run stays open for a minion whose certificate was revoked: what it was
//	    sent, or may have been, ends as indeterminate, and what it was not as
//	    uncontrollable. If it joins again, what it says then is taken (revoked.go).
//	I23 A node that is offered more than it can do does as much as it can, and no
//	    less: it takes up so many fires, fair.MaxLoad, before it has done with some of
//	    them (package fair). What is due meanwhile stays in the timers, one entry per
//	    job; once it is later than the grace it is a misfire, one record for all
//	    of a job's in a row. Jobs have their turns in fairness: those whose time
//	    has just come wait for no herd, and a job's second fire waits until each
//	    job that is ready has had its first (package fair).
//	I24 Of a task that an earlier owner may have ordered it is believed that its
//	    minion has not accepted it, or that its order did not arrive, only if that
//	    is said to this owner: the answer carries the token and the term (which
//	    counts an owner's beginnings under its token) of the question, order or
//	    cancel that it answers. What a minion had, by its word, and gave back under
//	    an earlier owner's order is asked about anew. So is what a minion has, by its
//	    word, or what this owner has ordered there, when it is said that it was never
//	    accepted, or that nobody knows: that may have been said before, and be
//	    overtaken, or be a second copy. It is believed as the answer to a question
//	    with a number of its own, which counts on as the terms do. What a minion has
//	    done, or keeps on its disk, is so whoever asked. A release before this one
//	    tells of no token. What its minions say that they have not accepted is then
//	    ordered again there, as the same attempt, which runs once whatever they had
//	    accepted; it counts as under way until they have said more, and ends as
//	    indeterminate if they do not. Only of the tasks of a rollout outside of groups
//	    their word is believed, so that one more than its bounds say may run for a
//	    moment (report.go).
//	I25 An edit loses nothing. Up to the instant of an edit, a disabling or a deletion
//	    the old schedule holds, whenever an owner comes to it, and whoever it is:
//	    what was due and is not committed runs, or is skipped with that as the
//	    reason if the job was disabled or deleted, or is missed. The edit stores the
//	    old schedule with its end beside the new one until an owner has passed that,
//	    etcdkv.MaxEarlier of them; an edit that would need more is refused. What is
//	    committed when an edit is made stands: the new schedule is planned from the
//	    cursor, at most the look-ahead after the edit (package plan).
//	I26 From the revision on at which a job's schedule is edited, it is disabled or
//	    deleted, something is paused or resumed, or a group or a calendar is changed,
//	    nothing is committed that was planned without it: a commit that plans compares
//	    (calendars only where jobs of the shard have some) that no
//	    such edit is newer than the view that it was planned from. No clock has a
//	    part in it, so it has no bound that could be set: an owner whose watch hangs
//	    goes on for as long as there is no edit that it lacks. Then it commits
//	    nothing new, tells so (carillon_shards_behind, the log, /readyz), and reads
//	    its view anew on another connection (view.go). What was committed before an
//	    edit stands: the instants up to the cursor, and what had its turn before them
//	    (ShardState.Beyond), which whoever edits is told.
//	    Edits and pauses go by instants, not by starts: what was due before one, and
//	    is committed after it, since its owner was slow or there was none, starts too.
//	    Such a run starts though its start comes later, for jitter, catchUpEvery,
//	    its turn, a queue, or an order that waits at its minion; of a deleted job
//	    only what was sent already (I17).
//	I27 A node whose clock is off by more than the bound, or has stepped and is in
//	    doubt, or has not been compared yet, takes no shard, gives up those that it
//	    has where another node can have them, and neither plans, commits nor orders
//	    (package timekeeper). It looks at its clock before each step of a shard. When the
//	    time is moved by more than the bound, its shards are read anew.
//	I28 A cursor that lies in the future is set back to now by the next owner, or by
//	    the same one once its clock is right. Up to where it was (ShardState.Ahead)
//	    an instant is planned only if no open slot and no record says that it has
//	    run or may have; if records may have been dropped, it is skipped, with the
//	    reason. One that was recorded as missed or skipped is decided anew (ahead.go).
//	    What is open beyond the cursor then starts at its instant: whoever edits is told
//	    of it (I26). A job does not leave the shard meanwhile.
//	I29 No run waits for a minion that is connected to no node for longer than its
//	    job's lostAfter; nor, from goneGrace on, when somebody has it cancelled or
//	    the minion forgotten. Then it ends as indeterminate, with what is not
//	    known. The owner's node counts only while it has all that etcd says of
//	    minions: from its lease on, and not across a loss of it. And it asks etcd
//	    itself before anything ends: its view may stand still (gone.go).
//	I30 Of a task that has ended so nothing starts any more, though its minion comes
//	    back: the end waits until the lease has ended that the last order carried
//	    (I20). What the minion says then of that attempt mends the record, and is
//	    no other run; what was to be ended it is told to end, also when somebody
//	    wants so after the end.
//	I31 That a minion has lost its journal is said only where another process of it
//	    has never accepted what one before had, or the same has never accepted what
//	    it had started. A process that had a task, had not started it, and has never
//	    accepted it has given it back, and the word of that was lost: it is ordered
//	    again. What waits at its minion is asked about, after askHeld first, and its
//	    time-out begins with its start (report.go, reconcile.go).
//
//	I32 What a notifier tells of an end is written in a fenced transaction no later than
//	    the one in which the run leaves its slot, and so is what is known of the job's
//	    trouble: whoever owns the shard then ends the run again otherwise, and tells it
//	    under the same id. Of a job of which nobody wants to be told nothing is written,
//	    and of one that nobody has to be told of neither: an end that is no news, a
//	    failure between two reminders (notices.go; package notify delivers).
//
//	I34 Nothing is started that is beyond the bounds of who stored the job, or of who
//	    asked for the run: minions are chosen within them, and each order is looked
//	    at once more before it is sent, with its parameters, its scripts and the
//	    labels of its minion as they are then. What is beyond ends as rejected. So
//	    does a task that would run a script of the library beyond the bounds of who
//	    stored that version: on another minion, or as another account. Of roles that
//	    have become narrower since, what they allow now counts as well, from when
//	    this node has read it; until it has read any, nothing bounded is sent. Bounds
//	    stay with a fire over changes of its owner; those that cannot be read let
//	    nothing start (bounds.go).
//
// # What may fail
//
//	owner crashes before a commit      the next owner plans the same instants
//	owner crashes after a commit       the next owner finds the slot and asks the minions
//	commit's answer is lost            the owner reads the state back: its claim id is there or not
//	etcd cannot be written             nobody fires; when it is back, late occurrences
//	                                   within the grace run, older ones are misfires
//	owner's process is killed          its watchdog revokes its lease; else its peers find its port
//	                                   refusing and seize; else the lease ends
//	owner's port refuses by mistake    it is seized: its writes fail the compare, and it goes on without
//	owner is paused past its lease     its writes fail the compare; its orders
//	                                   carry a lower token, and the end of its
//	                                   lease: minions start none of them (I20)
//	minion crashes                     it comes back with its journal and is asked
//	word that a task was given back    its owner asks what became of it, and orders it again (I31)
//	  is lost, with a node or a link
//	minion says nothing of an order    it ends as indeterminate: its minion may start it still, or have
//	  until its time is over             started it, as while its way to all nodes is cut; what that says
//	                                   later mends the record
//	minion never comes back            the run ends as indeterminate, after lostAfter: nobody can know (I29)
//	minion comes back before           it says what it runs and ran, as if it had not been away
//	minion comes back after that       what it ran, or runs, mends the record when it ends; what it had not
//	                                   started is given back, and recorded as expired if the owner that had
//	                                   ordered it has ended it (I30)
//	minion goes to another node        it is not gone: etcd's word counts, whatever the owner's node sees
//	etcd cannot be reached             no run ends for that: nobody owns a shard, and the time counts anew
//	owner's node starts anew, or       the time counts from that node's first full view of the minions, which
//	  another takes the shard          may be older than its ownership, and later than the minion's leaving
//	node is cut off from etcd, and     its minions are gone, to the others: nothing is heard of them
//	  its minions are not
//	minion's certificate is revoked    the same, at once: nothing will be heard of it (I22)
//	history cannot be written          fires stay open, results stay on the minions
//	owner crashes with permits         they stay until the next owner has heard of their tasks;
//	                                   of a fire in no slot, until somebody waits for them
//	owner's watch hangs                it goes on while nothing is edited; then it plans nothing
//	                                   until it has read its view anew, from another member
//	an owner's clock steps             its time does not: it stops, until others' clocks
//	                                   have said which is right (I27)
//	clock steps, nobody to ask         the node stops for clock.DefaultSettle; a step that
//	                                   stands is believed: passed-over occurrences are late
//	                                   or misfires, and a cursor that is ahead is set back
//	most clocks are wrong alike        they are the clock of most; when they are right again,
//	                                   cursors are set back (I28)
//	machine is suspended               its clock is compared before anything is planned
//	a wrong clock put a start off      the start is as long after its commit as it was to be
//	records of early runs are gone     the instant is skipped: nobody knows whether it ran
//	owner dies after a record, before  the next owner finds the record and lets it stand: what a
//	it has closed the run              minion remembers of an acknowledged task is less
//
// # Not promised
//
// That instants which passed while a clock was wrong, and were recorded as missed by
// it, are made up for: the records say so, and they may be redone.
//
// Exactly-once effects. A job that needs them uses CARILLON_FIRE_ID and
// CARILLON_TOKEN. An edit of a schedule takes effect at the owner's cursor, at
// most the look-ahead after it is saved. When a group is deleted right after jobs of
// it, before an owner has come to what they had due, that has no record. A bound on
// the open runs of a job whose overlap policy is allow: what was committed in time
// waits for its minion for as long as that takes, unless the job skips misfires; a
// minion that is offered more than it can do for hours has hours of it waiting.
// Fairness among runs that wait for room
// under a cap of the cluster: a run with a low bound, or one label more, may
// wait for as long as others come. A task that ended as indeterminate does not
// count under a cap, though it may run; a minion counts under the value that it
// had when its task asked. Where the clock of a minion is not known to its node an
// order carries no end of a lease (I20), and I30 does not hold for what that minion
// had accepted. What is cancelled while its minion is gone, before the run has ended, is
// ended there, when that is back, by the owner that has ended the run, and by no later
// one; what is cancelled after its end, by any owner.
//
// # The rooms
//
// What can be said without a shard is a package of its own, each with a doc of what is
// in it and what is not. None of them knows this one.
//
//	cluster      the view of etcd: members, owners, groups, pauses, calendars, ...
//	mode         who ought to hold a group's lock, and who fires which instant; pure
//	placement    who ought to hold each hash shard; pure
//	ownership    claims, hands over and seizes shards, under one lease
//	plan         when a job is due, and what becomes of each instant; pure
//	phase        how far a fire, and each task, has come, and what may follow; pure
//	admit        whether a task may start now: rollout, gate, lock, permits
//	timers       jobs by their next instant, fires by when they want attention
//	fair         what a node takes up, and by which turns it serves what is ready
//	peers        who answers at its port
//	timekeeper   this node's clock against others'
//
// Here is the rest: the engine and its membership, and the shard: its commits, its runs,
// and what becomes of them.
//
// # Tests
//
// The tests let leases run out, which etcd counts in whole seconds, let nodes take
// turns by the clock, and check models with thousands of histories under the race
// detector: a minute.
package scheduler
