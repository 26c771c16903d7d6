// Package signature is the word of a node for the orders, questions and cancels that it
// sends: what of them it covers, how nodes sign, and how minions check.
//
// # What is signed
//
// The text of an order is its fields that are not zero, in the order of their numbers
// (text.go):
//
//	number  uvarint
//	value   an integer: zigzag varint
//	        a text: its length as uvarint, and its bytes
//	        a list: how many as uvarint, and each
//	        a map: how many as uvarint, and name and value of each, by names
//	        a part with fields of its own: its length in 4 bytes, and its text
//
// So two orders that differ have different texts. Digest is the SHA-256 of the text
// behind "carillon order 1\0". It is the same for all minions of a run. That of a question
// or a cancel is made of the fields that these have, behind "carillon question 1\0" or
// "carillon cancel 1\0". A leaf is
//
//	SHA-256(0 | digest | minion)
//
// and the leaves of what is sent together make a tree, of which a pair of neighbours is
//
//	SHA-256(1 | left | right)
//
// and what has no neighbour goes up as it is. A node signs the root, with the key of the
// certificate by which it speaks to minions and nodes (ECDSA, P-256):
//
//	SHA-256("carillon orders 1\0" | number of leaves, 8 bytes | root)
//
// Each goes with the signature of its root, its place among the leaves, and the
// neighbours on the way up (agentpb.Signature). So one signature costs the same for one
// order and for 17,000.
//
// # Who signs
//
// The node that owns the shard, when its engine sends the order. Who forwards it cannot
// change it, and whom it reaches can tell who has sent it. A run on many minions goes to
// a peer once, with their names: its owner signs the tree of those names, which the peer
// makes again.
//
// # Invariants
//
//  1. What a minion does by an order is covered: task, shard, token, term, names,
//     command, script and steps with their hashes, environment, secrets' places,
//     directory, account, limits, times, subject and author. Not covered is HoldUntil,
//     which each hop brings to the clock of the next one: a relay can make a start fail,
//     or happen after the owner's lease, up to NotAfter, which is covered.
//     All of a question and of a cancel is covered: a question fences former owners, too.
//  2. What is signed is good for the minion whose name is in its leaf, and for no other;
//     an order's signature is none of a cancel, nor the other way round.
//  3. A signature counts by a certificate of the authority that the minion knows, that
//     names a node, is for servers, which no minion's is, and is not past its end by the
//     node's clock.
//  4. An order without NotAfter is refused: it would be good for as long as the
//     certificate is. Questions and cancels have none: a second time they change nothing.
//  5. What says two things says neither: a path that is too long, a place beyond the
//     number of leaves, an empty digest are refused.
//  6. A field that is zero adds nothing. A release that adds a field gives it a new
//     number: orders that do not use it are good at minions that do not know it, and
//     orders that do are refused there instead of started without it.
//
// # Failures
//
//	the node cannot sign        the order goes without a signature, and the node's log says why
//	a certificate was not told  refused: the reason says so; it is told in each session and on each link
//	the minion's clock is off   its node's clock counts, as for NotAfter
//	the authority is new        minions join it by hand, and so do not know certificates of the former one
//
// # Not promised
//
// That an order is new: the same one may come twice, and the journal of the minion starts
// it once. Certificates of nodes are not revoked (see package auth). What else a node says
// to a minion is not signed, as it starts, ends and repeats nothing. Who has the minion's
// session can
//
//	acknowledge     what ended: the minion tells it no more by itself. Who asks is still
//	                told state and exit code, and a copy of the order starts nothing for as
//	                long as the journal is kept; the reason and the kept part of the output
//	                are lost to the record. Of what has not ended it changes nothing. A
//	                report that is kept back, or changed, costs the record as much
//	welcome         with a high epoch or another cluster: the minion then refuses orders of
//	                the real one, as after a restore; removing seen.json cures it. With a wrong
//	                time: it refuses orders as too late, or takes one that is
//	drain, name servers   move the minion to other nodes of this authority
//	ask for output  read it
//	update          nothing: the minion checks the signature of the release
//
// All of this needs the certificate of a node, and a node can order what it likes. The subject is what the cluster knows of who has asked: who can write
// etcd can write another one there.
package signature
