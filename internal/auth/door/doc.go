// Package door bounds the connections that a server holds, so that strangers
// cannot use up the process's files, which etcd and the node itself need.
//
// Who connects is a stranger until it has shown a certificate, and a member from
// then on. On a port without certificates everybody stays a stranger.
//
// # Invariants
//
//	D1  There are never more than Strangers connections of strangers, nor more
//	    than PerAddress from one address. An IPv6 network of 64 bits counts as
//	    one address.
//	D2  At a bound a newcomer takes the place of a stranger that has said
//	    nothing for Grace; where there is none, the newcomer is refused. In all,
//	    the place is taken from the address that holds the most.
//	D3  A stranger's connection ends after Life, whatever it does.
//	D4  Members count for none of these. There are at most Members of them, and
//	    a minion that opens more than PerMinion loses its oldest connection.
//	D5  New strangers of one address come at PerSecond, after a burst of
//	    PerAddress. Who shows a certificate does not count: a whole fleet may
//	    come from one address.
//	D6  End closes every connection of an identity; one that is in its
//	    handshake meanwhile is closed when it shows its certificate.
//	D7  On a port of requests (Whole) only a whole request counts as said: for
//	    D2, who sends heads or bodies byte by byte is silent.
//	D8  A connection of which a request is answered keeps its place, and it may
//	    have several at a time.
//
// # The numbers
//
// The bounds are for who makes a Door: a node divides what the limit of open files
// leaves when twice the files that it has open itself at its start, and 256 more,
// are set aside. Why so many is told, with what was measured, where it is done
// (internal/app); a test holds it against a node at work.
//
// # Not promised
//
// That a fleet can connect from the address of a flood while that lasts: its new
// connections compete with the flood's, the ones that are open go on. That who
// asks whole questions and listens to long answers leaves room for others at its
// own address.
package door
