// Package carillontest runs a cluster in a test's process: an etcd, a node, and as many
// minions as the test asks for, whose tasks are done by handlers of package handler. All of
// it is gone when the test has ended.
//
//	c := carillontest.Start(t)
//	c.Minion().Work(func(socket string) *handler.Worker { return newWorker(socket) })
//	run := c.Run(job.Key{Namespace: "default", Name: "cleanup"}, nil)
//
// It is the real thing, on ports of loopback that are free, with its data in a directory of
// its own and without fsync: clusters of several tests are in nobody's way, and may run at
// once. One is there within a second or two on an idle machine.
//
// # What differs
//
// Connections within the cluster are plain, so orders are not signed. There is no shim:
// tasks of jobs and queues whose command is a program, and no handler, fail, and say so. To
// see programs run, start `carillon dev --ephemeral` from the test.
//
// For a handler alone no cluster is needed: see package handler/handlertest.
//
// It links the node, etcd and test code: let tests import it, and no program.
package carillontest
