package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/configs/examples"
	"github.com/carillon-cron/carillon/internal/app/minion"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// devShards is the number of shards of a `carillon dev` cluster.
const devShards = 16

// devOptions are the flags of `carillon dev`.
type devOptions struct {
	dataDir    string
	ephemeral  bool
	listen     string
	apiHosts   []string
	peerListen string
	queues     []string
	allow      string
	egress     []string
	secrets    string
	nodes      int
	further    bool
	handlers   string
	noExamples bool
	openAPI    bool
	apiCert    string
	apiKey     string
	version    bool
	log        configs.Log
}

func devFlags(o *devOptions, stderr io.Writer) *pflag.FlagSet {
	fs := pflag.NewFlagSet("carillon dev", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dataDir, "data-dir", devDataDir(), "directory for all data; a restart continues there")
	fs.BoolVar(&o.ephemeral, "ephemeral", false, "keep no data")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8420", "address of the API and the page")
	fs.StringSliceVar(&o.apiHosts, "api-host", nil, "`NAME` or address by which the API may be asked, besides loopback and --listen; may be given several times")
	fs.StringVar(&o.handlers, "handlers", "", "`SOCKET` to make, by which programs of this host do tasks (docs/handlers.md)")
	fs.StringVar(&o.peerListen, "peer-listen", "127.0.0.1:7420", "address for minions, which join by mutual TLS")
	fs.IntVar(&o.nodes, "nodes", 0, "how many nodes there are, `N`: each keeps the cluster's data, and each but the first is a process of its own that can be killed; of three one may be (default: one, or as many as there were)")
	fs.BoolVar(&o.further, devNodeFlag, false, "be one of the nodes of --nodes")
	_ = fs.MarkHidden(devNodeFlag)
	fs.BoolVar(&o.noExamples, "no-examples", false, "load no example jobs on the first start")
	fs.StringSliceVar(&o.queues, "queue", nil, "`[NAMESPACE/]NAME[:PLACES]` of a queue that the minion works on, and how many of its items it takes at once (default: 1); may be given several times")
	fs.StringVar(&o.allow, "allow", "", "`FILE` of rules that say what the minion may start; anything else is refused (docs/minions.md)")
	fs.StringSliceVar(&o.egress, "egress-allow", nil, "`HOST` that callbacks and receivers of alerts may be on, as 127.0.0.1/32 for this host; may be given several times; nothing else is called then (default: everything but loopback and link-local)")
	fs.StringVar(&o.secrets, "secrets", "", "`FILE` of rules that say which files, variables and programs here jobs may take secrets from; without it, none (docs/secrets.md)")
	fs.BoolVar(&o.openAPI, "open-api", false, "let the API and the page listen beyond loopback, by TLS; until the cluster is closed (carillon auth on), whoever reaches them may run commands")
	fs.StringVar(&o.apiCert, "api-cert", "", "`FILE` with the certificate of the API and the page, in PEM (default: plain HTTP on loopback, elsewhere a certificate of the cluster's authority)")
	fs.StringVar(&o.apiKey, "api-key", "", "`FILE` with the key of that certificate")
	fs.StringVar(&o.log.Level, "log-level", cmp.Or(os.Getenv("CARILLON_LOG_LEVEL"), "error"), "debug, info, warn or error")
	fs.StringVar(&o.log.Format, "log-format", cmp.Or(os.Getenv("CARILLON_LOG_FORMAT"), "console"), "console or json")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	return fs
}

func devDataDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".carillon"
	}
	return filepath.Join(home, ".carillon", "dev")
}

// Dev runs `carillon dev`: embedded etcd, a node, a minion, example jobs, API
// and page in one process, until ctx ends. It returns the exit code.
func Dev(ctx context.Context, build Build, args []string, stdout, stderr io.Writer) int {
	var o devOptions
	fs := devFlags(&o, stderr)
	err := fs.Parse(args)
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q; see `carillon dev --help`", fs.Arg(0))
	}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "carillon dev:", err)
		return 2
	case o.version:
		_, _ = fmt.Fprintln(stdout, "carillon", build.Version, build.Commit, runtime.Version())
		return 0
	}
	run := func() error { return dev(ctx, &o, build, stdout, stderr) }
	if o.further {
		run = func() error { return devFurther(ctx, build, os.Stdin) }
	}
	if err := run(); err != nil {
		_, _ = fmt.Fprintln(stderr, "carillon dev:", err)
		return 1
	}
	return 0
}

// devSettings are those of the node of `carillon dev`, or of its first one.
func devSettings(o *devOptions) configs.Scheduler {
	cfg := configs.DefaultScheduler()
	cfg.Node, cfg.DataDir = "dev", filepath.Join(o.dataDir, "node")
	cfg.Listen, cfg.PeerListen, cfg.APIHosts, cfg.OpenAPI = o.listen, o.peerListen, o.apiHosts, o.openAPI
	cfg.APICert, cfg.APIKey = o.apiCert, o.apiKey
	// One's own machine, and an open cluster: there is no token that another program of
	// this host could get at by posing as the node.
	cfg.APIPlain = o.apiCert == "" && cfg.OnLoopback()
	cfg.Log, cfg.Egress.Allow = o.log, o.egress
	cfg.EmbeddedEtcd, cfg.Shards, cfg.Access = true, devShards, string(access.Open)
	return cfg
}

func dev(ctx context.Context, o *devOptions, build Build, stdout, stderr io.Writer) error {
	if o.ephemeral {
		dir, err := os.MkdirTemp("", "carillon-dev-")
		if err != nil {
			return fmt.Errorf("temporary data directory: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, datadir.OfMinion()); err != nil {
			return fmt.Errorf("temporary data directory: %w", err)
		}
		o.dataDir = dir
	}
	log, err := o.log.NewLogger()
	if err != nil {
		return err
	}
	// The node's directory in it is private in any case. Commands that root's minion
	// starts as others have to get through to where they start.
	if err := datadir.Make(o.dataDir, datadir.OfMinion(), log, "node", "minion", devNodesName); err != nil {
		return err
	}
	nodes, err := devNodes(o)
	if err != nil {
		return err
	}
	cfg := devSettings(o)
	if len(nodes) > 0 {
		cfg = nodes[0].settings(o, cfg)
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	// Nodes that are members already start at once: the first one waits for a majority.
	further := &furtherNodes{o: o, nodes: nodes, up: make(chan *Node, 1), stdout: stdout, stderr: stderr}
	g.Go(func() error { return further.run(ctx) })
	node, token, err := openDev(ctx, o, cfg, build, log, further)
	if err != nil {
		cancel()
		return errors.Join(err, g.Wait())
	}
	ready := make(chan struct{})
	g.Go(func() error {
		return node.Run(ctx, func() {
			announce(stdout, node, o)
			further.up <- node
			close(ready)
		})
	})
	g.Go(func() error {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
		cfg, err := devMinion(o, node.PeerAddr(), build)
		if err != nil {
			return err
		}
		for i := 1; i < len(nodes); i++ { // it goes to another node when its own is killed
			cfg.Worker.Servers = append(cfg.Worker.Servers, nodes[i].Peers)
		}
		cfg.Token = token
		if err := minion.Run(ctx, cfg, log); err != nil && ctx.Err() == nil {
			return fmt.Errorf("minion: %w", err)
		}
		return nil
	})
	return g.Wait()
}

// openDev opens the node of `carillon dev`, with the example jobs, and a token for its
// minion, which joins like any other once the node is there.
func openDev(ctx context.Context, o *devOptions, cfg configs.Scheduler, build Build, log *zap.Logger, further *furtherNodes) (*Node, string, error) {
	opened := further.tellWait(ctx)
	node, err := Open(ctx, cfg, build, log)
	opened()
	if err != nil {
		return nil, "", err
	}
	if !o.noExamples {
		if err := node.loadExamples(ctx); err != nil {
			node.Close()
			return nil, "", err
		}
	}
	token, err := node.registrar.CreateToken(ctx, registrar.TokenSpec{By: "carillon dev", Labels: devLabels()})
	if err != nil {
		node.Close()
		return nil, "", err
	}
	return node, token.Text(), nil
}

// announce tells where the page is, and how it is asked by others.
func announce(w io.Writer, n *Node, o *devOptions) {
	data := o.dataDir
	if o.ephemeral {
		data = "nowhere (--ephemeral)"
	}
	url := n.APIURL()
	server := ""
	if o.dataDir != devDataDir() { // else the command line finds the socket
		server = " --server " + url
	}
	_, _ = fmt.Fprintf(w, "Carillon is ready: %s\nData is kept in %s. Ctrl-C ends it.\n", url, data)
	if n.apiTLS != nil && n.apiFiles == nil {
		server = ""
		_, _ = fmt.Fprintf(w, `
The API and the page speak TLS, by a certificate of this cluster's own authority. While
the cluster is open, whoever reaches them may run commands: carillon auth on closes it.
To ask them from here:
  carillon minions authority --server unix://%s > ca.pem
  export CARILLON_SERVER=%s CARILLON_CA=$PWD/ca.pem
From other hosts: bring ca.pem there, and ask for an address of this host, or for a name
that --api-host gives.
`, filepath.Join(n.cfg.DataDir, socketName), url)
	}
	if o.noExamples {
		_, _ = fmt.Fprintf(w, `
Try next, in another terminal:
  carillon exec --target '*'%[1]s -- uptime
  carillon apply -f job.yaml%[1]s
`, server)
		return
	}
	_, _ = fmt.Fprintf(w, `
Try next, in another terminal:
  carillon get jobs%[1]s
  carillon run manual --wait%[1]s
  carillon logs hello%[1]s
`, server)
}

// devLabels are those of the minion beside the node; its token grants them.
func devLabels() map[string]string { return map[string]string{"env": "dev"} }

// devMinion returns the settings of the minion that runs beside the node.
func devMinion(o *devOptions, server string, build Build) (minion.Config, error) {
	exe, err := os.Executable()
	if err != nil {
		return minion.Config{}, fmt.Errorf("own program: %w", err)
	}
	host, err := os.Hostname()
	if err != nil || job.CheckName(host) != nil {
		host = "localhost"
	}
	offers, err := job.ParseQueueOffers(strings.Join(o.queues, ","))
	if err != nil {
		return minion.Config{}, &job.InvalidError{Problems: []job.Problem{{Path: "--queue", Message: err.Error()}}}
	}
	return minion.Config{Queues: offers, Handlers: o.handlers, AllowFile: o.allow, SecretsFile: o.secrets, Worker: worker.Config{
		ID: job.MinionID(host), Labels: devLabels(), DataDir: filepath.Join(o.dataDir, "minion"),
		Servers: []string{server}, ShimCommand: []string{exe, "shim"}, Version: build.Version,
	}}, nil
}

// exampleMark says that the examples were loaded once: who deletes them does not
// want them back.
const exampleMark = "examples-loaded"

// loadExamples applies the example jobs on the first start.
func (n *Node) loadExamples(ctx context.Context) error {
	mark := filepath.Join(n.cfg.DataDir, exampleMark)
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	names, err := fs.Glob(examples.FS(), "*.yaml")
	if err != nil {
		return fmt.Errorf("examples: %w", err)
	}
	ctx = caller.With(ctx, caller.Caller{Name: "carillon dev", Local: true})
	for _, name := range names {
		b, err := fs.ReadFile(examples.FS(), name)
		if err != nil {
			return fmt.Errorf("example %s: %w", name, err)
		}
		if _, err := n.control.Apply(ctx, name, b, false); err != nil {
			return fmt.Errorf("example %s: %w", name, err)
		}
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("examples: %w", err)
	}
	return nil
}
