// Package etcdmembers shows the members of the cluster's own etcd, and takes orders for
// them. Package members has the protocol; here is who asked, and the record of it.
//
// An order is written before it is carried out: that a node is to be a member, or is to
// be none, is a record in etcd, by which the node itself goes on where an answer is lost.
package etcdmembers
