// Package egress is how a node calls addresses that somebody else has chosen: receivers of
// alerts, callbacks of plans. Whoever may write such an address must not reach with it what
// only the node can reach.
//
// # Invariants
//
//  1. The address that is connected to is checked after the name was resolved, on the very
//     socket that connects. A name that resolves otherwise the second time gains nothing.
//  2. Loopback, link-local, multicast, unspecified and reserved addresses, those of the
//     host's own interfaces, and those at which clouds serve the credentials of a machine, are refused, also when they are
//     written as IPv4 in IPv6 (mapped, NAT64, 6to4). Only a range of the allow-list that
//     is as narrow as /8 (IPv4) or /16 (IPv6) and covers the address opens it; a name
//     never does.
//  3. Where the allow-list is not empty, nothing else is called.
//  4. A redirect is an answer, and is not followed. No proxy of the environment is used: it
//     would resolve the name itself.
//  5. Of an answer AnswerBytes are read, and a call ends after its timeout, whatever the
//     other side does.
//
// # Not promised
//
// Private networks (10.0.0.0/8 and so on) are not refused: mail servers and alert managers
// live there. Who wants that gives an allow-list.
package egress
