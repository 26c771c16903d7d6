package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"
)

// network is where the processes are. Apart, each scheduler has a network
// namespace of its own, with an address on a bridge; everything else is on the
// host, which has two addresses on the bridge: etcd has one for itself, so that
// a node can be cut off from etcd alone.
type network struct {
	apart  bool
	subnet string // "10.199.N"
	id     string
	nodes  []string // of namespaces, as far as they exist
}

// newNetwork makes the bridge; namespaces are made when nodes are added.
func newNetwork(ctx context.Context, apart bool) (*network, error) {
	n := &network{apart: apart}
	if !apart {
		return n, nil
	}
	// Who makes the bridge has the number: another run on this machine takes another.
	var err error
	for _, number := range rand.Perm(250) {
		n.subnet, n.id = fmt.Sprintf("10.199.%d", 1+number), fmt.Sprintf("cf%d", 1+number)
		if err = n.ip(ctx, []string{"link", "add", n.bridge(), "type", "bridge"}); err == nil || !strings.Contains(err.Error(), "exists") {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("network (needs root and iproute2): %w", err)
	}
	err = n.ip(ctx,
		[]string{"addr", "add", n.host() + "/24", "dev", n.bridge()},
		[]string{"addr", "add", n.etcd() + "/24", "dev", n.bridge()},
		[]string{"link", "set", n.bridge(), "up"},
	)
	if err != nil {
		n.remove()
		return nil, fmt.Errorf("network (needs root and iproute2): %w", err)
	}
	return n, nil
}

func (n *network) bridge() string { return n.id + "b" }

// host and etcd return addresses of the host; on loopback unless apart.
func (n *network) host() string {
	if !n.apart {
		return "127.0.0.1"
	}
	return n.subnet + ".1"
}

func (n *network) etcd() string {
	if !n.apart {
		return "127.0.0.1"
	}
	return n.subnet + ".2"
}

// node returns the address of scheduler i.
func (n *network) node(i int) string {
	if !n.apart {
		return "127.0.0.1"
	}
	return fmt.Sprintf("%s.%d", n.subnet, 11+i)
}

func (n *network) space(i int) string { return fmt.Sprintf("%sn%d", n.id, i) }

// veth is the host's end of a node's link.
func (n *network) veth(i int) string { return fmt.Sprintf("%sv%d", n.id, i) }

// add makes the namespace of scheduler i.
func (n *network) add(ctx context.Context, i int) error {
	if !n.apart {
		return nil
	}
	n.nodes = append(n.nodes, n.space(i))
	inside := n.id + "i" + fmt.Sprint(i)
	return n.ip(ctx,
		[]string{"netns", "add", n.space(i)},
		[]string{"link", "add", n.veth(i), "type", "veth", "peer", "name", inside},
		[]string{"link", "set", inside, "netns", n.space(i)},
		[]string{"link", "set", n.veth(i), "master", n.bridge()},
		[]string{"link", "set", n.veth(i), "up"},
		[]string{"-n", n.space(i), "addr", "add", n.node(i) + "/24", "dev", inside},
		[]string{"-n", n.space(i), "link", "set", inside, "up"},
		[]string{"-n", n.space(i), "link", "set", "lo", "up"},
	)
}

// inside returns how a program is run in the namespace of scheduler i.
func (n *network) inside(i int, path string, args []string) (string, []string) {
	if !n.apart {
		return path, args
	}
	return "ip", append([]string{"netns", "exec", n.space(i), path}, args...)
}

// remove takes everything down again, whatever there is of it.
func (n *network) remove() {
	if !n.apart {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, space := range n.nodes {
		_ = n.ip(ctx, []string{"netns", "del", space}) // and with it both ends of its link
	}
	_ = n.ip(ctx, []string{"link", "del", n.bridge()})
}

// ip runs ip(8) with each of the arguments, until one fails.
func (n *network) ip(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, "ip", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// cut is a way of cutting a node off.
type cut struct {
	name string
	// etcd: the node loses etcd, and with it its shards.
	etcd bool
	// do and mend are arguments of ip(8).
	do, mend [][]string
}

// cuts returns the ways of cutting scheduler i off. A blackhole route drops what
// goes one way and lets pass what comes the other.
func (n *network) cuts(i int) []cut {
	inside := func(verb, to string) []string {
		return []string{"-n", n.space(i), "route", verb, "blackhole", to + "/32"}
	}
	outside := func(verb string) []string { return []string{"route", verb, "blackhole", n.node(i) + "/32"} }
	all := []cut{
		{"both ways", true, [][]string{{"link", "set", n.veth(i), "down"}}, [][]string{{"link", "set", n.veth(i), "up"}}},
		{"what it sends", true, [][]string{inside("add", n.host()), inside("add", n.etcd())}, [][]string{inside("del", n.host()), inside("del", n.etcd())}},
		{"what is sent to it", true, [][]string{outside("add")}, [][]string{outside("del")}},
		{"from etcd", true, [][]string{inside("add", n.etcd())}, [][]string{inside("del", n.etcd())}},
	}
	peers := cut{name: "from its peers"}
	for j := range schedulerCount {
		if j != i {
			peers.do = append(peers.do, inside("add", n.node(j)))
			peers.mend = append(peers.mend, inside("del", n.node(j)))
		}
	}
	return append(all, peers)
}

// cutScheduler cuts a random scheduler off, for longer than its lease, and
// mends that.
func cutScheduler(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	i := rnd.IntN(schedulerCount)
	p := c.schedulers[i]
	all := c.network.cuts(i)
	how := all[rnd.IntN(len(all))]
	long := between(rnd, stillMin, stillMax)
	c.event("cut %s off %s for %v", p.name, how.name, long)
	if how.etcd {
		c.takeovers.lose(p.name, causePartition)
	}
	if err := c.network.ip(ctx, how.do...); err != nil {
		return err
	}
	c.takeovers.struck(p.name)
	err := sleep(ctx, long)
	mend, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = errors.Join(err, c.network.ip(mend, how.mend...))
	c.takeovers.forgive(p.name)
	return err
}
