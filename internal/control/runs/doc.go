// Package runs shows runs: pages of them, one of them at every moment of its life
// (a start that waits, in flight, ended), what its tasks wrote, and its results as
// they come.
//
// Not in it: starting and cancelling runs (see starts).
package runs
