// Package roles shows and deletes roles and bindings, and reads them as they are
// stored for what makes new ones.
//
// In it: the roles that every cluster has, beside those that were made; which bindings
// stand in the way of a deletion. Not in it: what a role allows (internal/rights), and
// who may do what now (internal/control/policy).
//
// Nobody takes away more than they hold either: a binding, and what a role gives to who
// has it, is changed by who has all that it gives.
//
// Every change of a role or a binding compares, and puts, one key: whether it gives
// more than its author holds depends on all of them.
package roles
