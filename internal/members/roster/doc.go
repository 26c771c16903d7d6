// Package roster is who the members of the cluster's own etcd are, as etcd tells it, and
// what an operator may have done with them. It speaks to members, and runs none: package
// members does that, and says what is promised.
package roster
