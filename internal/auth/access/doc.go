// Package access says who may say what on the port of minions and peers: which
// kind of identity may call which method, and send which frame on a stream.
//
// The identity is that of the verified certificate, never what a caller says of
// itself. There are three kinds on this port: a node, a minion, and who shows no
// certificate because it has yet to join. People and programs have no
// certificates; they come over the API, and no row names them.
//
// # Invariants
//
//	A1  What has no row in the table is refused.
//	A2  The table is looked at for every call and every frame that a caller
//	    sends, before any handler sees it.
//	A3  A row without a method or frame, and a method or frame without a row,
//	    keep the node from starting (Check).
//	A4  A caller whose certificate was revoked since its handshake is refused.
//
// A frame of a newer release, which nobody here knows, has no row: it is left
// out, and the stream goes on, as the protocol's compatibility wants it.
//
// What a frame says of its sender by name is held against the certificate by
// those who read it: the minion in hello, and the node in a peer's hello.
//
// # Not promised
//
// That a frame's content is good: see the package that reads it. That a
// connection is closed: a refused call leaves its connection as it is.
package access
