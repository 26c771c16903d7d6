// Package doctor looks for what is wrong with a cluster, or will soon be: etcd, nodes
// and their clocks, shards and groups, minions and certificates, jobs and runs, an
// update. Each finding says what mends it.
//
// Not in it: mending. It reads, and writes nothing.
package doctor
