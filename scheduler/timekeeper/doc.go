// Package timekeeper has a node's clock compared with those of others, and says
// whether the node may go by it (I27 of package scheduler).
//
// In it: asking each live peer for its time, taking what is known of minions' clocks,
// and having package clock judge by both: every few seconds, and at once when the wall
// clock has stepped or the machine was suspended. What has changed is logged and told
// to whoever has to look at ownership anew.
//
// Not in it: how readings become a verdict and what time the node goes by (package
// clock), how a clock is read over the network (the Clocks that it is given), and what
// a node does that is not fit: the engine's part.
package timekeeper
