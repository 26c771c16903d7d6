// Package handler is for programs that do the items of queues, and the tasks of jobs, in
// Go. Such a program runs beside a minion, which brings it the work over a socket of the
// host:
//
//	w := handler.New(handler.Config{})
//	handler.Handle(w, "mail", func(ctx context.Context, c *handler.Call, m Mail) error {
//		return send(ctx, m)
//	}, handler.OnQueue("default/mail", 4))
//	err := w.Run(ctx)
//
// A queue whose command is ["go:mail"] has its items done by the handler mail, with their
// payloads as Mail. A job with the command ["go:mail", "{...}"] has its tasks done, with
// its second word as Mail; without one it is the zero Mail.
//
// The program links the standard library and package job only: no node, no minion, no
// etcd. What it says on the socket is on the page docs/handlers.md, for other languages.
//
// # How a call ends
//
//	the handler returns             the task
//	nil                             has succeeded
//	an error                        has failed, and is tried again as the queue or job says
//	[Permanent](err)                has failed for good
//	[Snooze](d)                     of a queue: waits for d, and is tried again; no attempt
//	an error, told to stop          of a queue: is given back at once; no attempt
//	a panic                         has failed, with the stack in its output
//
// The context ends when the call is to end; context.Cause says why: [ErrCancelled],
// [ErrTimeout] or [ErrStopping].
//
// # Invariants
//
//	H1  A call is made once for each attempt of a task. The same task may be called again,
//	    here or elsewhere: what must not happen twice compares Call.Token.
//	H2  Input that is not of T, or has a field that T lacks, is no call: the task has
//	    failed for good, with what is wrong.
//	H3  A panic ends its call, and nothing else.
//	H4  After Run's context has ended no call begins, and those that run have Config.Grace.
//	H5  The connection is made anew whenever it is lost; calls whose connection was lost
//	    have their context end with ErrStopping, and their results count no more.
//
// # Not promised
//
// That a checkpoint is stored when Checkpoint returns: it is with the minion, and
// in the cluster some moments later. Who takes over may get the one before.
package handler
