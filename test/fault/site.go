package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/testkit/reap"
	"github.com/carillon-cron/carillon/job"
)

// Scenario site: three sites of two nodes and three minions each, with default settings.
// The first node of each site is a member of the cluster's own etcd. A site is cut off, or
// all of its nodes and minions are killed at once, and nobody hears of that; then it comes
// back. rto_ms is how long it takes from the loss to the first run that a new owner starts
// of a job whose owner was lost: each job is due every second.

const (
	siteScenario = "site"
	siteWorkers  = 3 // in each site
	// A site stays away for longer than its nodes' leases last.
	siteAwayMin, siteAwayMax = 10 * time.Second, 12 * time.Second

	causeSite cause = "site" // a whole site is lost
)

// Ports are free in namespaces of one's own.
const (
	siteAPI, sitePeer, siteEtcd, siteRaft = 8420, 7420, 7479, 7480
)

// siteNames are what the nodes of the sites are told.
func siteNames() [siteCount]string { return [siteCount]string{"east", "north", "west"} }

// siteFaults are what may happen to a site.
func siteFaults() []fault {
	return []fault{
		func(ctx context.Context, c *cluster, rnd *rand.Rand) error { return c.loseSite(ctx, rnd, false) },
		func(ctx context.Context, c *cluster, rnd *rand.Rand) error { return c.loseSite(ctx, rnd, true) },
	}
}

// newSites lays out a cluster in a network of sites; nothing runs yet.
func newSites(dir, bin string, keep int, n *siteNet, died func(error), out io.Writer) (*cluster, error) {
	c := &cluster{
		own: true, sites: n, dir: dir, bin: bin, begun: time.Now(), out: out, api: newAPI(), takeovers: newTakeovers(), network: &network{}, freePorts: func() {},
	}
	c.takeovers.ttl = defaultTTL
	newProcess := func(site int, name, program string, args ...string) *process {
		args = append([]string{"netns", "exec", n.space(site), filepath.Join(bin, program)}, args...)
		return &process{name: name, path: "ip", args: args, log: filepath.Join(dir, name+".log"), died: died}
	}
	for i := range siteCount * siteNodes {
		site, number := i%siteCount, i/siteCount
		at := func(port int) string { return net.JoinHostPort(n.node(site, number), strconv.Itoa(port)) }
		if err := n.join(site, number, siteAPI, sitePeer, siteEtcd, siteRaft); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("s%d", i+1)
		c.api.nodes, c.peers = append(c.api.nodes, "https://"+at(siteAPI)), append(c.peers, at(sitePeer))
		if number == 0 {
			c.endpoints = append(c.endpoints, "https://"+at(siteEtcd))
		}
		args := append([]string{
			"--node", name, "--site", siteNames()[site], "--listen", at(siteAPI), "--peer-listen", at(sitePeer), "--shards", strconv.Itoa(shardCount), "--access", "open",
			"--data-dir", filepath.Join(dir, name), "--history-per-job", strconv.Itoa(keep), "--open-api",
		}, c.ownArguments(i, at(siteEtcd), at(siteRaft))...)
		c.schedulers = append(c.schedulers, newProcess(site, name, "scheduler", args...))
	}
	for i := range siteCount * siteWorkers {
		name := fmt.Sprintf("w%d", i+1)
		c.workers = append(c.workers, newProcess(i%siteCount, name, "worker", "--id", name, "--servers", strings.Join(c.peers, ","), "--data-dir", filepath.Join(dir, name)))
	}
	c.api.watch(n.dial, len(c.schedulers))
	c.dial = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, "tcp", addr) })}
	return c, nil
}

// siteProcesses are the nodes and the minions of a site.
func (c *cluster) siteProcesses(site int) (nodes, minions []*process) {
	for i, p := range c.schedulers {
		if i%siteCount == site {
			nodes = append(nodes, p)
		}
	}
	for i, p := range c.workers {
		if i%siteCount == site {
			minions = append(minions, p)
		}
	}
	return nodes, minions
}

// siteLoss is a site that was lost, and the shards that its nodes owned.
type siteLoss struct {
	at     time.Time
	shards []job.ShardID
}

// loseSite has a random site be lost, and come back.
func (c *cluster) loseSite(ctx context.Context, rnd *rand.Rand, kill bool) error {
	site := rnd.IntN(siteCount)
	away := between(rnd, siteAwayMin, siteAwayMax)
	nodes, minions := c.siteProcesses(site)
	if kill {
		c.event("site %s dies, back in %v", siteNames()[site], away)
	} else {
		c.event("site %s is cut off for %v", siteNames()[site], away)
	}
	loss := siteLoss{at: time.Now()}
	for shard, owner := range c.takeovers.placed() {
		if slices.ContainsFunc(nodes, func(p *process) bool { return p.name == string(owner) }) {
			loss.shards = append(loss.shards, shard)
		}
	}
	for _, p := range nodes {
		c.takeovers.lose(p.name, causeSite)
	}
	if err := c.sites.cut(ctx, site); err != nil {
		return err
	}
	if kill { // who is cut off cannot tell anybody that it dies
		if err := killAll(append(slices.Clone(nodes), minions...)); err != nil {
			return err
		}
		reap.Matching(func(pid string) bool {
			args, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
			return err == nil && strings.HasPrefix(string(args), filepath.Join(c.bin, "scheduler")+"\x00watchdog\x00") && inSameSpace(pid, c.sites.space(site))
		})
	}
	for _, p := range nodes {
		c.takeovers.struck(p.name)
	}
	c.losses = append(c.losses, loss)
	err := sleep(ctx, away)
	if err := errors.Join(err, c.sites.mend(ctx, site)); err != nil {
		return err
	}
	c.event("site %s comes back", siteNames()[site])
	if kill {
		for _, p := range append(nodes, minions...) {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	if err := c.allMembers(ctx); err != nil {
		return err
	}
	for _, p := range nodes {
		c.takeovers.forgive(p.name)
	}
	return until(ctx, func() error { return c.whole(ctx) })
}

// killAll kills processes at once.
func killAll(all []*process) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { _, errs[i] = p.stop(syscall.SIGKILL) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inSameSpace reports whether a process is in a network namespace.
func inSameSpace(pid, space string) bool {
	own, err := os.Stat(filepath.Join("/proc", pid, "ns", "net"))
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join("/run/netns", space))
	return err == nil && os.SameFile(own, there)
}

// clientsOnly has the nodes that are no members be clients of those.
func (c *cluster) clientsOnly(ctx context.Context) error {
	for i, p := range c.schedulers[schedulerCount:] {
		if err := until(ctx, func() error { return c.api.askNode(ctx, c.api.nodes[schedulerCount+i], "GET", "/readyz", nil, nil) }); err != nil {
			return err
		}
		if err := c.order(ctx, p.name, "remove"); err != nil {
			return err
		}
	}
	return nil
}

// recovered returns how long it took, sorted, from each loss of a site to the first run
// that a new owner has started of each job whose owner was lost. A job that nobody has
// started is not in it.
func (r *result) recovered(c *cluster) []time.Duration {
	var out []time.Duration
	for _, loss := range c.losses {
		firsts := map[job.UID]time.Time{}
		for _, s := range r.evidence.starts {
			shard, steady := r.shards[s.fire.Job]
			if !steady || !slices.Contains(loss.shards, shard) || s.token.Revision < c.takeovers.grantedAfter(shard, loss.at) {
				continue
			}
			if first, seen := firsts[s.fire.Job]; !seen || s.at.Before(first) {
				firsts[s.fire.Job] = s.at
			}
		}
		for _, at := range firsts {
			out = append(out, at.Sub(loss.at))
		}
	}
	slices.Sort(out)
	return out
}

// grantedAfter returns the revision of the first grant of a shard after an instant.
func (t *takeovers) grantedAfter(shard job.ShardID, at time.Time) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.grants[shard] {
		if g.at.After(at) {
			return g.rev
		}
	}
	return 1<<63 - 1
}
