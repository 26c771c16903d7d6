// Package chain seals the records of the audit: it puts their hashes into a chain of
// segments, so that a record that was changed, removed or put among them later is found.
//
//	whoever does something   writes a record in the transaction of what is done
//	sealer                   on one node: new records --> a segment, and the head
//	Verify                   records + segments + head --> what does not fit
//	export                   segment after segment --> a file, a syslog
//
// Records are written without any key in common, so that those who write them do not
// wait for one another. What ties them together comes a moment later.
//
// # States of a record
//
//	written --sealed in a segment--> sealed --its segment is old--> removed with it
//
// # Invariants
//
//	C1. A record is in at most one segment, and its segment has the hash of the bytes
//	    that it was written with, as the sealer saw them.
//	C2. Segment N+1 has the hash of segment N. The head has the number and the hash of
//	    the last segment, and those of the last one that was removed: it is written in
//	    the transaction of each segment that is written or removed.
//	C3. Only who holds the key of the sealer writes: each write compares the grant
//	    (package lock), and the head that it was worked out from. A sealer that stood
//	    still beyond its lease writes nothing.
//	C4. Records are sealed in the order in which etcd took them, however their clocks
//	    go. A record is sealed though it was changed or removed before that, as far as
//	    the sealer has seen it: so Verify tells.
//	C5. Whole segments are removed, the oldest first, with their records: those older
//	    than Config.Keep, or more than Config.MaxBytes. So the chain has no holes. Only a
//	    segment that the chain vouches for is removed by its time; and how much all take
//	    is counted from the segments, whatever the head says.
//	C6. Whoever takes over goes by what is stored: the records that are in no segment
//	    are sealed next. No revision is remembered, so a cluster that was restored from
//	    a backup, or copied key by key, goes on.
//
// # What Verify tells
//
//	a record was changed             its bytes have another hash
//	a record was removed             its segment names it
//	a record was put in later        it is in no segment, or in one that was written
//	                                 long after the record's time, while there is an
//	                                 earlier segment from after it
//	a segment was changed            its hash is another
//	a segment was removed            the next one's, or the head's, number and hash
//	the first segments were removed  the head knows where the chain begins
//	the last ones were               the head knows where it ends
//	the head was changed             its hash, its time and its bytes are those of its
//	                                 segments
//
// # Failures
//
//	the sealer dies, before or      another one goes on when its lease has ended; a
//	after a write                   segment is there with its head, or neither is
//	an answer of etcd is lost       the sealer reads all anew
//	no node seals                   records wait, and Verify says how many
//	a segment was damaged           the chain goes on behind it, and Verify tells
//
// # What is not promised
//
// That who may write etcd cannot write all anew: records, segments and head. The chain
// tells of changes then only together with something that lies elsewhere: the hash of a
// segment, as an export has it (see Verify's expectation). A record that was removed
// before the sealer saw it, a second or so after it was written, is lost without a trace.
package chain
