// Package epoch notices that etcd went back.
//
// What etcd holds can be replaced by something older: by a restore of a backup, by a copy
// of a member's disk, by another etcd at the same address. Whoever planned from that would
// run again what has run. So each node and each minion keeps on its own disk how far it has
// seen etcd, a Point, and obeys nothing that is older. Package past, below this one, is the
// side of the nodes, which asks etcd; this one knows no etcd, for minions have none.
//
// # What a Point holds
//
//	Cluster    the cluster's id. It is made with the cluster, and a restore keeps it
//	Epoch      rises with each restore that is made by Carillon
//	Mark       the mod revision of the mark, a key that nodes put now and then
//	Revision   the revision that etcd had
//
// etcd's own cluster id tells nothing: it is made of addresses, and stays. Nor does the
// revision alone: a restore may raise it far beyond what it was (--bump-revision). The keys
// keep their mod revisions then, and so does the mark: it is older than what was seen.
//
// # Verdicts
//
//	fit        etcd is as new as what was seen of it, or newer
//	held       as fit, and the cluster waits for `carillon recover` since a restore
//	restoring  a restore is under way, or was broken off
//	back       the epoch, the mark or the revision is below what was seen
//	other      another cluster, or none
//
// # Invariants
//
//	E1  A point on the disk never goes down, except that another epoch of the same
//	    cluster begins with its own revisions.
//	E2  While etcd is back or other, the node is no member, and plans and takes nothing.
//	E3  While etcd is held or restoring, no shard is taken, by any node: that is compared in
//	    the transaction that takes one, and so is the mark.
//	E4  Back is judged by what a write has answered, which goes through raft: a read may be
//	    late (etcd issue 20418), and no node leaves for that.
//	E5  After another epoch, or once what was back is right again, the node opens anew:
//	    nothing that it has read before counts.
//	E6  A minion starts nothing by an order of an older epoch than it has seen in any order,
//	    question or welcome, and does not work for another cluster.
//
// # Failures
//
//	etcd restored from a snapshot        back, within a second of the connection
//	the same, with --bump-revision       back, by the mark
//	a snapshot younger than the mark     not noticed with --bump-revision: what was lost is
//	                                     less than MarkEvery old. Else by the revision
//	etcd empty, or another prefix        other; the node founds no cluster in its place
//	the node's data directory is lost    it knows nothing, and believes etcd; others do not
//	the file cannot be read              the node does not start, and says which file it is
//	the file cannot be written           logged; what was seen is kept in memory
//
// # Not promised
//
// A node alone whose disk was set back together with etcd notices nothing: the two agree.
// Minions have seen the epoch, not the revision of each write.
package epoch
