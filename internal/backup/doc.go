// Package backup takes what etcd holds of a cluster out into a file, and puts it back.
//
// # The file
//
//	magic      "CARILLON-BACKUP\n"
//	header     length (4 bytes), JSON: Header
//	chunk      length (4), SHA-256 of what follows, gzip of records
//	...
//	end        length 0
//	trailer    length (4), JSON: Trailer, with the SHA-256 of all bytes before the end
//
// Numbers are big-endian. A record is the key without the prefix, the create and the mod
// revision, and the value. The whole file may be encrypted with age. It belongs to no
// release of etcd: it is put into any prefix of any etcd of version 3.
//
// # Invariants
//
//	B1  A file holds the keys of one revision: a transaction is in it whole, or not at all.
//	B2  A file is there under its name only when it is whole and on the disk; only its
//	    owner can read it.
//	B3  What is cut short or changed is found out before the first key is put: a file is
//	    read to its end first.
//	B4  What lies on a lease is left out: who held it is gone. So are the mark and the hold.
//	B5  Nothing is put into a prefix that holds anything, but with Replace, and then only
//	    while no node lives there; or in place of a standby, whose nodes have no shards.
//	B6  From the first put to the last no node founds a cluster in the prefix, or takes a
//	    shard: the hold is the first key, the description of the cluster the last.
//	B7  The epoch of what was restored is above that of the backup, and above that of what
//	    was replaced.
//	B8  What is stored of revisions is translated, for etcd's are others now: a job that
//	    was known when its shard was committed last is known then, and one that was not is
//	    not (ShardState.JobsRev); of two records of a run the newer stays so, and one that
//	    is written from now on is newer than both.
//
// # Failures
//
//	a page is compacted away meanwhile    the backup begins again, three times at most
//	the restore is broken off             the hold stays: begin again, with Replace
//	two restores at once                  the second finds the hold of the first, and stops
//	the disk is full                      the file that was begun is removed, and the error told
//
// # Not promised
//
// What follows a watched key of others (job.Watch) begins at the restore: changes before
// are not told. Sessions, locks and places in queues end with their leases.
package backup
