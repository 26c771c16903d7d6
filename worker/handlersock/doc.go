// Package handlersock lets processes of a minion's host do its tasks, in whatever language
// they are written: they connect to a Unix socket, say which handlers they have, and get
// one line for each task (package handler/protocol, docs/handlers.md).
//
//	order go:mail --> worker.Handler (Server.Handler) --> connection --> process
//
// # Invariants
//
//	S1  A connection is served whose peer, as the kernel names it, is root, the minion's
//	    account or in the socket's group. The file's mode keeps others out before.
//	S2  A task goes to one connection, once. Results count from that connection only, and
//	    only while the task is open on it.
//	S3  A task whose connection has ended is indeterminate (worker.ErrGone): it is known
//	    neither that it was done, nor that it was not.
//	S4  No process gets another's secrets: it gets the environment that the order gives,
//	    as a command would, but for what the minion finds out of secrets, which no
//	    handler gets.
//	S5  What processes say is bounded: MaxLine a line, MaxConns connections, MaxHandlers
//	    handlers each. One that says what is not in the protocol is refused, with the
//	    reason, and its connection ends.
//	S6  The queues that connected processes offer to work on are the minion's offers for
//	    as long as they are connected, and have not said bye.
//
//	failure                           what happens
//	a process dies amid a task        S3
//	it does not read                  after WriteTimeout its connection ends
//	it does not end when told to      the minion goes on after EndWait; what it says then
//	                                  counts no more
//	no process has the handler        the item goes back to its queue; a task of a job fails
//	the minion stops                  tasks are cancelled with the cause "stopping"
package handlersock
