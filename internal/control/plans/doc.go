// Package plans is what upstream systems and people ask of plans: to take one, to amend it, to tell
// of it, and to cancel tasks.
//
// Its invariants are P1, P2, P8 and P9 of package internal/plans, and:
//
//  1. A plan is accepted only if each of its types is a queue that takes items, whose schema its
//     parameters keep to, whose workers take them as far as they tell, and into which the sender may put them. What the sender may have
//     started stays with each task.
//  2. Each plan that is accepted, each amendment of one, and each order to cancel, is in the audit in the transaction
//     that writes it.
//  3. No more than maxSending plans are read at once on a node, and maxSendingOf of one
//     namespace: more are told to come again.
//  4. A sender that does not go on loses its place: it is waited for senderGrace in all, and a
//     second more for each senderRate bytes.
//
// Not promised: that a queue has room for a plan. Its tasks wait for that.
//
// Not in it: how tasks are done (internal/plans), and what a plan is (package plan).
package plans
