// Package handlertest tests handlers without a cluster: [Run] calls a handler of a
// [handler.Worker] as a minion would, and [Minion] is the minion's side of the socket, for
// programs in any language. [Conforms] holds such a program against the protocol.
package handlertest
