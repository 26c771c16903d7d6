// Package sites shows the sites of a cluster, drains them, and tells when one is lost.
//
// A site is a word that nodes and minions say of themselves: a node by --site, a minion by
// its label "site", which is granted as all labels are. It is lost while none of its nodes is
// live and some are known that have not left in order. One node of the cluster, the same that
// sweeps, notes that as one key, with a record in the audit; whoever comes next in its place
// finds the key, and tells nothing twice.
//
// Not promised: that a lost site does nothing. What its nodes and minions may do is fenced by
// leases and tokens, and by nothing here.
package sites
