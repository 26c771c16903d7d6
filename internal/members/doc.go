// Package members makes the scheduler nodes of a cluster keep its data themselves: an
// etcd runs inside the nodes, with certificates of the cluster's own authority, and nodes
// become members of it, are replaced, and leave, while jobs fire.
//
// The first node is started with --cluster-init: its etcd starts alone, the cluster's
// authority and seal key are made in it, and with a certificate of that authority it
// starts again, with a port for peers and one for clients. Another node is started with
// --join and a token: a node gives it, once, what makes it a node (registrar.JoinNode).
// From then on each node has a Keeper, which looks at the members every few seconds and
// does the one step that there is to do. A step is decided from what is there, and may be
// done again: a node that ends amid one goes on with it.
//
// # States of a node
//
// Wanted is the record EtcdNode in etcd: made when a node joins, changed by operators.
//
//	state      in etcd's list       data here  wanted  next step
//	client     no                   no         no      none: it asks the members
//	joining    no                   no         yes     add: as learner, if there is room and nobody else joins; else wait, as a client
//	added      yes, never started   no         yes     start: from the others
//	learner    yes, without a vote  yes        yes     promote, once it has caught up
//	member     yes                  yes        yes     none; start, if its etcd ended; move, if its address is another
//	lost       yes, was started     no         yes     replace: the member that was here is removed; then it is joining
//	removed    no                   yes        any     discard: the data is set aside
//	leaving    yes                  any        no      leave: it removes itself; then it is removed
//
// # Invariants
//
//  1. A node has data of a member only after its number is in the state file, so that a
//     node knows after any crash which member its data is of.
//  2. One change at a time: nobody is added while there is one that has not started or
//     has no vote, and each change is made under one lock. Etcd refuses a second learner,
//     and a change by which the members that have started would lose their majority.
//  3. A member has no vote before it has all that the others have.
//  4. No member is removed by which those that are left would not have a majority that
//     answers, and the last one is not removed.
//  5. Data is set aside only where a majority of the same cluster of etcd, by its number,
//     says that the member is none; it is never deleted by that.
//  6. Who shows no certificate of a node is not spoken to, on either port: etcd asks for
//     one that is good for auth.MemberName, and no minion has one.
//  7. A node serves nothing before a majority of the members answers it.
//  8. A member that leaves, was removed or ends does nothing of what clients ask it from
//     then on, and says so; what they asked before it answers first. So its clients ask
//     another member, within the time that they have, and no write is in doubt for that.
//
// # Failures
//
//	a node ends amid a step            it goes on with it when it starts again
//	a host's data is lost              its etcd's only: it comes back as a new member by itself. All of it: by a new token, under
//	                                   the same name, once the lease of the old one has ended
//	a host is gone for good            carillon etcd remove; a client takes its place, or a new host joins
//	a node's etcd ends                 its clients ask the other members at once; it is started again
//	a majority is lost                 nothing fires and nothing is written. The hosts come back, or a backup is restored
//	a learner's host is gone           nobody else becomes a member, and carillon doctor says so; carillon etcd remove
//	a node is off for a year           its certificate has expired: it joins again by a token
//	the lock of changes is left        it ends with its lease, within seconds
//
// # Not promised
//
// That two members survive more than one does: the loss of either stops both. That a node
// which an operator has removed forgets what it knew: for that there is a new authority.
// That etcd which went back in time is noticed here. That a write is answered which was
// sent to a member that died, or to one while the lead changed: whether that was done is
// not known, and whoever asked is told so.
package members
