// Package control is what people can ask of a cluster: apply, look at, run and
// delete jobs and groups; look at runs and their output, nodes, minions and
// shards; drain nodes, and say which one is to hold a shard. The API and the
// page are two faces of it.
//
// # Rooms
//
// A use case is a package of its own, with the few things that it stands on. Control
// connects them, and answers with the methods of all:
//
//	apply       makes the cluster hold what a manifest says; turns jobs on and off
//	catalog     shows jobs, when they are due, and what became of an instant
//	starts      starts runs beside the schedule; takes orders for open ones
//	runs        shows runs, their output and their results
//	pauses      pauses jobs, and ends pauses
//	definitions shows and deletes the calendars and scripts that jobs name
//	cluster     nodes, shards and groups: who holds what, and orders for that
//	minions     which minions there are, their labels, and who a target selects
//	enroll      who may connect as a minion
//	updates     which release minions are brought to
//	roles       shows and deletes roles and bindings: who may do what
//	policy      decides by them for whoever asks
//	locks       locks for clients that never reach etcd
//	changes     tells subscribers where something has changed
//	doctor      looks for what is wrong, and says what mends it
//	sweep       has removed what has come to its end
//
// They stand on store (etcd), jobstore (where a job lies, and from when on an edit
// holds), audit (records of what people do), apiview (what is stored becomes
// what the API tells) and caller (who asks). No rule of a use case is in this package;
// the tests are that ask several rooms, or etcd after one of them.
//
// Every method may be called by many goroutines at once. Errors wrap
// job.ErrNotFound, job.ErrConflict, job.ErrUnavailable or job.ErrNoMinions, or
// are a *job.InvalidError that holds all problems.
//
// # Invariants
//
// I1. Apply loses no update: a write compares the revision of the job or group
// that it was worked out from, and is worked out anew when that has changed.
//
// I2. A file whose changes take at most MaxAtomicOps operations and
// MaxAtomicBytes is applied in one etcd transaction: all of it or nothing. An
// edit takes one operation, and one more per shard when it changes when a job is
// due, a new job or group two, a job that changes its group six; the audit record of all
// takes one more, beyond that bound. A larger file is
// checked as a whole first and then applied in chunks, groups first, each of them atomic; when a chunk fails, the error and
// the results tell exactly what was applied.
//
// I3. An edit keeps the job's UID, and keeps After unless the edit changes the
// instants at which the job is due. Fields that a newer release wrote survive.
//
// I4. Start asks for a run of a job that exists at the revision of the write;
// it never leaves a trigger for a job that does not.
//
// I5. Runs shows a run once, and pages neither repeat nor lose a run that is
// there all the time, even when it ends between two pages.
//
// I6. Run finds a run at every moment of its life: a start that waits, one in
// flight, and one that has ended.
//
// I7. A job lies in one place at any revision: in the shard of its group, which
// Keys.GroupedJob tells, or without a group in its hash shard. Its group exists.
//
// I8. When a job moves to another shard, After there is not before what the old
// shard has committed of it, and not after the next occurrence that it has not.
// A commit of the old shard that was planned before the move fails. Out of a shard
// that a wrong clock has planned ahead, and that was set back, no job is moved until
// the cursor is there again: job.ErrConflict.
//
// I9. What people change, order and start by hand is kept in an audit record, in one
// transaction with it: who, from where, by which request, why, and what is different,
// without secrets. One transaction has one record. What they are refused is counted for
// each of them, and recorded at most once a minute. What programs start by webhooks, and
// what Carillon does by itself, is in the records of runs.
//
// I10. A version of a script is written once and never changed. A job is stored only
// with scripts that exist at the revision of the write, and a start only with
// parameters that they, and the job, take then.
//
// I11. A text that a version or a job names is there, under its SHA-256, from
// before an order can name it until nothing has named it for an hour.
//
// I12. An edit that changes when a job is due keeps its earlier schedule, with its
// end, until the shard's owner has passed that, and so does the record of a deletion.
// No more than etcdkv.MaxEarlier are kept: an edit that needs more is refused with
// job.ErrConflict; pausing and deleting are not.
//
// I13. An edit that changes when a job is due, a deletion, a pause, its end and a
// group's change put, in the same transaction, the key by which owners know that
// their view lacks it: from its revision on nothing is committed without it
// (scheduler's I26). Who asked is told up to which instant something was committed
// before, also where a wrong clock had planned ahead and the cursor was set back.
//
// # When things fail
//
//	etcd does not answer        job.ErrUnavailable after Config.Timeout
//	an object changes meanwhile Apply reads again; job.ErrConflict after many tries
//	an answer of etcd is lost   job.ErrUnavailable; applying again is harmless
//	a minion is gone            Output gives what the record holds, and says so
//	the watch breaks            Changes reports every topic once, and goes on
//
// # Not promised
//
// Jobs and Shards are read in several steps and may mix moments. Last, in a
// list of jobs, comes from one page of recent runs; Job reads the job's own.
//
// # Tests
//
// Models make thousands of edits against a real etcd: half a minute.
package control
