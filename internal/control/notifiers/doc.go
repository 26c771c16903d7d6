// Package notifiers shows, deletes and tries the notifiers of a cluster, and has alerts sent
// again. What delivers alerts is package notify; what makes notifiers is package apply.
//
// What holds: a notifier goes with its notes and deliveries, in one transaction with the
// audit record. A delivery is sent again only if it is settled; who wants that is recorded
// in the same transaction. A test sends one message from the node that is asked, and stores
// nothing but who asked.
package notifiers
