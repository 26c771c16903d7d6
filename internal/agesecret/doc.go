// Package agesecret seals values of secrets for minions, and opens them there. It is age
// (age-encryption.org/v1) in its armored form, to X25519 recipients; what is sealed is a
// line that names the secret, and the value:
//
//	carillon-secret/1 NAMESPACE/NAME
//	value
//
// so that `age -a -r RECIPIENT` seals one as well.
//
// # Invariants
//
//	E1. Open gives a value only as the secret that it was sealed as: text that was copied
//	    to another name, or to another namespace, is refused.
//	E2. Check takes one armored age file and nothing beside it, for 1 to
//	    job.MaxRecipients X25519 recipients and no other kind, of job.MaxSealedBytes at
//	    most. It needs no key. Text that is not sealed is refused.
//	E3. No error has a value, a part of one, or a key's secret half.
//	E4. A file of identities that others than root and its owner can read is refused, as
//	    is one that they can change. One that is made is 0600, and is complete or not there.
//
// # What is not promised
//
// That the recipients are those of the minions for which the value is meant: who seals
// says so, and who tells them the recipients may lie (docs/secrets.md). That a value is
// one that its command takes.
package agesecret
