// Package access is who may ask at all: the credentials by which callers are known,
// and the cluster's state, open to everybody or closed.
//
// Not in it: what a caller may do, which is internal/rights'.
//
// # Invariants
//
//  1. The text of a token is in the answer that makes it, and nowhere else: etcd, logs
//     and records have its hash, its name and its ID.
//  2. A token that has expired or was revoked, and one of another cluster, is refused
//     with a reason. The node that revoked it refuses it at once, the others once
//     etcd's watch tells them.
//  3. What is not known to be a token is looked up in etcd before it is refused, so that
//     a new token is good at every node at once.
//  4. A wrong credential costs etcd one read at most, and after a few of them from one
//     address within a minute none: then it is not looked at, and for longer each time
//     that the address goes on. A good one that the node knows is let in all the same.
//     Sessions are counted apart, and more of them. A network of IPv6 of 64 bits is one
//     address.
//  5. A name of a token is never given again, since bindings go by it, and none has the
//     form of an ID, since tokens are revoked by either.
//  6. A token is made and revoked in one transaction with the record of it. The one that
//     makes it compares that bindings give to its name no more than its maker has. Who
//     ends one has as much, too.
//  7. A node that does not know the state of the cluster takes it for closed, and does
//     not start with one that its release does not know. No key: open, as every cluster
//     was.
//  8. A session of the page is a record in etcd, read anew by each request: once it has
//     ended, by a logout, by 30 minutes without a request or after 12 hours, what a
//     browser or a thief kept of it opens nothing, at no node. It is good no longer than
//     the token that began it.
//  9. The cluster is closed only by who can open it again: the transaction compares that
//     the caller is Local, or that the bindings which give it the role admin, and the
//     token that it is known by, are still there. It is closed only while each live node
//     says that it knows what closed is.
//  10. A login by the identity provider is a session of the page or of the command line,
//     and each is good for nothing else. It lasts as long as the settings say from its
//     beginning, at most MaxLoginLife, and ends when its provider is no more the
//     cluster's. Its subjects are the user and the groups that the provider told then.
//  11. What the provider says of a login is believed by internal/idp's invariants only. A
//     login of the command line comes back to a port of loopback, and nowhere else.
//  12. A logout token of the provider ends the sessions of its person, or the one that it
//     names, at all nodes, each with a record; then it is good for nothing. One that
//     could not end all of them can be sent again.
//  13. An answer that lasts ends a moment after what its caller showed: Still tells.
//  14. Whether a token has expired is told by the clock of most nodes (see internal/clock),
//     not by the node's own. Until its clock has been held against others, a node neither
//     takes a token nor refuses it for that: job.ErrUnavailable.
//  15. A token that has expired is removed a month later.
//
// # Not promised
//
// A login that is on its way while a logout token ends its person's sessions is not ended
// by it.
//
// A node that is cut off from etcd goes by what it knew: it takes a token that was
// revoked meanwhile. It can change nothing then.
//
// A node of a release that knows no rights, and comes after the cluster was closed,
// answers everybody: the doctor tells of it.
package access
