// Package policy is who may do what now: the roles and bindings that etcd holds, kept
// in memory, and asked for whoever a request comes from.
//
// In it: the view of etcd (View), and what one caller may do, by the cluster's state
// (Decider, Sight). Not in it: what roles allow, which is internal/rights', and which
// use case wants which right, which is internal/control/guarded's.
//
// # Invariants
//
//  1. A decision is made from roles and bindings as they were at one revision of etcd,
//     and costs no read of it. It costs the same for one role and for a thousand.
//  2. Until all has been read once, a closed cluster decides nothing: the error is a
//     job.ErrUnavailable.
//  3. While the cluster is open, nothing is looked at. While it is noting, what would be
//     refused is let in, logged and counted. Closed, it is refused.
//  4. What a caller may not read is answered as what is not there (job.ErrNotFound);
//     what one may read, and nothing more, with the right that is missing
//     (job.ErrForbidden).
//  5. A role or a binding that cannot be read gives nothing.
//
// # Not promised
//
// A node that is cut off from etcd goes by what it knew.
package policy
