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
//
// # Not promised
//
// That a fleet can connect from the address of a flood while that lasts: its new
// connections compete with the flood's, the ones that are open go on.
package door
