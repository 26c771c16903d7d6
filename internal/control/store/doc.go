// Package store is etcd as the use cases of control read and write it: every
// request is bounded in time and in operations, and an error says what was being
// done and whether the cluster cannot answer now (job.ErrUnavailable).
//
// In it: reads of keys, lists of records page by page, transactions that are put
// together step by step (Txn), and a walk over all shards. Not in it: what a
// record means, and which keys there are; the latter is etcdkv's.
//
// A Store may be used by many goroutines at once; a Txn belongs to one.
package store
