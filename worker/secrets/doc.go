// Package secrets finds out values on a minion's host that orders name and do not
// have: the content of a file, a variable of the minion's service, what a program
// writes. What may be named is said by the minion's operator, in a file of rules; a
// minion without one finds out nothing, because whoever edits jobs would read every
// file of the host by the rights of the minion's account. What was sealed to the minion
// is for it, and needs no list; one that there is has to name it, too.
//
//	rules:
//	  - file: /etc/carillon/secrets/*       # a path, or a glob; * is not /
//	    jobs: [billing/*]                   # NAMESPACE/NAME, or globs; left out: any job
//	  - env: PGPASSWORD
//	  - exec: [/usr/bin/vault, kv, get, -field=value, secret/db]
//	  - name: billing/*                     # secrets that the cluster keeps, sealed
//
// # Invariants
//
//	S1. What no rule names is not found out, for no job.
//	S2. A file counts only where nobody but root and the minion's own account could
//	    change it, a link to it, or a directory above it: else whoever can would
//	    have the minion read another one. It is a plain file, of MaxSecretBytes at most.
//	S3. A program is one of a rule with exactly these arguments. It runs as the
//	    minion's account, for Timeout at most, and is ended with all it has started
//	    in its group. What it writes to standard error goes nowhere. While somebody
//	    has it open for writing it is waited for.
//	S4. No error has a value, or a part of one.
//	S5. A value has no zero byte and is not empty. One line end behind it is no part
//	    of it.
//	S6. A file of rules with a problem is refused as a whole; so is one that others
//	    than its owner may write.
//	S7. A secret that the cluster keeps is opened for jobs of its own namespace only,
//	    as the one that it was sealed as (agesecret, E1). Without a list, any is; with
//	    one, those that a rule names.
//
// # Failures
//
//	sealed to other minions, or copied      likewise
//	no rule, no file, no such variable      the task is rejected before anything starts, with the reason
//	the program fails, or is too slow       likewise
//	the value changes while a job runs      the next start has the new one
//
// # What is not promised
//
// That the job of an order is the one that it says: nodes say so, and a node that was
// taken over can say anything. Where that matters, let rules name little. That a
// command keeps a value to itself: it has it in its environment, where root, and its
// own account, can read it.
package secrets
