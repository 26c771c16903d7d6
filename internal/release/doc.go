// Package release brings new programs to minions: signed manifests, the
// directory of releases on a minion's disk, the launcher that tries them there,
// and the plan by which a node has many minions update.
//
// # Trust
//
// A Manifest says what a release is: its number, version, expiry, and a program
// with size, SHA-256 and URL per platform. Its bytes are signed with ed25519 by
// root keys; Signed.Verify is the only way to a Verified manifest, and only that
// can be staged. Where bytes come from is not trusted at all.
//
//	signed by too few trusted keys       ErrSignature, and nothing else is read
//	not understood                       ErrInvalid
//	expired: maybe held back             ErrExpired
//	below the floor, or below minimum    ErrOlder
//	not for this platform                ErrNoArtifact, by Stage
//	other bytes than were signed         ErrMismatch, by Stage
//	failed its trial here                ErrFailed, by Stage; a higher number is needed
//
// Numbers rise with each manifest that is signed. The floor is the number of the
// newest manifest that was confirmed here. To go back, a rollback entry is
// signed: a manifest with a new number whose RollbackTo names an older release.
//
// # A release on its minion
//
//	minion     verify --> fetch --> staged --> exit 75
//	launcher                                    --> trial recorded --> link flipped --> started on trial
//	new minion                                      "healthy" on CARILLON_HEALTH_FD -------+
//	launcher   confirmed (floor raised), older ones removed  <-----------------------------+
//	           or: killed --> link flipped back --> failure recorded --> former one started
//
// The launcher (Launcher.Run) is the minion's program too, started without
// EnvLauncher. It runs Current or, while that is none, its own program, as a
// child, with one process of it at a time. A minion's commands run under a shim
// of their own and notice nothing of any of this.
//
// A minion must call InheritHealth before it starts any process, Healthy once it
// has connected to a node and passed a self-test, and exit with ExitUpdate
// after Stage, when no task is between accepted and started. If it finds
// State.Staged when it starts, a Stage was not followed by that exit, and it
// should ask again.
//
// # Invariants
//
//	I1. Nothing is staged that was not verified.
//	I2. The floor never falls, and is durable before a release counts as current.
//	I3. Current was brought by the manifest at the floor, or is the launcher's own program.
//	I4. A file under its final name, versions/RELEASE/worker, is whole, durable
//	    and has the signed hash.
//	I5. The programs of the current release and of the one before are on disk.
//	I6. A release that is not confirmed runs only as a child on trial, of the
//	    launcher that has recorded the trial before. So whoever finds a trial
//	    in the state when it starts knows that it was cut short.
//	I7. A manifest whose trial has failed is not tried again.
//	I8. A program never outlives its launcher: the kernel kills it.
//
// # Failures
//
//	what happens                             what comes of it
//	fetch fails, breaks off, lies            Stage says so; the file is dropped; nothing has changed
//	killed while fetching                    the next Stage drops what was left
//	trial exits, with whatever code          failed: the former release runs, ErrFailed from then on
//	trial is not healthy within Gate         killed, then as above
//	launcher or host dies, trial recorded    rolled back by the next launcher. It counts as interrupted:
//	                                         the release may be staged again, MaxInterrupted times in all
//	dies after "healthy", before it is       as above: nobody can know what was not durable
//	durable that it is confirmed
//	dies after it is durable                 the release is current
//	launcher is stopped during a trial       as when it dies
//	confirmed release crashes                started again after 1 s, doubling to 30 s, for ever
//	disk full or read-only                   no trial begins, none is confirmed; what is confirmed runs.
//	                                         A trial that could not be settled is when the minion or the
//	                                         launcher is started next; until then none begins
//	link lost or wrong                       made again from the state; what runs follows the state
//	state.json damaged                       Open and Run refuse: a floor that was forgotten is no floor
//	package brings a newer own program       it runs, and the floor rises to its number (OwnRelease)
//	package brings an older own program      the installed release runs
//
// # Many minions
//
// A Plan has groups that follow one another, each with canaries and a bound on
// how many may be in flight. Plan.Next says whom to tell now, from what is known
// of the minions and nothing else, so that it may be asked by any node at any
// time. What it promises is written there (P1 to P5). Numbers are those of
// manifests, so that a rollback is planned as any other release.
//
// # What is not promised
//
// That a minion which took longer than Plan.Patience, and counts as failed, does
// not update after all: a failure that is tolerated frees its place in flight.
// The launcher itself is not updated by a release: it stays what the package
// brought until the service is restarted with another. Repair of a confirmed
// program that was damaged on disk. Tasks of a minion whose trial is killed are
// its journal's business. Other systems than Linux.
package release
