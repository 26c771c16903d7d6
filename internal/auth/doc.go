// Package auth says who is who: a cluster's own certificate authority, the
// mutual TLS between minions and nodes, and how a minion gets its first
// certificate and keeps it current. It is pure cryptography and the client's
// side, and links no etcd; package registrar is the side of the nodes.
//
// # States of a minion
//
//	unknown --Join with a token------------------> enrolled
//	unknown --Join without one--> requested --approved by an operator--> enrolled
//	enrolled --Renew, or Join with the same key--> enrolled
//	enrolled --Revoke--> revoked --Join with a token made after, or approved--> enrolled
//
// The key pair is a minion's long-lived identity, and never leaves its
// directory. A certificate is a short-lived (24 h) statement that the key is
// enrolled. A host that was off for longer than that joins again by its key
// alone.
//
// # First contact
//
// A minion must not give its token to an impostor, and has no certificate of
// the cluster's authority yet. A token ends with a hash of that certificate,
// nodes send it with their own, and so the minion can check the node before it
// says anything. Without a token the certificate is given as a file, or the
// first one seen is trusted, which must be asked for by name.
//
// # Invariants
//
//  1. The secret of a token is stored nowhere, only its SHA-256.
//  2. A minion's certificate is good for clients only, and has no DNS name: no
//     minion can stand in for a node. A client accepts only a node as server. A
//     certificate of the API is good for servers only, and names neither a node nor
//     a minion: on the port of minions and peers it is nobody's.
//  3. A name in a certificate is the name that was enrolled: what a request for
//     a certificate asks for beside its key is ignored, and one that asks for
//     another name is refused.
//  4. Every connection of a client with a certificate is checked against the
//     revocations, a resumed one too: VerifyConnection does it, because
//     VerifyPeerCertificate is not called when a session is resumed.
//  5. The instants of issue of one minion's certificates rise strictly, and a
//     revocation is not before the last of them; so a revocation covers all
//     certificates issued up to it, and none that is issued later, whatever the
//     nodes' clocks say.
//  6. Files are replaced as a whole or not at all.
//  7. A handshake holds one of the Gate's turns while it computes, never while
//     it waits for the network: a client that stalls holds up nobody.
//  8. While too many handshakes wait for a turn, only those that have begun get
//     one: more clients than the host can serve do not make it serve fewer.
//  9. A node knows which node answers it. It resumes no session there: nodes take
//     one another's tickets, and a resumed session shows its client the certificate
//     of the node that it was begun with. A minion resumes: any node will do.
//
// # Failures
//
//	the answer to Join is lost            the minion asks again; its key is known, and no second use of the token is needed
//	no node can be reached for long       the certificate expires; when a node is back, the minion joins by its key
//	a minion is revoked                   its sessions and all its connections are closed, new ones refused; when its certificate has expired, or when it is
//	                                      started with a new token, it joins again, and is taken as one that is new
//	two hosts have one id, two keys       the second one is refused, and noted with the first
//	two hosts have one id, one key        (a cloned disk) not seen here: the hub refuses the second session
//	the token is of another cluster       the minion refuses the node
//	the clocks differ                     certificates begin 5 min early; beyond that the handshake fails, or the minion says that
//	                                      its clock is wrong
//	a file was damaged                    Open says which one; removing it lets the minion join again
//
// # Not promised
//
// The authority lasts 10 years and is not replaced while the cluster runs: that is
// done while all nodes are stopped, and each minion is given the new certificate by
// hand (docs/security.md). Node
// certificates are not revoked: who has the authority's key can make them.
// A revocation reaches a node as fast as etcd's events do; a node that is cut
// off from etcd goes on with what it last knew.
package auth
