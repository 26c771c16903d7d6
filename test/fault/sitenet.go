package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

// siteNet is a network of sites. Each site is a network namespace with a switch of its
// own, which leads to its gateway, another namespace. At the gateway of a site proxies
// answer in the place of the nodes of the others, and hold back what passes between two
// sites: there is no other way between them. To cut a site off, the addresses of the
// others are taken from its gateway, and its own from theirs: what is sent to them is
// dropped without a word, as a wire does that is cut.
type siteNet struct {
	id     string
	number int
	made   []string // namespaces

	mu sync.Mutex // guards what follows
	// proxies are by the site at whose gateway they are, and then by the site of the
	// target.
	proxies [siteCount][siteCount][]*netproxy.Proxy
	// watched are connections of the one who looks on, by their sites; away are those
	// that are cut off, which he does not see either.
	watched map[net.Conn]int
	away    [siteCount]bool
}

const (
	siteCount = 3
	siteNodes = 2 // in each site
	// apartBy is how long what passes from one site to another is held back.
	apartBy = 10 * time.Millisecond
)

func (n *siteNet) space(site int) string { return fmt.Sprintf("%ss%d", n.id, site) }
func (n *siteNet) gate(site int) string  { return fmt.Sprintf("%sg%d", n.id, site) }

// addr is host number i of a site: the first is the gateway, nodes follow.
func (n *siteNet) addr(site, i int) string {
	return fmt.Sprintf("10.198.%d.%d", n.number, 32*(site+1)+1+i)
}

func (n *siteNet) node(site, i int) string { return n.addr(site, 1+i) }

// newSiteNet makes the namespaces and their links.
func newSiteNet(ctx context.Context) (*siteNet, error) {
	n := &siteNet{watched: map[net.Conn]int{}}
	err := errors.New("no number is free")
	for _, number := range rand.Perm(250) {
		n.number, n.id = 1+number, fmt.Sprintf("cs%d", 1+number)
		// Who makes the first namespace has the number.
		if err = runIP(ctx, "netns add "+n.space(0)); err == nil || !strings.Contains(err.Error(), "exists") {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("network of sites (needs root and iproute2): %w", err)
	}
	for site := range siteCount {
		if err := n.makeSite(ctx, site); err != nil {
			n.remove()
			return nil, fmt.Errorf("network of sites (needs root and iproute2): %w", err)
		}
	}
	return n, nil
}

func (n *siteNet) makeSite(ctx context.Context, site int) error {
	space, gate, out, in := n.space(site), n.gate(site), fmt.Sprintf("%so%d", n.id, site), fmt.Sprintf("%si%d", n.id, site)
	n.made = append(n.made, space, gate)
	if site > 0 {
		if err := runIP(ctx, "netns add "+space); err != nil {
			return err
		}
	}
	lines := []string{"netns add " + gate, "link add " + out + " type veth peer name " + in, "link set " + in + " netns " + space, "link set " + out + " netns " + gate}
	if err := runIP(ctx, lines...); err != nil {
		return err
	}
	inside := []string{"link set lo up", "link set " + in + " up"}
	for i := range siteNodes {
		inside = append(inside, "addr add "+n.node(site, i)+"/27 dev "+in)
	}
	inside = append(inside, "route add default via "+n.addr(site, 0))
	if err := runIPIn(ctx, space, inside...); err != nil {
		return err
	}
	if err := runIPIn(ctx, gate, "link set lo up", "link add switch type bridge", "link set switch up", "link set "+out+" master switch", "link set "+out+" up",
		"addr add "+n.addr(site, 0)+"/27 dev switch"); err != nil {
		return err
	}
	return n.roads(ctx, site, "add", n.others(site))
}

// others are the other sites.
func (n *siteNet) others(site int) []int {
	var out []int
	for s := range siteCount {
		if s != site {
			out = append(out, s)
		}
	}
	return out
}

// roads adds or deletes, at the gateway of a site, the addresses of the nodes of others.
func (n *siteNet) roads(ctx context.Context, site int, verb string, to []int) error {
	var lines []string
	for _, s := range to {
		for i := range siteNodes {
			lines = append(lines, "addr "+verb+" "+n.node(s, i)+"/32 dev lo")
		}
	}
	return runIPIn(ctx, n.gate(site), lines...)
}

// join has the ports of a site's node answered at the gateways of the others.
func (n *siteNet) join(site, node int, ports ...int) error {
	for _, other := range n.others(site) {
		for _, port := range ports {
			at := net.JoinHostPort(n.node(site, node), strconv.Itoa(port))
			ln, err := inSpace(n.gate(other), func() (net.Listener, error) { return net.Listen("tcp", at) })
			if err != nil {
				return fmt.Errorf("proxy to %s: %w", at, err)
			}
			p := netproxy.Between(ln, func() (net.Conn, error) { return n.dialAt(site, at) })
			p.Delay(apartBy)
			n.mu.Lock()
			n.proxies[other][site] = append(n.proxies[other][site], p)
			n.mu.Unlock()
		}
	}
	return nil
}

// dialAt connects to an address from inside a site.
func (n *siteNet) dialAt(site int, addr string) (net.Conn, error) {
	return inSpace(n.space(site), func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) })
}

// dial connects the one who looks on, who is in each site that is not cut off.
func (n *siteNet) dial(_ context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	site := n.siteOf(host)
	if site < 0 {
		return nil, fmt.Errorf("%s is in no site", addr)
	}
	if n.isAway(site) {
		return nil, fmt.Errorf("%s is cut off: %w", addr, syscall.ECONNREFUSED)
	}
	conn, err := n.dialAt(site, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched[conn] = site
	return conn, nil
}

func (n *siteNet) siteOf(host string) int {
	for site := range siteCount {
		for i := range siteNodes {
			if n.node(site, i) == host {
				return site
			}
		}
	}
	return -1
}

func (n *siteNet) isAway(site int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.away[site]
}

// between calls fn with the proxies between a site and the others, both ways.
func (n *siteNet) between(site int, fn func(*netproxy.Proxy)) {
	for _, other := range n.others(site) {
		for _, p := range append(n.proxies[site][other], n.proxies[other][site]...) {
			fn(p)
		}
	}
}

// cut cuts a site off.
func (n *siteNet) cut(ctx context.Context, site int) error {
	n.mu.Lock()
	n.away[site] = true
	n.between(site, (*netproxy.Proxy).Blackhole)
	for conn, of := range n.watched {
		if of == site {
			_ = conn.Close()
			delete(n.watched, conn)
		}
	}
	n.mu.Unlock()
	return n.allRoads(ctx, site, "del")
}

// mend brings a site back. What was under way is lost: connections that stood still are
// closed, which tells those of both sides that still hold on to them.
func (n *siteNet) mend(ctx context.Context, site int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := n.allRoads(ctx, site, "add"); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[site] = false
	n.between(site, func(p *netproxy.Proxy) {
		p.Drop()
		p.Heal()
		p.Delay(apartBy)
	})
	return nil
}

func (n *siteNet) allRoads(ctx context.Context, site int, verb string) error {
	errs := []error{n.roads(ctx, site, verb, n.others(site))}
	for _, other := range n.others(site) {
		errs = append(errs, n.roads(ctx, other, verb, []int{site}))
	}
	return errors.Join(errs...)
}

// remove takes everything down again, whatever there is of it.
func (n *siteNet) remove() {
	n.mu.Lock()
	for conn := range n.watched {
		_ = conn.Close()
	}
	proxies := n.proxies
	n.mu.Unlock()
	for _, row := range proxies {
		for _, list := range row {
			for _, p := range list {
				p.Close()
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, space := range n.made {
		_ = runIP(ctx, "netns del "+space)
	}
}

// inSpace calls fn in a network namespace. Its thread goes back then: it must not end, for
// processes that were started from it would be killed with it.
func inSpace[T any](space string, fn func() (T, error)) (out T, err error) {
	runtime.LockOSThread()
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return out, fmt.Errorf("own network: %w", err)
	}
	defer func() { _ = unix.Close(here) }()
	there, err := unix.Open("/run/netns/"+space, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer func() { _ = unix.Close(there) }()
		err = unix.Setns(there, unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return out, fmt.Errorf("network %s: %w", space, err)
	}
	out, err = fn()
	if back := unix.Setns(here, unix.CLONE_NEWNET); back != nil {
		return out, errors.Join(err, fmt.Errorf("back from network %s: %w", space, back)) // nothing else may run there
	}
	runtime.UnlockOSThread()
	return out, err
}

// runIP runs lines of ip(8), until one fails.
func runIP(ctx context.Context, lines ...string) error {
	return runBatch(ctx, nil, lines)
}

// runIPIn is runIP in a namespace.
func runIPIn(ctx context.Context, space string, lines ...string) error {
	return runBatch(ctx, []string{"-n", space}, lines)
}

func runBatch(ctx context.Context, args, lines []string) error {
	cmd := exec.CommandContext(ctx, "ip", append(args, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", lines, err, bytes.TrimSpace(out))
	}
	return nil
}
