// Package update updates the minions of a cluster to a release. A plan and how
// far it has come are two keys in etcd; package release says what a plan is, and
// decides whom to tell.
//
//	operator     writes the plan (signed manifest, groups)
//	controller   on one node: inventory + plan + state --> whom to tell --> state
//	every node   plan + state --> tells its own minions that are under way
//	minion       facts: what it has, what it gave up --> inventory of every node
//
// # Invariants
//
//	U1. A minion is told only after it was durable that it is (State.Since). So
//	    whoever plans next counts it, and it is told again in each session until
//	    it is healthy or has failed.
//	U2. A state is written only over the state and the plan that it was worked
//	    out from. Two nodes that look after the plan at once tell nobody twice
//	    and no more than may be.
//	U3. A failure is durable before anybody is told after it. It is taken back
//	    only by the minion itself, when it is connected with the release.
//	U4. Nothing is planned before all minions, their places and the groups of
//	    hosts have been read: a minion that is not known holds no plan up.
//
// Nodes do not verify the manifest. They need no keys, and who takes a node over
// can make minions do no more than refuse.
//
// # Failures
//
//	node that looks after it dies    another one goes on from the two keys
//	etcd does not answer             nobody new is told; those under way come on
//	node of a minion dies            the minion is told again by the next one
//	minion is forgotten by an        it is under way until the plan's patience ends,
//	operator while under way         and then nobody's
//	target cannot be read any more,  nobody new is told, and the status says why
//	as when a group of hosts is gone
//	plan is replaced, same release   failures and who is under way stay
//	plan is replaced otherwise, or   all begin anew; who was told of the former
//	started after it was stopped     one may come to it
//
// # What is not promised
//
// That a minion which was told of a plan that is stopped does not come to its
// release. That patience is exact: it goes by the clock of the node that looks
// after the plan.
package update
