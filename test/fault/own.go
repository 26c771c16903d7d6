package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// ownFaults are what may happen to nodes that keep the cluster's data themselves. Each
// ends when there are three members again: of three, one may be away at a time.
func ownFaults() []fault {
	return []fault{again(killScheduler), again(drainScheduler), loseMember, replaceNode, shrinkAndGrow, rollOut}
}

// again waits behind a fault until all are members again.
func again(f fault) fault {
	return func(ctx context.Context, c *cluster, rnd *rand.Rand) error {
		if err := f(ctx, c, rnd); err != nil {
			return err
		}
		return c.allMembers(ctx)
	}
}

// ownArguments are those of node i: the first one founds, the others join it.
func (c *cluster) ownArguments(i int, clients, peers string) []string {
	args := []string{"--etcd-listen", clients, "--etcd-peer-listen", peers}
	if i == 0 {
		return append(args, "--cluster-init")
	}
	return append(args, "--join", c.peers[0])
}

// startOwn starts the first node, and then the others by a token.
func (c *cluster) startOwn(ctx context.Context) error {
	first := c.schedulers[0]
	if c.sites == nil { // there no node changes its build
		next, err := buildNext(ctx, c.dir)
		if err != nil {
			return err
		}
		c.builds = []string{first.path, next}
	}
	if err := first.start(); err != nil {
		return err
	}
	if err := until(ctx, func() error { return c.api.askNode(ctx, c.api.nodes[0], http.MethodGet, "/readyz", nil, nil) }); err != nil {
		return err
	}
	member := func(name string) string { return filepath.Join(c.dir, first.name, "member", name) }
	info := transport.TLSInfo{CertFile: member("cert.pem"), KeyFile: member("key.pem"), TrustedCAFile: member("ca.pem")}
	secure, err := info.ClientConfig()
	if err != nil {
		return fmt.Errorf("etcd client: %w", err)
	}
	// What is in those files is read again at each handshake, and a node may lose them.
	cert, err := secure.GetClientCertificate(nil)
	if err != nil {
		return fmt.Errorf("etcd client: %w", err)
	}
	secure.GetClientCertificate, secure.Certificates = nil, append(secure.Certificates, *cert)
	if c.client, err = clientv3.New(clientv3.Config{
		Endpoints: c.endpoints, TLS: secure, DialTimeout: 5 * time.Second, DialOptions: c.dial, Logger: zap.NewNop(),
	}); err != nil {
		return fmt.Errorf("etcd client: %w", err)
	}
	for _, p := range c.schedulers[1:c.api.must] {
		if err := c.letIn(ctx, p); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	if c.sites != nil {
		if err := c.clientsOnly(ctx); err != nil {
			return err
		}
	}
	return c.allMembers(ctx)
}

// letIn gives a node a token by which it joins.
func (c *cluster) letIn(ctx context.Context, p *process) error {
	return until(ctx, func() error {
		var token api.JoinToken
		if err := c.api.ask(ctx, http.MethodPost, "/v1/node-tokens", fmt.Appendf(nil, `{"nodes": %q}`, p.name), &token); err != nil {
			return err
		}
		p.env = append(slices.DeleteFunc(slices.Clone(p.env), func(v string) bool { return strings.HasPrefix(v, tokenVariable+"=") }), tokenVariable+"="+token.Text)
		return nil
	})
}

func (c *cluster) etcdMembers(ctx context.Context) ([]api.EtcdMember, error) {
	var out struct{ Members []api.EtcdMember }
	err := c.api.ask(ctx, http.MethodGet, "/v1/etcd/members", nil, &out)
	return out.Members, err
}

// voting returns who is a member with a vote and answers.
func voting(all []api.EtcdMember) []string {
	var out []string
	for i := range all {
		if r := all[i].Role; r == api.EtcdLeader || r == api.EtcdFollower {
			out = append(out, string(all[i].Node))
		}
	}
	return out
}

// allMembers waits until all nodes are members, and serve.
func (c *cluster) allMembers(ctx context.Context) error {
	return until(ctx, func() error {
		all, err := c.etcdMembers(ctx)
		if err != nil {
			return err
		}
		if v := voting(all); len(v) != schedulerCount || len(all) != c.api.must {
			text, _ := json.Marshal(all) // it can be written
			return fmt.Errorf("members are %v, want %d: %s", v, schedulerCount, text)
		}
		return c.api.ready(ctx)
	})
}

// order gives an order for a member, by a node that runs; it is given again while
// another change is under way.
func (c *cluster) order(ctx context.Context, node, verb string) error {
	return until(ctx, func() error {
		return c.api.ask(ctx, http.MethodPost, "/v1/etcd/members/"+node+"/"+verb, []byte(`{"by": "fault"}`), nil)
	})
}

// downed kills a random node, and does something about its directory before it is
// started again.
func downed(ctx context.Context, c *cluster, rnd *rand.Rand, what string, about func(p *process) error) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	c.event("kill %s, and %s", p.name, what)
	c.takeovers.lose(p.name, causeKill)
	if _, err := p.stop(syscall.SIGKILL); err != nil {
		return err
	}
	c.takeovers.struck(p.name)
	if err := about(p); err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	return c.allMembers(ctx)
}

// loseMember kills a node and takes the data of its etcd away: it comes back as a new
// member.
func loseMember(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	return downed(ctx, c, rnd, "its etcd's data is lost", func(p *process) error {
		return os.RemoveAll(filepath.Join(c.dir, p.name, "etcd"))
	})
}

// replaceNode kills a node for good, has it removed, and puts a new one with its name in
// its place.
func replaceNode(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	return downed(ctx, c, rnd, "all of its data is lost", func(p *process) error {
		// While its lease lasts, it counts as one that lives.
		if err := until(ctx, func() error {
			got, err := c.client.Get(ctx, etcdkv.NewKeys("").Member(job.NodeID(p.name)))
			if err == nil && len(got.Kvs) > 0 {
				err = errors.New("its lease has not ended")
			}
			return err
		}); err != nil {
			return err
		}
		if err := c.order(ctx, p.name, "remove"); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(c.dir, p.name)); err != nil {
			return err
		}
		return c.joinAnew(ctx, p)
	})
}

// joinAnew has a node join by any other that runs: who has founded the cluster is one
// like any other by now.
func (c *cluster) joinAnew(ctx context.Context, p *process) error {
	by := c.running()[0]
	at := c.peers[slices.Index(c.schedulers, by)]
	args := slices.DeleteFunc(slices.Clone(p.args), func(a string) bool { return a == "--cluster-init" })
	if i := slices.Index(args, "--join"); i >= 0 {
		args[i+1] = at
	} else {
		args = append(args, "--join", at)
	}
	p.args = args
	return c.letIn(ctx, p)
}

// shrinkAndGrow goes from three members to one and back, while all nodes run.
func shrinkAndGrow(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	nodes := make([]string, schedulerCount)
	for i, k := range rnd.Perm(schedulerCount) {
		nodes[i] = c.schedulers[k].name
	}
	c.event("%s alone is a member", nodes[0])
	for _, node := range nodes[1:] {
		if err := c.order(ctx, node, "remove"); err != nil {
			return err
		}
	}
	if err := until(ctx, func() error {
		all, err := c.etcdMembers(ctx)
		if v := voting(all); err == nil && !slices.Equal(v, nodes[:1]) {
			err = fmt.Errorf("members are %v", v)
		}
		return err
	}); err != nil {
		return err
	}
	if err := sleep(ctx, between(rnd, awayMin, awayMax)); err != nil {
		return err
	}
	c.event("all are members again")
	for _, node := range nodes[1:] {
		if err := c.order(ctx, node, "add"); err != nil {
			return err
		}
	}
	return c.allMembers(ctx)
}
