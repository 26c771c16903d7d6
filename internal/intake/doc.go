// Package intake takes plans and queries of upstream systems that do not speak HTTP, and sends
// them to the API: files that appear in a directory, and documents over TCP.
//
//	DIR/close.xml              renamed into the directory by the upstream, then
//	DIR/.close.xml.sending     while it is sent
//	DIR/close.xml.receipt.xml  the receipt, and the file becomes close.xml.accepted or .refused
//	DIR/close.xml.report.xml   what becomes of the plan, written anew as it goes on
//
// Over TCP a connection has one document, which ends where its sender ends its side, and gets one
// receipt, or report where it was a query.
//
// # What holds
//
//	I1  Whatever comes in is sent with the rights of who runs this, and checked by the API as all
//	    else is.
//	I2  A file is renamed only after its receipt or report is there. So one is sent again where
//	    this ended in between, which is safe: a plan is recognised.
//	I3  Receipts and reports appear whole: they are written beside, and renamed.
//	I4  No link is followed, and only regular files are read. A directory that any account of the
//	    host may write to is refused, at each look.
//	I5  Connections, and what they may take, are bounded, in all and for each address. A sender
//	    or reader is waited for only as long as it goes on.
//	I6  What is renamed as sent is what was sent: a file has a name of its own from before it is
//	    read. One of the same name that comes meanwhile is sent after it.
//
//	failure                        what happens
//	the API does not answer        files stay (.NAME.sending), and are sent again after pauses that grow; over
//	                               TCP the receipt says again
//	a plan is refused              its receipt has all errors; the file is NAME.refused
//	a report cannot be had         it is tried again at the next look
//	the sender's side does not end the connection is closed after a while without a receipt
//
// # Not promised
//
// That a file which is written in place, and not renamed into the directory, is read whole.
package intake
