// Package registrar is the nodes' side of enrollment: it keeps in etcd the
// cluster's authority, join tokens, enrolled minions and revocations, serves
// Enroll to minions, and makes the TLS of a node. Package auth tells what a
// minion's states are.
//
// # What Join answers
//
//	the id is enrolled under this key     a certificate; no token is needed or used
//	the id is enrolled under another key  refused, and noted as a clone with the first
//	with a token                          a certificate, and the token has one use less; or why not
//	without one, approved                 a certificate
//	without one, rejected                 refused
//	without one                           pending: the request is stored for an operator
//
// A revoked minion is as one that never was, but that the token must have been
// made after the revocation: whoever is revoked may still know an older one.
//
// # Invariants
//
//  1. A cluster has one authority, however many nodes start at once: it is
//     created by a transaction that compares that there is none.
//  2. A token enrolls at most as many minions as it has uses: enrolling and
//     counting down are one transaction.
//  3. Of an id, at most one key is enrolled at a time.
//  4. Each decision is committed by a transaction that compares all that it was
//     made from. So a revocation and a renewal that cross end in one order: the
//     renewal fails, or its certificate is covered.
//  5. The instants of issue of one minion's certificates rise strictly, also
//     over revocations, and a revocation is not before the last of them. No
//     clock is compared with another node's. Of one minion, so many are issued
//     faster than one a second, and no more: none is good for much longer than
//     the usual time from now.
//  6. What a caller without a certificate can make the cluster store is bounded:
//     a few clones per minion, a few keys per request, two of them from one
//     address, and so many requests, of one address and in all. A request that
//     nobody comes back for ends, and a rejected one makes room for others.
//  7. A node serves nobody before it has read the revocations once.
//  8. A new authority takes the former one's place only while no node is live, by a
//     transaction that compares that. What speaks for the former one, tokens and
//     session tickets, goes in the same transaction; who is enrolled stays so.
//
// # Failures
//
//	etcd does not answer         Join and Renew fail as unavailable, and minions ask again; connections go on,
//	                             checked against the revocations known last
//	two decisions cross          one is made again from what is there then
//	a node's clock is wrong      by more than auth.Skew, its certificates are not good yet, or too short; none
//	                             escapes a revocation
//	the answer is lost           the minion asks again; its key is enrolled
//
// # Not promised
//
// The order in which nodes hear of a revocation, or how soon: as etcd's events
// arrive. The private key of the authority, hashes of tokens and keys of tickets are
// sealed in etcd only where the nodes have a seal key (package sealing).
package registrar
