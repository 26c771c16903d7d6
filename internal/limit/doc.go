// Package limit bounds how often somebody does something on one node: how many requests
// a caller makes in a second (Rates), how many it has open at a time (Places), and how
// many wrong credentials it shows (Attempts).
//
// What holds:
//
//	L1  What is remembered is bounded, whoever asks and by how many names. Those for
//	    whom there is no room share what one of them may.
//	L2  What one caller does costs another nothing, but for those who share by L1.
//	L3  No call waits, and none looks at more than one caller, but for one look at all
//	    in a second when there is no room.
//
// Not promised: a bound over several nodes. Each counts for itself.
package limit

import "net/netip"

// most bounds how many callers are told apart.
const most = 8192

// Address returns as what an address counts: of IPv6 a whole network of 64 bits, which
// one host may have for itself. What is no address counts as it is.
func Address(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return text
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() && !ip.IsLoopback() {
		if net, err := ip.Prefix(64); err == nil {
			return net.String()
		}
	}
	return ip.String()
}
