// Package updates is what operators ask for to bring minions to another release:
// to start, pause, go on with and stop an update, and how far it is.
//
// Not in it: which minion is told next; that is internal/update's, and the node's
// controller does it.
package updates
