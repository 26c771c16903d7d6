package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/members"
)

// maxDevNodes is how many nodes `carillon dev` starts at most.
const maxDevNodes = 5

// devNode is one of several nodes of `carillon dev`. The first one runs in its process;
// each further one is a process of its own, so that it can be killed.
type devNode struct {
	Name string `json:"name"`
	// Dir is its data directory.
	Dir string `json:"dir"`
	// Peers, Etcd and EtcdPeers are the addresses of its ports.
	Peers     string `json:"peers"`
	Etcd      string `json:"etcd"`
	EtcdPeers string `json:"etcdPeers"`
	// Join and Token are how it gets in; the first one has none.
	Join  string `json:"join,omitempty"`
	Token string `json:"-"`
}

// devNodesName is the file that says which nodes there are: their ports stay the same.
const devNodesName = "nodes.json"

// devNodes returns the nodes of a data directory, as many as are asked for; nil: there is
// one, by itself.
func devNodes(o *devOptions) ([]devNode, error) {
	path := filepath.Join(o.dataDir, devNodesName)
	var all []devNode
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &all); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("nodes: %w", err)
	}
	switch {
	case o.nodes == 0 && len(all) == 0, o.nodes == 1 && len(all) == 0:
		return nil, nil
	case o.nodes == 0:
	case o.nodes < 0 || o.nodes > maxDevNodes:
		return nil, fmt.Errorf("--nodes %d is out of range; 1 to %d are allowed", o.nodes, maxDevNodes)
	case o.nodes < len(all):
		return nil, fmt.Errorf("--nodes %d: there are %d nodes in %s; give --nodes %d, or another --data-dir", o.nodes, len(all), o.dataDir, len(all))
	}
	for i := len(all); i < o.nodes; i++ {
		n := devNode{Name: "dev", Dir: "node"}
		if i > 0 {
			n.Name, n.Dir = fmt.Sprintf("dev%d", i+1), fmt.Sprintf("node%d", i+1)
		}
		free, err := freeAddresses(3)
		if err != nil {
			return nil, err
		}
		n.Peers, n.Etcd, n.EtcdPeers = free[0], free[1], free[2]
		all = append(all, n)
	}
	for i := range all { // the first one is where it is told to be, every time
		if all[0].Peers = o.peerListen; i > 0 {
			all[i].Join = o.peerListen
		}
	}
	if b, err = json.MarshalIndent(all, "", "  "); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	return all, nil
}

// freeAddresses are addresses of this host that nobody listens at.
func freeAddresses(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// settings are those of a node, from those of the first one.
func (d *devNode) settings(o *devOptions, cfg configs.Scheduler) configs.Scheduler {
	cfg.Node, cfg.DataDir, cfg.PeerListen = d.Name, filepath.Join(o.dataDir, d.Dir), d.Peers
	cfg.EmbeddedEtcd = false
	cfg.Own.ClusterInit, cfg.Own.Join, cfg.Own.JoinToken, cfg.Own.EtcdListen, cfg.Own.EtcdPeerListen = d.Join == "", d.Join, d.Token, d.Etcd, d.EtcdPeers
	if d.Join != "" {
		cfg.Listen, cfg.APIHosts, cfg.OpenAPI, cfg.APICert, cfg.APIKey, cfg.APIPlain, cfg.Shards = "127.0.0.1:0", nil, false, "", "", true, 0
	}
	return cfg
}

const (
	// devAgain is the pause before a node that has ended is started again: so long can
	// be seen what its death does.
	devAgain = 10 * time.Second
	// devTokenTTL is how long the token of a further node lasts.
	devTokenTTL = 10 * time.Minute
)

// furtherNodes are the nodes of `carillon dev` besides the first one.
type furtherNodes struct {
	o     *devOptions
	nodes []devNode // with the first one
	// up gives the first node once it serves: nodes that are new join it.
	up             chan *Node
	stdout, stderr io.Writer
}

// devWaitTold is how long the first node waits for the others before that is told.
const devWaitTold = 3 * time.Second

// tellWait tells for how many nodes the first one waits, unless stop is called soon.
func (f *furtherNodes) tellWait(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	if len(f.nodes) < 2 {
		return stop
	}
	go func() {
		if backoff.Sleep(ctx, devWaitTold) {
			_, _ = fmt.Fprintf(f.stdout, "Waiting for %d of %d members: a majority of the nodes has to run.\n", len(f.nodes)/2+1, len(f.nodes))
		}
	}()
	return stop
}

// run runs the further nodes, each in a process of its own, until ctx ends. One that
// ends is started again.
func (f *furtherNodes) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	first, got := (*Node)(nil), make(chan struct{})
	g.Go(func() error {
		select {
		case first = <-f.up:
			close(got)
		case <-ctx.Done():
		}
		return nil
	})
	for i := range f.nodes {
		if f.nodes[i].Join == "" {
			continue
		}
		g.Go(func() error {
			for ctx.Err() == nil {
				d := f.nodes[i]
				if joined, err := d.joined(f.o); err != nil {
					return err
				} else if !joined {
					select {
					case <-got:
					case <-ctx.Done():
						return nil
					}
					d.Join = first.PeerAddr()
					token, err := first.registrar.CreateToken(ctx, registrar.TokenSpec{By: "carillon dev", Nodes: true, Minions: d.Name, TTL: devTokenTTL})
					if err != nil { // the cluster is being sealed
						backoff.Sleep(ctx, time.Second)
						continue
					}
					d.Token = token.Text()
				}
				err := d.runProcess(ctx, f.o, f.stdout, f.stderr)
				if ctx.Err() != nil {
					break
				}
				_, _ = fmt.Fprintf(f.stdout, "Node %s has ended (%v); it starts again in %s.\n", d.Name, err, devAgain)
				backoff.Sleep(ctx, devAgain)
			}
			return nil
		})
	}
	return g.Wait()
}

// joined reports whether a node has been in the cluster: it finds back without a token.
func (d *devNode) joined(o *devOptions) (bool, error) {
	state, err := members.ReadState(filepath.Join(o.dataDir, d.Dir))
	return state != nil, err
}

// devNodeFlag has `carillon dev` be a further node of another process of it, which tells
// by standard input which.
const devNodeFlag = "further-node"

// devOrder is what a further node is told.
type devOrder struct {
	Node  devNode     `json:"node"`
	Token string      `json:"token"`
	Dir   string      `json:"dir"`
	Log   configs.Log `json:"log"`
	// Egress is --egress-allow.
	Egress []string `json:"egress,omitempty"`
}

// runProcess runs a node as a process, which ends when this one does.
func (d *devNode) runProcess(ctx context.Context, o *devOptions, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	order, err := json.Marshal(devOrder{*d, d.Token, o.dataDir, o.log, o.egress})
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "dev", "--"+devNodeFlag)
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "Node %s runs as process %d.\n", d.Name, cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which ends with its input
	_, err = in.Write(append(order, '\n'))
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-ended:
			_ = in.Close()
			return err
		}
	}
	_ = in.Close()
	return errors.Join(err, <-ended)
}

// devFurther is a further node: it runs until its input ends.
func devFurther(ctx context.Context, build Build, in io.Reader) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("--%s is for `carillon dev --nodes` itself: %w", devNodeFlag, err)
	}
	var order devOrder
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&order); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the input, which ends with who started us
		_, _ = io.Copy(io.Discard, lines)
		cancel()
	}()
	log, err := order.Log.NewLogger()
	if err != nil {
		return err
	}
	order.Node.Token = order.Token
	cfg := order.Node.settings(&devOptions{dataDir: order.Dir}, devSettings(&devOptions{dataDir: order.Dir, log: order.Log, egress: order.Egress, listen: "127.0.0.1:0"}))
	if err := cfg.Validate(); err != nil {
		return err
	}
	node, err := Open(ctx, cfg, build, log)
	if err != nil {
		return err
	}
	return node.Run(ctx, nil)
}
