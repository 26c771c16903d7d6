// Package standby keeps a copy of an active cluster in another one, its standby, which takes
// over when a person decides so.
//
// Both are clusters of their own, each with its nodes and its etcd. The standby follows the
// active cluster through its API: it has a copy, of one revision, that is beside what it has
// of its own (etcdkv.Keys.Copies). Its nodes are held meanwhile, as after a restore (package
// epoch): they take no shard. When it is promoted, the copy is restored in the place of what
// it had (package backup), in a new epoch, and the minions are asked what they have run since
// (package recovery). So the rules of both hold here, too.
//
// # Roles
//
// A cluster's role is what it is held by (etcdkv.HoldState), and is one value in etcd.
//
//	role         hold         what the nodes do                      what comes next
//	alone        none         plan and fire                          carillon standby, or an active that is followed
//	standby      standby      follow, take no shard                  carillon promote; carillon standby stop
//	promoting    restoring,   the copy is put in place; then the     the cluster goes on by itself when all minions
//	             restored     minions are asked                      have answered, or when that is waived
//	handed over  handed over  nothing: a planned switch              carillon demote; carillon recover if nobody took over
//	overtaken    overtaken    nothing: another goes on               carillon demote
//
// # The stream
//
// The answer to POST /v1/mirror is a stream of frames: kind (1 byte), length (4, big-endian),
// payload. Records are those of a backup.
//
//	h  head      JSON: Head. Whether a snapshot follows, or changes after the asked revision
//	r  records   of the snapshot
//	d  done      JSON: Point. The snapshot is whole; changes after it follow
//	c  changes   JSON: Change with its length before it, then for each key a byte (1: put, 0:
//	             deleted) and its record. Whole revisions, but with More
//	p  progress  JSON: Point. Nothing up to that instant is missing
//	e  error     text. The stream ends; Anew: the next one has to be a snapshot
//
// # Invariants
//
//	M1  The copy is of one revision of the active cluster: changes are applied in the order
//	    of revisions, whole revisions in one transaction, together with the cursor. Only a
//	    revision of more keys than a transaction takes is in parts; the cursor says so (Torn).
//	M2  One node writes: each transaction compares the cursor that it has written last.
//	M3  A copy that is whole is there until the next one is whole. One of an earlier time as
//	    a standby, or of another cluster, goes when the cluster becomes a standby.
//	M4  Nothing is written to the copy unless the cluster is held as a standby, by the same
//	    hold: that is compared in each transaction.
//	M5  What lies on leases, the mark and the hold are not copied.
//	M6  Another cluster, another epoch, and a revision that etcd has compacted begin a copy
//	    anew; it never goes on from what it does not continue.
//	M7  An active cluster that hands over writes its last key after its shards were taken from
//	    their owners, in one transaction: a copy that has that key has every commit.
//	M8  A promoted cluster's epoch is above that of the copy, above all that the active
//	    cluster was seen to have, and above its own. Minions that have seen it obey no older
//	    one.
//	M9  Nothing is promoted, handed over or demoted but by somebody's order.
//	M10 A promoted cluster knows its own nodes, and none of the one that it was copied from:
//	    those are not missed, nor are their sites.
//
// # Failures
//
//	the active is not reached        the copy stays as it is, its lag grows, and is told; asked
//	                                 again with growing pauses
//	the node that follows dies       another one goes on from the cursor
//	two nodes follow                 the later one's transactions fail, and it begins again (M2)
//	the promotion is broken off      the hold stays; carillon promote begins it again from the copy, and where
//	                                 no node lives, the next one that starts ends it
//	the active lives, but is not     minions that stay with it go on by its orders until they are
//	reached, and the standby is      told of the later epoch: whoever promotes decides that. Those
//	promoted                         that do not answer are indeterminate, as after any restore
//	the old active comes back        the promoted cluster tells it: it stops, and says by whom it
//	                                 was overtaken (at most once per second is it asked)
//
// # Not promised
//
// Nothing is automatic: of two sites none can tell whether the other is dead or cut off. The
// copy is behind by the lag: definitions of that time are lost with the active site, and fires
// of that time are known from the minions only.
package standby
