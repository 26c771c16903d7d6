// Package release brings new programs to minions: signed manifests, and the
// directory of releases on a minion's disk.
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
//
// Numbers rise with each manifest that is signed. The floor is the number of the
// newest manifest that was confirmed here. To go back, a rollback entry is
// signed: a manifest with a new number whose RollbackTo names an older release.
//
// # Invariants
//
//	I1. Nothing is staged that was not verified.
//	I2. The floor never falls, and is durable before a release counts as current.
//	I3. Current was brought by a manifest at the floor, or is the launcher's own program.
//	I4. A file under its final name, versions/RELEASE/worker, is whole, durable
//	    and has the signed hash.
//	I5. The programs of the current release and of the one before are on disk.
package release
