// Package fakeetcd is an etcd in memory, for simulations: revisions, ranges,
// transactions, leases and watches as the real one has them, with faults on the
// way to it. It starts no goroutines of its own but through timers, does no
// input or output, and waits on timers and channels only, so that it lives in a
// bubble of testing/synctest and takes no real time.
//
// Clients are the ones of etcd's own client library, from NewClient: only what
// lies below them, the connection, is replaced.
//
// One suite is run against this package and a real server, side by side: the
// fake gives the same answers, revisions and events. What it leaves out: members
// and their elections, authentication, alarms, the streamed Range, and retries
// of reads that the real client does on a connection that is gone.
package fakeetcd
