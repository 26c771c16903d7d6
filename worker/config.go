package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/secrets"
	"github.com/carillon-cron/carillon/worker/shim"
)

// ErrInsecure is returned by New for a server that is not on this host when
// there are no Deps.Transport: the connection would be plain.
var ErrInsecure = errors.New("connection would not be protected")

// ErrInUse is returned by Run when another minion uses the data directory.
var ErrInUse = errors.New("data directory is in use")

// Config says who a minion is and how it works. Zero values mean the defaults.
type Config struct {
	// ID is the minion's name, unique in the cluster. Default: the host name.
	ID job.MinionID
	// Labels are what the minion asks for: targets select by those of them that an
	// operator has granted.
	Labels map[string]string
	// DataDir holds the journal, output, scripts and the shim's socket. Needed.
	DataDir string
	// Servers are the nodes' addresses, host:port. At least one is needed; the
	// nodes tell of others.
	Servers []string
	// ShimCommand is the argv that starts a shim, such as {executable, "shim"}.
	// Needed: the program must call RunShim for it.
	ShimCommand []string
	// ShimIdle is how long a shim lives without commands and minion. Default: one minute.
	ShimIdle time.Duration
	// MaxRunning is how many commands may run at a time; further ones wait in
	// the order of their arrival. Default: 256.
	MaxRunning int
	// KillGrace is the time between SIGTERM and SIGKILL. Default: 2 s.
	KillGrace time.Duration
	// Cgroup is the directory of the control group (version 2) below which
	// commands get groups of their own; see package cgroup. Default: the
	// minion's own group, where it may write it. NoCgroup: none.
	Cgroup string
	// FactsDir holds files and programs that add facts; see package facts.
	// Default: facts.d in DataDir.
	FactsDir string
	// OutputCap bounds the size of a task's output file; what a command writes
	// beyond it is only counted. Default: 10 MiB.
	OutputCap int64
	// OutputKeep is how long output files are kept. Default: 48 h.
	OutputKeep time.Duration
	// OutputTotal is how many bytes all output files may use on disk; the
	// oldest go first. Default: 1 GiB.
	OutputTotal int64
	// JournalKeep is how long the minion remembers tasks that are done and
	// acknowledged. It must be longer than any order can be on its way. Default: 48 h.
	JournalKeep time.Duration
	// JournalCap is how many bytes the journal may have; beyond it orders are
	// refused until nodes have acknowledged enough. Default: 256 MiB.
	JournalCap int64
	// MinFree is how many bytes should be free in DataDir: with less the minion
	// reports trouble and removes output files, the oldest first. Default: 64 MiB.
	MinFree int64
	// UnsignedOrders: orders without a signature are taken, also where they were signed
	// once. It is for nodes that go back to a release which does not sign.
	UnsignedOrders bool
	// Version is what the minion tells of its program.
	Version string

	// protected: connections are.
	protected bool
}

// Deps are what a minion needs of its surroundings. The zero value works.
type Deps struct {
	Logger  *zap.Logger
	Metrics prometheus.Registerer
	// Handlers run tasks inside of this process, by name; see HandlerPrefix.
	Handlers map[string]Handler
	// Served finds what processes of this host serve, for names that Handlers has not; nil:
	// nobody serves it. Nil: nothing is served.
	Served func(name string) Handler
	// Transport protects the connections to nodes. Nil: they are plain, and only
	// nodes on a loopback address are connected to.
	Transport credentials.TransportCredentials
	// Allow is what may be started, whatever nodes order. Nil: everything.
	Allow *allow.List
	// Signatures checks that orders are a node's. Nil: whoever is at the other end of the
	// connection is believed.
	Signatures *signature.Checker
	// Secrets is what orders may have found out here. Nil: nothing.
	Secrets *secrets.List
	// Identities open the secrets that the cluster keeps sealed. Nil: none can be.
	Identities *agesecret.Identities
	// Facts are told besides those of the host; files cannot change them. It is
	// called whenever facts are found out. Nil: there are none.
	Facts func() map[string]string
	// Update is called when a node tells of a release to install, in the
	// goroutine that receives; it must not block. Nil: nothing is done.
	Update func(release int64, signed []byte)
	// DialOptions are added to those of every connection to a node.
	DialOptions []grpc.DialOption
	// Crash, if set, is called at the named places of the protocol, in any
	// goroutine: accepted, taken, reported, intent, handed, exited, ended, acked.
	// Fault tests kill the process there; nobody else sets it.
	Crash func(point string)

	// clock is that of the orders' HoldUntil, package boottime's but in tests.
	clock func() time.Duration
	// writeJournal and free stand for (*os.File).WriteAt and for the kernel's
	// count of free bytes; tests fill the disk with them.
	writeJournal func(*os.File, []byte, int64) (int, error)
	free         func(dir string) (int64, error)
	// endOrphans is shim.EndOrphans; tests have processes with it that cannot be ended.
	endOrphans func(context.Context, []shim.Orphan, time.Duration) map[string]shim.Remains
}

// withDefaults returns c with its zero values filled in, and all that is
// wrong with it.
func (c Config) withDefaults() (Config, error) {
	var problems []job.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if c.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			add("id", "is not given, and this host's name cannot be read: %v", err)
		}
		c.ID = job.MinionID(host)
	}
	if err := job.CheckName(string(c.ID)); err != nil {
		add("id", "%v", err)
	}
	if n := len(c.Labels); n > agentpb.MaxLabels {
		add("labels", "there are %d; give at most %d", n, agentpb.MaxLabels)
	}
	for k, v := range c.Labels {
		if err := job.CheckLabel(k, v); err != nil {
			add("labels", "%v", err)
		}
	}
	if c.DataDir == "" {
		add("dataDir", "is empty; give a directory that only this minion uses")
	} else if abs, err := filepath.Abs(c.DataDir); err != nil {
		add("dataDir", "%v", err)
	} else {
		c.DataDir = abs
	}
	if len(c.Servers) == 0 {
		add("servers", "is empty; give the host:port of at least one node")
	}
	for _, s := range c.Servers {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			add("servers", "%q is not host:port, as in \"node1:7420\"", s)
		}
	}
	if len(c.ShimCommand) == 0 {
		add("shimCommand", "is empty; give the program that runs the shim")
	}
	if c.MaxRunning < 0 {
		add("maxRunning", "is %d; give 1 or more", c.MaxRunning)
	}
	if len(problems) > 0 {
		return c, &job.InvalidError{Problems: problems}
	}
	for _, s := range c.Servers {
		if !c.allowed(s) {
			return c, fmt.Errorf("%w: server %s is not on this host; leave --insecure out, so that the connection is encrypted, or use a loopback address", ErrInsecure, s)
		}
	}
	setDefault(&c.FactsDir, c.path("facts.d"))
	setDefault(&c.ShimIdle, time.Minute)
	setDefault(&c.MaxRunning, 256)
	setDefault(&c.KillGrace, shim.DefaultGrace)
	setDefault(&c.OutputCap, 10<<20)
	setDefault(&c.OutputKeep, 48*time.Hour)
	setDefault(&c.OutputTotal, 1<<30)
	setDefault(&c.JournalKeep, 48*time.Hour)
	setDefault(&c.JournalCap, 256<<20)
	setDefault(&c.MinFree, 64<<20)
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// allowed reports whether the minion may connect to server.
func (c *Config) allowed(server string) bool {
	if c.protected {
		return true
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// path returns a path below the data directory.
func (c *Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}
