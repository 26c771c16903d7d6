package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	_ "net/http/pprof" // served on loopback, and when it is asked for
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// nodeSpec is what a node's process is told.
type nodeSpec struct {
	Name, Dir string
	Etcd      []string
	Peer      string // address for minions and peers
	ProfileAt string // address that serves profiles; empty: none
	nodeSettings
}

// nodeSettings are what a benchmark may want otherwise than nodes are by
// themselves; zero values leave it.
type nodeSettings struct {
	LeaseTTL     time.Duration
	MisfireGrace time.Duration
	PerJob       int // records in history
	// Watchdog: the node has one, as the real program does.
	Watchdog bool
}

// nodeAddrs is what it answers once it is ready.
type nodeAddrs struct{ API, Peer string }

func runNode(ctx context.Context, spec nodeSpec, _ <-chan string) error {
	serveProfiles(spec.ProfileAt)
	cfg := configs.DefaultScheduler()
	cfg.Node, cfg.DataDir, cfg.Shards = spec.Name, spec.Dir, shards
	cfg.Listen, cfg.PeerListen, cfg.Etcd.Endpoints = "127.0.0.1:0", spec.Peer, spec.Etcd
	cfg.Access, cfg.APIPlain = string(access.Open), true // who asks shows nothing
	cfg.LeaseTTL = cmp.Or(spec.LeaseTTL, cfg.LeaseTTL)
	cfg.MisfireGrace = cmp.Or(spec.MisfireGrace, cfg.MisfireGrace)
	cfg.History.PerJob = cmp.Or(spec.PerJob, cfg.History.PerJob)
	// What is slow is to be seen as slow, not as an order that nobody took.
	cfg.MaxMessageExpired = time.Hour
	for told := false; ; told = true {
		node, err := app.Open(ctx, cfg, app.Build{Version: "bench", Watchdog: spec.Watchdog}, zap.NewNop())
		if err != nil {
			return err
		}
		cfg.Listen = node.APIAddr()
		err = node.Run(ctx, func() {
			if !told {
				_ = answer(nodeAddrs{API: node.APIAddr(), Peer: node.PeerAddr()})
			}
		})
		if !errors.Is(err, app.ErrAnew) || ctx.Err() != nil {
			return err
		}
	}
}

// farm is etcd and nodes, each in a process of its own.
type farm struct {
	env   *env
	etcd  *etcd
	dir   string
	specs []nodeSpec
	nodes []*process
	addrs []nodeAddrs
	// ports are those of the nodes for minions. A node that is started again has the
	// same, which meanwhile nobody else may get.
	ports *ports.Reservation
	// beside are addresses of nodes of another cluster that its minion knows.
	beside []string
	// auth makes certificates; it has the cluster's authority, which lies in etcd.
	auth *registrar.Registrar
}

// profileAddr names the variable that says where the first node of a farm, or the
// engine with the most jobs, serves profiles.
const profileAddr = "CARILLON_BENCH_PROFILE"

// serveProfiles serves profiles, unless there is no address for it.
func serveProfiles(addr string) {
	if addr != "" {
		go func() { _ = http.ListenAndServe(addr, nil) }()
	}
}

func startFarm(ctx context.Context, e *env, nodes int, settings nodeSettings) (_ *farm, err error) {
	f := &farm{env: e}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.etcd, err = startEtcd(ctx, e); err != nil {
		return nil, err
	}
	if f.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return nil, err
	}
	if f.ports, err = ports.Reserve(nodes); err != nil {
		return nil, err
	}
	for i := range nodes {
		name := fmt.Sprintf("node%d", i+1)
		spec := nodeSpec{
			Name: name, Dir: filepath.Join(f.dir, name), Etcd: f.etcd.Endpoints(), Peer: fmt.Sprintf("127.0.0.1:%d", f.ports.Ports[i]), nodeSettings: settings,
		}
		if i == 0 {
			spec.ProfileAt = os.Getenv(profileAddr)
		}
		f.specs, f.nodes, f.addrs = append(f.specs, spec), append(f.nodes, nil), append(f.addrs, nodeAddrs{})
		if err := f.startNode(ctx, i); err != nil {
			return nil, err
		}
	}
	f.auth, err = registrar.Open(ctx, registrar.Config{Node: "bench", Keys: etcdkv.NewKeys("")},
		registrar.Deps{Client: f.etcd.Client, Logger: zap.NewNop()})
	return f, err
}

// startNode starts a node, at its own address for minions.
func (f *farm) startNode(ctx context.Context, i int) error {
	p, err := start(ctx, "node", f.specs[i])
	if err != nil {
		return err
	}
	f.nodes[i] = p
	if err := p.hear(ctx, f.env.patience, &f.addrs[i]); err != nil {
		return fmt.Errorf("node %s: %w", f.specs[i].Name, err)
	}
	return nil
}

// stopNode stops a node in good order.
func (f *farm) stopNode(i int) {
	f.nodes[i].stop()
	f.nodes[i] = nil
}

// running are the processes of the nodes that run.
func (f *farm) running() []*process {
	return slices.DeleteFunc(slices.Clone(f.nodes), func(p *process) bool { return p == nil })
}

func (f *farm) api() string { return "http://" + f.addrs[0].API }

// scrapes are the metrics of each node that runs.
func (f *farm) scrapes(ctx context.Context) ([]metrics, error) {
	var all []metrics
	for i, p := range f.nodes {
		if p == nil {
			continue
		}
		m, err := scrape(ctx, "http://"+f.addrs[i].API)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// results are how many runs have ended, by all nodes that run.
type results struct {
	succeeded, written float64
	// failed are those that have not succeeded, by their state.
	failed map[string]float64
}

func (f *farm) results(ctx context.Context) (results, error) {
	r := results{failed: map[string]float64{}}
	nodes, err := f.scrapes(ctx)
	for _, m := range nodes {
		for text, v := range m {
			state, is := strings.CutPrefix(text, `carillon_fires_total{result="`)
			switch state = strings.TrimSuffix(state, `"}`); {
			case !is || state == "dispatched":
			case state == "succeeded":
				r.succeeded += v
			case v > 0: // a state that has not come yet is told as well
				r.failed[state] += v
			}
		}
		r.written += m[`carillon_history_records_total{result="written"}`]
	}
	return r, err
}

// since returns what came after before.
func (r *results) since(before *results) results {
	d := results{succeeded: r.succeeded - before.succeeded, written: r.written - before.written, failed: map[string]float64{}}
	for state, n := range r.failed {
		if n > before.failed[state] {
			d.failed[state] = n - before.failed[state]
		}
	}
	return d
}

// check fails where a run has not succeeded.
func (r *results) check() error {
	if len(r.failed) == 0 {
		return nil
	}
	return fmt.Errorf("%.0f runs succeeded, and others ended as %v: too busy a machine, or a fault", r.succeeded, r.failed)
}

// awaitBalance waits until the nodes that run own all shards, each some, and
// nothing moves any more.
func (f *farm) awaitBalance(ctx context.Context) error {
	var before []float64
	since := time.Now() // when before was first seen
	return f.env.until(ctx, "all shards are owned, and each running node has some", func() (bool, error) {
		nodes, err := f.scrapes(ctx)
		if err != nil {
			return false, err
		}
		var owned []float64
		sum := 0.0
		for _, m := range nodes {
			n := m.sum("carillon_shards_owned")
			owned, sum = append(owned, n), sum+n
		}
		if sum != shards || slices.Contains(owned, 0) || !slices.Equal(owned, before) {
			before, since = owned, time.Now()
			return false, nil
		}
		return time.Since(since) >= f.env.calm, nil
	})
}

func (f *farm) servers() []string {
	var out []string
	for _, a := range f.addrs {
		out = append(out, a.Peer)
	}
	return out
}

// credentials are the authority's certificate and key, by which minions make
// certificates of their own.
func (f *farm) credentials() (authority, error) {
	key, err := f.auth.Authority().KeyPEM()
	return authority{Certificate: string(f.auth.Authority().CertificatePEM()), Key: string(key)}, err
}

// resident is the memory of all nodes, in bytes.
func (f *farm) resident() (int64, error) {
	var sum int64
	for _, p := range f.running() {
		n, err := p.resident()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (f *farm) close() {
	for _, p := range f.running() {
		p.stop()
	}
	if f.etcd != nil {
		f.etcd.close()
	}
	_ = os.RemoveAll(f.dir)
	if f.ports != nil {
		f.ports.Release()
	}
}

// present counts the minions whose presence was written since a revision.
func (f *farm) present(ctx context.Context, since int64) (int, error) {
	got, err := f.etcd.Get(ctx, etcdkv.NewKeys("").Presence(), clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, kv := range got.Kvs {
		if kv.ModRevision <= since {
			continue
		}
		p, err := etcdkv.Decode[etcdkv.Presence](string(kv.Key), kv.Value)
		if err != nil {
			return 0, err
		}
		n += len(p.Minions)
	}
	return n, nil
}

// awaitPresent waits until so many minions are in the presence.
func (f *farm) awaitPresent(ctx context.Context, count int, since int64) error {
	return f.env.reach(ctx, "minions are in the presence", count, func() (int, error) { return f.present(ctx, since) })
}
