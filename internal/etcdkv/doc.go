// Package etcdkv is the only place that spells Carillon's keys in etcd and the
// bytes of their values.
//
// # Keys
//
// All keys lie under a configurable prefix and the version of the layout:
//
//	PREFIX/v1/meta                            the cluster: id, epoch, number of shards
//	PREFIX/v1/epoch/mark                      put now and then, so that it is noticed when etcd goes back
//	PREFIX/v1/epoch/hold                      no shard may be taken, since a restore
//	PREFIX/v1/members/NODE                    a live node, on its lease
//	PREFIX/v1/jobs/SHARD/NS/NAME              a job
//	PREFIX/v1/owners/SHARD                    who owns the shard, on the owner's lease
//	PREFIX/v1/shards/SHARD/state              how far the shard's fires are committed
//	PREFIX/v1/shards/SHARD/slots/SLOT         committed fires that are not all resolved
//	PREFIX/v1/shards/SHARD/triggers/ID        a start that somebody asked for
//	PREFIX/v1/shards/SHARD/deleted/JOB        a deleted job, while runs of it may be open
//	PREFIX/v1/edits/jobs/SHARD                put with each edit of when a job is due, and each deletion
//	PREFIX/v1/edits/{pauses,groups}           put with each change of these
//	PREFIX/v1/wishes/RUN/KIND                 what somebody wants of an open run
//	PREFIX/v1/scripts/NS/NAME/VERSION         a version of a script
//	PREFIX/v1/jobsecrets/NS/NAME              a secret that jobs name, sealed to minions: no node can open it
//	PREFIX/v1/scriptheads/NS/NAME             the newest version of a script
//	PREFIX/v1/scriptuses/NS/NAME              written when a job comes to name a script
//	PREFIX/v1/blobs/SHA256                    the text of a script
//	PREFIX/v1/passing/ID                      a job that was made for one run only
//	PREFIX/v1/update/{plan,state}             how minions are updated
//	PREFIX/v1/locks/NS/NAME/...               locks for users
//	PREFIX/v1/marks/LEASE/ID                  a write that was given up, on its session's lease
//	PREFIX/v1/presence/NODE/BUCKET            minions connected to a node, on its lease
//	PREFIX/v1/minions/ID                      a minion's word: labels that it asks for, facts
//	PREFIX/v1/grants/ID                       the labels that a minion has been granted
//	PREFIX/v1/runs/BUCKET/SEGMENT             packed run records
//	PREFIX/v1/queues/NS/TYPE/...              typed task queues
//	PREFIX/v1/queuefires/NS/TYPE/ITEM         what became of occurrences that queues do
//	PREFIX/v1/plans/NS/UPSTREAM/ID            plans that were accepted
//	PREFIX/v1/plandata/UID/...                their tasks, and what became of them
//	PREFIX/v1/planstaging/UID                 tasks that are no plan yet, or no more
//	PREFIX/v1/shared/runs/SHARD/FIRE          what the tasks of an open run share
//	PREFIX/v1/shared/jobs/JOB                 what all runs of a job share
//	PREFIX/v1/audit/TIME-ID                   what somebody did
//	PREFIX/v1/auditchain/segments/SEQ         which records there are, with their hashes
//	PREFIX/v1/auditchain/head                 where the segments begin and end
//	PREFIX/v1/auditchain/sealer               who writes them, on its lease
//	PREFIX/v1/seal/state                      by which key secrets of the cluster's own are sealed
//	PREFIX/v1/seal/holders/NODE               which seal keys a live node has, on its lease
//	PREFIX/v1/auth/ca                         the cluster's authority, with its private key
//	PREFIX/v1/auth/tickets                    keys of TLS session tickets
//	PREFIX/v1/auth/tokens/ID                  a join token, without its secret
//	PREFIX/v1/auth/minions/ID                 an enrolled minion
//	PREFIX/v1/auth/requests/ID                a minion that asks to be enrolled
//	PREFIX/v1/auth/revoked/ID                 up to when a minion's certificates are revoked
//
// Some values have a field that is sealed with a key that etcd does not hold: see
// Keys.Secrets and package sealing.
//
// Numbers in keys are zero-padded hexadecimal, so that keys sort as numbers do.
// A job's shard is a pure function of its namespace and name: see Keys.Shard.
//
// # Views
//
// A View is a prefix listed at one revision and watched from the next. After a
// compaction it lists again and works out the difference, deletions included.
package etcdkv
