package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Rules say what may be called. The zero value allows all but what invariant 2 refuses.
type Rules struct {
	names    []string // lower case; one that begins with a dot stands for what is below it
	prefixes []netip.Prefix
	// own returns the addresses of this host, which change; nil: they are not looked at.
	own func() ([]netip.Addr, error)
}

// ParseRules reads an allow-list: names, *.NAME for all names below one, addresses and
// ranges. The error names everything in it that is none of these.
func ParseRules(list []string) (Rules, error) {
	var r Rules
	var errs []error
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			r.prefixes = append(r.prefixes, p.Masked())
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.Zone() == "" {
			a = a.Unmap()
			r.prefixes = append(r.prefixes, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		name, below := strings.CutPrefix(text, "*.")
		if !isName(name) {
			errs = append(errs, fmt.Errorf("%q is no host; give a name, *.NAME, an address or a range, as in hooks.example.org, *.example.org, 10.1.2.3 or 10.0.0.0/8", text))
			continue
		}
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if below {
			name = "." + name
		}
		r.names = append(r.names, name)
	}
	return r, errors.Join(errs...)
}

func isName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range label {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}

// hostAddresses returns the addresses of the host's interfaces.
func hostAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	return out, nil
}

func (r *Rules) anything() bool { return len(r.names) == 0 && len(r.prefixes) == 0 }

// name reports whether the list has a host's name.
func (r *Rules) name(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, n := range r.names {
		if n == host || strings.HasPrefix(n, ".") && strings.HasSuffix(host, n) {
			return true
		}
	}
	return false
}

// address returns nil if an address may be connected to that host was resolved to.
func (r *Rules) address(host string, addr netip.Addr) error {
	addr = within(addr.WithZone("").Unmap())
	listed, narrow := false, false
	for _, p := range r.prefixes {
		if p.Contains(addr) {
			listed = true
			narrow = narrow || addr.Is4() && p.Bits() >= 8 || addr.Is6() && p.Bits() >= 16
		}
	}
	why := special(addr)
	if why == "" && !narrow && r.own != nil {
		own, err := r.own()
		switch {
		case err != nil:
			return &RefusedError{Host: host, Reason: "the addresses of this host, which are not called, cannot be read: " + err.Error()}
		case slices.Contains(own, addr):
			why = "an address of this host"
		}
	}
	switch {
	case why != "" && !narrow:
		return &RefusedError{Host: host, Reason: fmt.Sprintf("%s is %s; the node's setting egress.allow has to name it", addr, why)}
	case listed || r.anything() || r.name(host):
		return nil
	}
	return &RefusedError{Host: host, Reason: "the node's setting egress.allow names neither it nor " + addr.String()}
}

// RefusedError is a call that the rules forbid. Nothing was sent.
type RefusedError struct{ Host, Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not called: %s", e.Host, e.Reason) }

// reserved are ranges besides those that netip knows.
var reserved = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this host"},
	{netip.MustParsePrefix("100.100.100.200/32"), "where a cloud serves credentials"},
	{netip.MustParsePrefix("168.63.129.16/32"), "where a cloud serves credentials"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	// Which of its bits are the address of IPv4 is each network's own to say.
	{netip.MustParsePrefix("64:ff9b:1::/48"), "translated to an address of IPv4"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "where a cloud serves credentials"},
	{netip.MustParsePrefix("fd20:ce::/32"), "where a cloud serves credentials"},
	{netip.MustParsePrefix("fec0::/10"), "reserved"},
}

// special says why an address is no place to call; empty: it may be one.
func special(a netip.Addr) string {
	switch {
	case a.IsLoopback(), a.IsUnspecified():
		return "an address of this host"
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast(), a.IsInterfaceLocalMulticast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	}
	for i := range reserved {
		if reserved[i].prefix.Contains(a) {
			return reserved[i].why
		}
	}
	return ""
}

// The ranges of IPv6 that stand for addresses of IPv4.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	// compatible is the long outdated way to write IPv4 in IPv6.
	compatible = netip.MustParsePrefix("::/96")
)

// within returns the address of IPv4 that one of IPv6 leads to; else the address itself.
func within(a netip.Addr) netip.Addr {
	if !a.Is6() || a.IsLoopback() || a.IsUnspecified() {
		return a
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), compatible.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}
