// Package minions is what people see of minions and change on them: which there
// are, one of them in full, which labels are granted, which of them a target
// expression selects, the saved groups of hosts, and what is on its way to them.
//
// Not in it: who may connect (see enroll), which release they run (see updates).
package minions
