// Package history keeps the records of ended runs. A Store keeps them; a Sink
// stands before it, so that whoever records a run never waits.
//
// # Protocol
//
// A run is handed to Sink.Record together with a function that is called once
// the record is durable, or is known not to be. Until then the fire stays open
// in its slot, so nothing is lost when a node dies with records in memory: the
// next owner resolves the fire again and records it again.
//
//	S1  Record never blocks, and calls done exactly once for every call.
//	S2  done(nil) is called only after Store.Append has returned without error.
//	S3  What waits in memory is bounded, by records and by bytes. Above the
//	    bound a record is refused at once with job.ErrUnavailable.
//	S4  Records of one RunID reach the store in the order in which they came.
//	S5  When Run has returned, every done has been called; from then on Record
//	    refuses.
//
//	failure                       what happens
//	the store cannot answer       the batch is tried again, with growing pauses;
//	                              meanwhile records wait, then are refused (S3)
//	the store refuses the batch   done gets the error; the caller tries again
//	the answer is lost            the batch is written again: Append is idempotent
//	the node dies                 fires are still open in their slots
//
// Not promised: that records of different runs become durable in the order in
// which they were handed over.
package history
