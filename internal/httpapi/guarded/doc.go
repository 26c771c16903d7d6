// Package guarded is a cluster's control for callers that may not do everything: it
// answers what control answers, to who may have it. The API and the page ask it, and
// never control itself.
//
// Each use case says here which right it wants: a verb on a kind of thing, and where
// the namespace and the labels of the thing are found. Not in it: what the caller may
// (internal/control/policy).
//
// # Invariants
//
//  1. There is no use case without a right: Control has each method of httpapi.Control,
//     and hands none on unseen. Those that want none say so.
//  2. What a caller may not read is in no list and no count. Asked for by its name, it
//     is answered as what is not there, whether it is there or not, in the same words; of
//     a run, which is looked for on all nodes, also after the same time. Of
//     a kind without namespaces, who may read none at all is refused the list.
//  3. What one may read, and nothing more, is refused with the right that is missing.
//     A right to do something is enough to do it: it needs no right to read.
//  4. Output of tasks is told to who may see logs; a run is told without it to who may
//     only read.
//  5. Where nothing needs to be looked at, nothing is.
//  6. Where only some of what may be started is allowed, the use case is handed on:
//     control decides, which knows what a start comes to (control/apply for jobs, scripts
//     and queues that are stored, control/starts for runs and items).
//  7. Who has a job name a script, a calendar or another job has the right to read it:
//     what the job does would tell of it. Names that it had before stay.
//  7. An answer that lasts (output, results, changes) ends once its reader has lost what it
//     takes: within askAgain of when this node knows that a token was revoked, a session
//     ended, either expired, or a right was taken. It says why, where its form has a place
//     for that. While etcd cannot be asked, it goes on.
//
// # Not promised
//
// A label that changes between the decision and the act is not seen. A right that is lost
// while a file is applied counts from the next transaction on.
package guarded
