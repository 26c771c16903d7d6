// Package overetcd is package client straight over etcd: for programs that have the
// cluster's etcd, also while no node is up.
//
//	c, err := overetcd.Open(ctx, overetcd.Config{Endpoints: []string{"http://etcd1:2379"}})
//	_, err = c.Jobs.Register(ctx, job.Key{Namespace: "default", Name: "nightly"}, spec)
//
// A [Client] has the same parts as one of package client, and each call is checked and
// written as the API of a node does it, in the same transactions: the API runs in this
// process, and its requests go through memory.
//
// # Invariants
//
//	E1  A write passes the same validation as the API's, and is the same transaction:
//	    with its audit record, and with the compares that protect it from others.
//	E2  Who can write etcd may do everything. So rights are not asked for; the audit
//	    has the name that Config.By gives, followed by "(etcd)", which no caller of the
//	    API can have.
//	E3  What is sealed needs the nodes' seal key. Without Config.SealKeyFile it is
//	    neither written nor read: such calls end with an error, and all others work.
//
//	failure                      what happens
//	etcd does not answer         the call ends with an error that wraps job.ErrUnavailable
//	no cluster under the prefix  Open ends with ErrNoCluster: the first node makes it
//	no node is up                jobs and starts are stored, and done once one is up
//
// # Not promised
//
// What only nodes know: runs in flight are listed as missing, output cannot be read, and
// commands of `carillon exec` have nobody who starts them at once. The clock of
// this host counts as that of a node would: keep it right.
package overetcd
