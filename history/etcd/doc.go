// Package etcd is the history store that needs nothing but etcd. It keeps the
// latest runs of every job, and a bounded number of bytes in all.
//
// # Protocol
//
// Jobs are spread over buckets; all runs of a job lie in one. Records are
// packed: one Append writes one segment per bucket that it touches, and a
// segment is never changed afterwards. Its key tells the bounds of its
// instants, how often it was merged and its length, so a listing of keys says
// what to read and what to merge.
//
//	fresh ──merge──> generation 1 ──merge──> 2 ──merge──> settled ──sweep──> rewritten or gone
//
// A merge takes segments of one generation when there are enough of them. A
// sweep looks at a whole bucket: it drops what no list needs, rewrites segments
// that are mostly garbage, and deletes the oldest when there is too much.
//
//	H1  When Append has returned without error, its records are in etcd.
//	H2  Of several records with one RunID, the one with the highest token is the
//	    one that is read, and of those with one token the one that was appended
//	    last. The revision of its write travels with the record through merges. So
//	    what a former owner appends that was cut off meanwhile never hides what
//	    its successor has recorded.
//	H3  The newest Keep runs of a job of each class (as they should be, bad, not run)
//	    are never dropped, except by age and by the cap on bytes: what did not run
//	    pushes out no failure. That the job was deleted does not matter.
//	    Of what did not run, the ones before the newest Keep become rows: neighbours in
//	    the list of their job, of one cause are one record with a
//	    count, at most history.MaxRow each, of which the newest Keep are kept. Each of
//	    them is found by its RunID still (H7).
//	H4  A transaction that replaces segments compares the mod revision of each,
//	    so segments that somebody else has merged meanwhile are left alone, and
//	    no record is lost or doubled however many nodes collect at once.
//	H5  A reader works on one revision: what is merged meanwhile is seen once.
//	H6  A record's JSON is passed on as it was written; fields that this release
//	    does not know survive. Segments that it cannot read are left alone.
//
//	H7  A row is made in the transaction that takes its members away, and keeps their
//	    instants. It reads as the record of the first. Of the fields that this release
//	    does not know it has the first one's. What is older than Keep others is not
//	    written again: if the first is nevertheless, under a higher token, that record
//	    takes the row's place.
//
//	failure                            what happens
//	a node dies between transactions   the records of those that were committed
//	                                   are there; the sink's caller records again
//	the answer to an Append is lost    the records are appended again, and read once
//	the collector dies                 nothing is half done; another one goes on
//	two nodes collect one bucket       one of the transactions fails its compare
//	nobody collects                    more than Keep runs are kept; etcd fills up
//	the history revision is compacted  the reader lists again
//	during a read
//	a record is larger than a value    output is cut, then tasks; the run's reason
//	may be                             says so
//
// Not promised: that lists hold no more than Keep runs of a job; the collector
// comes by every few seconds.
//
// # Tests
//
// The tests write and compress thousands of records, which the race detector makes
// twenty times slower: a minute and a half on a busy machine, three seconds without it.
package etcd
