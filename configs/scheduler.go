package configs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/job"
)

// Scheduler is the settings of a scheduler node.
type Scheduler struct {
	Node       string `mapstructure:"node"`
	Site       string `mapstructure:"site"`
	Priority   int    `mapstructure:"priority"`
	Capacity   int    `mapstructure:"capacity"`
	DataDir    string `mapstructure:"dataDir"`
	Listen     string `mapstructure:"listen"`
	PeerListen string `mapstructure:"peerListen"`
	Advertise  string `mapstructure:"advertise"`

	Etcd         Etcd `mapstructure:"etcd"`
	EmbeddedEtcd bool `mapstructure:"embeddedEtcd"`
	// Shards is fixed when a cluster is made; 0 takes the cluster's own number,
	// or DefaultShards for a new one.
	Shards int `mapstructure:"shards"`

	LeaseTTL          time.Duration `mapstructure:"leaseTTL"`
	LookAhead         time.Duration `mapstructure:"lookAhead"`
	Tick              time.Duration `mapstructure:"tick"`
	MisfireGrace      time.Duration `mapstructure:"misfireGrace"`
	MaxMessageExpired time.Duration `mapstructure:"maxMessageExpired"`
	History           History       `mapstructure:"history"`

	Insecure bool `mapstructure:"insecure"`
	Log      Log  `mapstructure:"log"`
}

// Etcd says where etcd is, and under which prefix the cluster's keys lie.
type Etcd struct {
	Endpoints []string `mapstructure:"endpoints"`
	Prefix    string   `mapstructure:"prefix"`
}

// History bounds the run records in etcd.
type History struct {
	PerJob   int   `mapstructure:"perJob"`
	MaxBytes int64 `mapstructure:"maxBytes"`
}

// Log says what is logged: level debug, info, warn or error; format console or json.
type Log struct {
	Level  string `mapstructure:"level"`
	Format string `mapstructure:"format"`
}

// DefaultShards is the number of shards of a new cluster.
const DefaultShards = 64

// MaxShards bounds the number of shards.
const MaxShards = 4096

// DefaultScheduler returns the settings of a node that is told nothing.
func DefaultScheduler() Scheduler {
	host, err := os.Hostname()
	if err != nil || job.CheckName(host) != nil {
		host = "node"
	}
	return Scheduler{
		Node: host, Capacity: 1, DataDir: defaultDataDir(),
		Listen: "127.0.0.1:8420", PeerListen: "127.0.0.1:7420",
		Etcd:     Etcd{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/carillon"},
		LeaseTTL: 5 * time.Second, LookAhead: 300 * time.Millisecond, Tick: 50 * time.Millisecond,
		MisfireGrace: 30 * time.Second, MaxMessageExpired: time.Minute,
		History: History{PerJob: 50, MaxBytes: 64 << 20},
		Log:     Log{Level: "info", Format: "console"},
	}
}

func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/carillon/scheduler"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "carillon-data"
	}
	return filepath.Join(home, ".local", "share", "carillon", "scheduler")
}

// schedulerFlags maps flags to the paths of settings.
var schedulerFlags = map[string]string{ //nolint:gochecknoglobals // a constant
	"node": "node", "site": "site", "priority": "priority", "capacity": "capacity", "data-dir": "dataDir",
	"listen": "listen", "peer-listen": "peerListen", "advertise": "advertise",
	"etcd-endpoints": "etcd.endpoints", "etcd-prefix": "etcd.prefix", "embedded-etcd": "embeddedEtcd",
	"shards": "shards", "lease-ttl": "leaseTTL", "look-ahead": "lookAhead", "misfire-grace": "misfireGrace",
	"history-per-job": "history.perJob", "insecure": "insecure", "log-level": "log.level", "log-format": "log.format",
}

// SchedulerFlags registers a node's flags.
func SchedulerFlags(fs *pflag.FlagSet) {
	d := DefaultScheduler()
	fs.String("config", "", "read settings from this YAML file")
	fs.String("node", d.Node, "name of this node, unique in the cluster")
	fs.String("site", d.Site, "site (zone) of this node")
	fs.Int("priority", d.Priority, "priority of this node; higher goes first")
	fs.Int("capacity", d.Capacity, "relative weight of this node for balanced shards")
	fs.String("data-dir", d.DataDir, "directory for this node's data")
	fs.String("listen", d.Listen, "address of the API and the page")
	fs.String("peer-listen", d.PeerListen, "address for minions and peers")
	fs.String("advertise", d.Advertise, "host name or IP under which others reach this node")
	fs.StringSlice("etcd-endpoints", d.Etcd.Endpoints, "etcd endpoints")
	fs.String("etcd-prefix", d.Etcd.Prefix, "prefix of all keys in etcd")
	fs.Bool("embedded-etcd", d.EmbeddedEtcd, "run etcd inside this process (one-node start)")
	fs.Int("shards", d.Shards, fmt.Sprintf("number of shards of a new cluster (%d when not given)", DefaultShards))
	fs.Duration("lease-ttl", d.LeaseTTL, "how long this node's lease lives without renewal")
	fs.Duration("look-ahead", d.LookAhead, "how long before its instant a fire is committed")
	fs.Duration("misfire-grace", d.MisfireGrace, "an occurrence later than this is a misfire")
	fs.Int("history-per-job", d.History.PerJob, "run records kept per job")
	fs.Bool("insecure", d.Insecure, "allow addresses beyond loopback without encryption")
	fs.String("log-level", d.Log.Level, "debug, info, warn or error")
	fs.String("log-format", d.Log.Format, "console or json")
}

// Validate returns all that is wrong with the settings, joined.
func (c *Scheduler) Validate() error {
	var errs []error
	add := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}
	if err := job.CheckName(c.Node); err != nil {
		add("node", "%v", err)
	}
	if c.Capacity < 1 {
		add("capacity", "%d is too small; give 1 or more", c.Capacity)
	}
	if c.DataDir == "" {
		add("dataDir", "is empty; give a directory")
	}
	for _, a := range []struct{ path, addr string }{{"listen", c.Listen}, {"peerListen", c.PeerListen}} {
		host, _, err := net.SplitHostPort(a.addr)
		switch {
		case err != nil:
			add(a.path, "%q is not host:port, as in 127.0.0.1:8420", a.addr)
		case !c.Insecure && !loopback(host):
			add(a.path, "%q is reachable from other hosts, and nothing encrypts or authenticates it yet; listen on 127.0.0.1, or allow it with --insecure", a.addr)
		}
	}
	if !c.EmbeddedEtcd && len(c.Etcd.Endpoints) == 0 {
		add("etcd.endpoints", "is empty; give endpoints, or --embedded-etcd")
	}
	if c.Shards < 0 || c.Shards > MaxShards {
		add("shards", "%d is out of range; 1 to %d are allowed", c.Shards, MaxShards)
	}
	if c.LeaseTTL < 2*time.Second {
		add("leaseTTL", "%v is too short; etcd's floor is 2s", c.LeaseTTL)
	}
	for _, d := range []struct {
		path   string
		v      time.Duration
		lo, hi time.Duration
	}{
		{"lookAhead", c.LookAhead, 50 * time.Millisecond, 10 * time.Second},
		{"tick", c.Tick, time.Millisecond, time.Second},
		{"misfireGrace", c.MisfireGrace, time.Second, 24 * time.Hour},
		{"maxMessageExpired", c.MaxMessageExpired, time.Second, 24 * time.Hour},
	} {
		if d.v < d.lo || d.v > d.hi {
			add(d.path, "%v is out of range; %v to %v are allowed", d.v, d.lo, d.hi)
		}
	}
	if c.History.PerJob < 1 {
		add("history.perJob", "%d is too small; give 1 or more", c.History.PerJob)
	}
	if c.History.MaxBytes < 1<<20 {
		add("history.maxBytes", "%d is too small; give 1048576 or more", c.History.MaxBytes)
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
