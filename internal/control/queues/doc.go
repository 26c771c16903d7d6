// Package queues is what people ask of queues: to put items, to look, to hold a queue
// back, and what is done to items that failed.
//
// Its invariants:
//
//  1. Items are put only into a queue that is there, takes items, and is as it was when
//     the items were checked: the transaction compares its description.
//  2. Each order is in the audit in a transaction that carries it out; an order to many
//     items in the first of them.
//  3. A queue is deleted only when nothing is in it.
//
// Not promised: that a queue never has more than its maxItems. They are counted before
// items are put, so that several at once may put more.
//
// Not in it: how items are handed out (internal/queues), and how they are kept (queue).
package queues
