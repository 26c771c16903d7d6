package configs

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// Scheduler is the settings of a scheduler node.
type Scheduler struct {
	Node     string `mapstructure:"node"`
	Site     string `mapstructure:"site"`
	Priority int    `mapstructure:"priority"`
	Capacity int    `mapstructure:"capacity"`
	// Labels are what groups pin and spread by, besides "node" and "site".
	Labels  map[string]string `mapstructure:"labels"`
	DataDir string            `mapstructure:"dataDir"`
	Listen  string            `mapstructure:"listen"`
	// APIHosts are names and addresses by which clients may ask the API, besides
	// loopback, Advertise and the address that it listens on.
	APIHosts []string `mapstructure:"apiHosts"`
	// APICert and APIKey are files with the certificate of the API and its key, in
	// PEM. Without them it shows a certificate of the cluster's authority.
	APICert string `mapstructure:"apiCert"`
	APIKey  string `mapstructure:"apiKey"`
	// APIPlain: the API speaks plain HTTP; on loopback only.
	APIPlain   bool   `mapstructure:"apiPlain"`
	PeerListen string `mapstructure:"peerListen"`
	// Socket is the path of the local socket for the API; empty: carillon.sock in
	// the data directory; "none": there is none.
	Socket    string `mapstructure:"socket"`
	Advertise string `mapstructure:"advertise"`

	Etcd Etcd `mapstructure:"etcd"`
	// SealKeyFile is the file with the keys that seal what the cluster keeps of its own
	// in etcd. Empty: seal.key in the data directory, which is made with an embedded
	// etcd only.
	SealKeyFile  string `mapstructure:"sealKeyFile"`
	EmbeddedEtcd bool   `mapstructure:"embeddedEtcd"`
	// Own is about a cluster that keeps its data itself.
	Own Own `mapstructure:",squash"`
	// Shards is fixed when a cluster is made; 0 takes the cluster's own number,
	// or DefaultShards for a new one.
	Shards int `mapstructure:"shards"`

	LeaseTTL          time.Duration `mapstructure:"leaseTTL"`
	LookAhead         time.Duration `mapstructure:"lookAhead"`
	Tick              time.Duration `mapstructure:"tick"`
	MisfireGrace      time.Duration `mapstructure:"misfireGrace"`
	ClockBound        time.Duration `mapstructure:"clockBound"`
	MaxMessageExpired time.Duration `mapstructure:"maxMessageExpired"`
	History           History       `mapstructure:"history"`
	Audit             Audit         `mapstructure:"audit"`

	Connections Connections `mapstructure:"connections"`
	Limits      Limits      `mapstructure:"limits"`

	// MinMinionVersion is the oldest release of minions that get orders. Empty: any.
	MinMinionVersion string `mapstructure:"minMinionVersion"`
	// Insecure: connections of minions and peers are plain, and those of the API unless it
	// has a certificate in a file; on loopback only.
	Insecure bool `mapstructure:"insecure"`
	// OpenAPI: the API and the page may listen beyond loopback, though everybody who
	// reaches them may do everything while the cluster is open.
	OpenAPI bool `mapstructure:"openAPI"`
	// Access is how a cluster begins that this node makes, an access.State; of another it says
	// nothing.
	Access string `mapstructure:"access"`
	// TokenMaxAge bounds how long tokens of the API last.
	TokenMaxAge time.Duration `mapstructure:"tokenMaxAge"`
	OIDC        OIDC          `mapstructure:"oidc"`
	Egress      Egress        `mapstructure:"egress"`
	Notify      Notify        `mapstructure:"notify"`
	Log         Log           `mapstructure:"log"`
}

// Notify says what notifiers need of the node.
type Notify struct {
	// SecretsDir has the secrets of receivers. Empty: notify-secrets in the data directory.
	SecretsDir string `mapstructure:"secretsDir"`
}

// Egress bounds which addresses that people choose the node calls.
type Egress struct {
	// Allow are names, addresses and ranges; empty: all but what is never called
	// unnamed.
	Allow []string `mapstructure:"allow"`
	// CA is a file with certificates that others' are checked against, besides the
	// host's.
	CA string `mapstructure:"ca"`
}

// OIDC says by which identity provider people log in; without an issuer, by none.
type OIDC struct {
	// Issuer is the provider's own name, a URL.
	Issuer   string `mapstructure:"issuer"`
	ClientID string `mapstructure:"clientID"`
	// ClientSecretFile holds the secret of a client that has one.
	ClientSecretFile string `mapstructure:"clientSecretFile"`
	// CA is a file with the authorities that the provider's certificate is checked
	// against. Empty: those that the host trusts.
	CA string `mapstructure:"ca"`
	// Scopes are asked for besides openid.
	Scopes []string `mapstructure:"scopes"`
	// UserClaim is what people are called by, GroupsClaim where their groups are.
	UserClaim   string `mapstructure:"userClaim"`
	GroupsClaim string `mapstructure:"groupsClaim"`
	// RedirectBase is where browsers reach the page, as the provider knows it.
	RedirectBase string `mapstructure:"redirectBase"`
	// SessionMaxAge is how long a login lasts.
	SessionMaxAge time.Duration `mapstructure:"sessionMaxAge"`
}

// Redirect is where the provider sends browsers back to.
func (o *OIDC) Redirect() string {
	return strings.TrimSuffix(o.RedirectBase, "/") + "/login/callback"
}

// Etcd says where etcd is, and under which prefix the cluster's keys lie.
type Etcd struct {
	Endpoints   []string      `mapstructure:"endpoints"`
	Prefix      string        `mapstructure:"prefix"`
	DialTimeout time.Duration `mapstructure:"dialTimeout"`
	// CA, Cert and Key are files for https endpoints. Without CA the host's
	// certificates count; without Cert and Key the node shows none.
	CA   string `mapstructure:"ca"`
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
	// Given: the endpoints were given, and are not the default.
	Given bool `mapstructure:"-"`
	// User is the node's user in etcd, PasswordFile the file with its password. Empty:
	// it shows none.
	User         string `mapstructure:"user"`
	PasswordFile string `mapstructure:"passwordFile"`
}

// Connections bound what connects to the port of minions and peers; 0 derives a
// bound from how many files the process may open. Strangers are those that show
// no certificate: who has yet to join, and who never will.
type Connections struct {
	Minions    int `mapstructure:"minions"`
	Strangers  int `mapstructure:"strangers"`
	PerAddress int `mapstructure:"perAddress"`
}

// History bounds the run records in etcd.
type History struct {
	PerJob   int   `mapstructure:"perJob"`
	MaxBytes int64 `mapstructure:"maxBytes"`
}

// Audit says how long audit records are kept in etcd, how much they may take there, and
// where this node exports them to: a file, a syslog; empty: nowhere.
type Audit struct {
	Keep     time.Duration `mapstructure:"keep"`
	MaxBytes int64         `mapstructure:"maxBytes"`
	File     string        `mapstructure:"file"`
	Syslog   string        `mapstructure:"syslog"`
}

// Limits bound what one caller of the API does on a node: a token, a session of the page,
// an account of the local socket, or else an address.
type Limits struct {
	// RequestsPerSecond is how many it makes in a second, over time; at once it may make
	// twice as many.
	RequestsPerSecond int `mapstructure:"requestsPerSecond"`
	// Streams is how many answers that go on it may have open: events, output, results.
	Streams int `mapstructure:"streams"`
}

func (l *Limits) validate(v *validator) {
	if n := l.RequestsPerSecond; n < 1 || n > maxLimit {
		v.add("limits.requestsPerSecond", "%d is out of range; 1 to %d are allowed", n, maxLimit)
	}
	if n := l.Streams; n < 1 || n > maxLimit {
		v.add("limits.streams", "%d is out of range; 1 to %d are allowed", n, maxLimit)
	}
}

// The defaults of Limits, and the most of both.
const (
	DefaultRequestsPerSecond = 1000
	DefaultStreams           = 200
	maxLimit                 = 1_000_000
)

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
		Etcd:     Etcd{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/carillon", DialTimeout: 5 * time.Second},
		Own:      Own{EtcdHeartbeat: pace.DefaultHeartbeat, EtcdElection: pace.DefaultElection},
		LeaseTTL: scheduler.DefaultLeaseTTL, LookAhead: scheduler.DefaultLookAhead, Tick: scheduler.DefaultTick,
		MisfireGrace: scheduler.DefaultMisfireGrace, ClockBound: clock.DefaultBound, MaxMessageExpired: scheduler.DefaultMaxMessageExpired,
		History:     History{PerJob: historyetcd.DefaultKeep, MaxBytes: historyetcd.DefaultMaxBytes},
		Audit:       Audit{Keep: chain.DefaultKeep, MaxBytes: chain.DefaultMaxBytes},
		Access:      string(access.Closed),
		TokenMaxAge: access.DefaultMaxAge,
		OIDC:        OIDC{Scopes: []string{"email", "profile"}, UserClaim: "email", GroupsClaim: "groups", SessionMaxAge: access.DefaultLoginLife},
		Limits:      Limits{RequestsPerSecond: DefaultRequestsPerSecond, Streams: DefaultStreams},
		Log:         Log{Level: "info", Format: "console"},
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

// Validate returns a *job.InvalidError with all that is wrong with the
// settings.
func (c *Scheduler) Validate() error {
	v := validator{}
	if err := job.CheckName(c.Node); err != nil {
		v.add("node", "%v", err)
	}
	if c.Capacity < 1 {
		v.add("capacity", "%d is too small; give 1 or more", c.Capacity)
	}
	c.validateLabels(&v)
	if c.DataDir == "" {
		v.add("dataDir", "is empty; give a directory")
	}
	switch {
	case c.APIPlain:
		v.address("listen", c.Listen, false, "--api-plain is for loopback only; leave it out, and the API speaks TLS")
	case c.OpenAPI && c.Insecure && c.APICert == "":
		v.address("listen", c.Listen, false, "with --insecure the cluster has no authority that makes its certificate; give --api-cert and --api-key, or leave --insecure out")
	default:
		v.address("listen", c.Listen, c.OpenAPI, "until the cluster is closed (carillon auth on), whoever reaches it may run commands; listen on 127.0.0.1, or allow it with --open-api")
	}
	if (c.APICert == "") != (c.APIKey == "") {
		v.add("apiCert", "apiCert and apiKey belong together; give both, or neither")
	}
	if c.APIPlain && c.APICert != "" {
		v.add("apiPlain", "there is no certificate by plain HTTP; leave out --api-plain, or --api-cert and --api-key")
	}
	v.address("peerListen", c.PeerListen, !c.Insecure, "--insecure is for loopback only; leave it out, and minions and peers connect by mutual TLS")
	for _, host := range c.APIHosts {
		if !isHost(host) {
			v.add("apiHosts", "%q is not the name or the address of a host; give it without scheme and port, as in carillon.example.org", host)
		}
	}
	if c.Listen == c.PeerListen && !strings.HasSuffix(c.Listen, ":0") {
		v.add("peerListen", "%q is the address of listen too; give another", c.PeerListen)
	}
	c.validateEtcd(&v)
	c.validateOwn(&v)
	if c.SealKeyFile != "" && !filepath.IsAbs(c.SealKeyFile) {
		v.add("sealKeyFile", "%q is not an absolute path; give one as in /etc/carillon/seal.key", c.SealKeyFile)
	}
	if c.Shards < 0 || c.Shards > MaxShards {
		v.add("shards", "%d is out of range; 1 to %d are allowed", c.Shards, MaxShards)
	}
	if !slices.Contains(access.States(), access.State(c.Access)) {
		v.add("access", "%q is no state; give closed, noting or open", c.Access)
	}
	v.between("leaseTTL", c.LeaseTTL, time.Second, time.Minute)
	v.between("lookAhead", c.LookAhead, 50*time.Millisecond, 10*time.Second)
	v.between("tick", c.Tick, time.Millisecond, time.Second)
	v.between("misfireGrace", c.MisfireGrace, time.Second, 24*time.Hour)
	v.between("clockBound", c.ClockBound, 500*time.Millisecond, time.Hour)
	v.between("maxMessageExpired", c.MaxMessageExpired, time.Second, 24*time.Hour)
	v.between("tokenMaxAge", c.TokenMaxAge, time.Minute, 10*365*24*time.Hour)
	c.validateOIDC(&v)
	c.Limits.validate(&v)
	v.between("audit.keep", c.Audit.Keep, time.Hour, maxAuditKeep)
	if c.Audit.MaxBytes < 1<<20 {
		v.add("audit.maxBytes", "%d is too small; give 1048576 or more", c.Audit.MaxBytes)
	}
	if c.Audit.File != "" && !filepath.IsAbs(c.Audit.File) {
		v.add("audit.file", "%q is not an absolute path; give one as in /var/log/carillon/audit.jsonl", c.Audit.File)
	}
	if c.Audit.Syslog != "" {
		if _, err := ParseSyslog(c.Audit.Syslog); err != nil {
			v.add("audit.syslog", "%v", err)
		}
	}
	if c.History.PerJob < 1 {
		v.add("history.perJob", "%d is too small; give 1 or more", c.History.PerJob)
	}
	if c.History.MaxBytes < 1<<20 {
		v.add("history.maxBytes", "%d is too small; give 1048576 or more", c.History.MaxBytes)
	}
	for path, n := range map[string]int{"connections.minions": c.Connections.Minions, "connections.strangers": c.Connections.Strangers, "connections.perAddress": c.Connections.PerAddress} {
		if n < 0 {
			v.add(path, "%d is too small; give 1 or more, or 0 to derive it from the limit of open files", n)
		}
	}
	if _, err := egress.ParseRules(c.Egress.Allow); err != nil {
		v.add("egress.allow", "%v", err)
	}
	if c.Notify.SecretsDir != "" && !filepath.IsAbs(c.Notify.SecretsDir) {
		v.add("notify.secretsDir", "%q is not an absolute path; give one as in /etc/carillon/notify-secrets", c.Notify.SecretsDir)
	}
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "console", "json")
	if len(v.problems) == 0 {
		return nil
	}
	return &job.InvalidError{Problems: v.problems}
}

// maxAuditKeep is longer than anybody keeps records: 100 years.
const maxAuditKeep = 100 * 365 * 24 * time.Hour

// Syslog is where a syslog is.
type Syslog struct {
	// Network is "unix", "tcp" or "tls".
	Network string
	// Address is the path of its socket, or host:port.
	Address string
}

// ParseSyslog reads unix:///PATH, tcp://HOST:PORT or tls://HOST:PORT.
func ParseSyslog(text string) (Syslog, error) {
	u, err := url.Parse(text)
	if err == nil && u.RawQuery == "" && u.Fragment == "" && u.User == nil {
		_, port, split := net.SplitHostPort(u.Host)
		switch {
		case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
			return Syslog{u.Scheme, u.Path}, nil
		case (u.Scheme == "tcp" || u.Scheme == "tls") && u.Path == "" && split == nil && port != "" && u.Hostname() != "":
			return Syslog{u.Scheme, u.Host}, nil
		}
	}
	return Syslog{}, fmt.Errorf("%q is not the address of a syslog; give unix:///dev/log, tcp://HOST:PORT or tls://HOST:PORT", text)
}

func (c *Scheduler) validateLabels(v *validator) {
	for _, own := range []string{"node", "site"} {
		if _, given := c.Labels[own]; given {
			v.add("labels", "the label %q is built in; give --%s", own, own)
		}
	}
	labelled := job.Metadata{Name: "node", Labels: c.Labels}
	for _, p := range labelled.Validate() {
		at := strings.TrimPrefix(strings.TrimPrefix(p.Path, "metadata.labels"), ".")
		v.add("labels", "%s", strings.TrimPrefix(at+": "+p.Message, ": "))
	}
}

func (c *Scheduler) validateEtcd(v *validator) {
	e := &c.Etcd
	v.between("etcd.dialTimeout", e.DialTimeout, 100*time.Millisecond, time.Minute)
	if (e.Cert == "") != (e.Key == "") {
		v.add("etcd.cert", "etcd.cert and etcd.key belong together; give both, or neither")
	}
	if (e.User == "") != (e.PasswordFile == "") {
		v.add("etcd.user", "etcd.user and etcd.passwordFile belong together; give both, or neither")
	}
	if c.EmbeddedEtcd || c.Own.Asked() {
		return
	}
	if len(e.Endpoints) == 0 {
		v.add("etcd.endpoints", "is empty; give endpoints, or --embedded-etcd")
	}
	for _, endpoint := range e.Endpoints {
		u, err := url.Parse(endpoint)
		socket := err == nil && u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/")
		switch {
		case !socket && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
			v.add("etcd.endpoints", "%q is not an endpoint; give one as in http://127.0.0.1:2379 or unix:///var/lib/etcd.sock", endpoint)
		case u.Scheme != "https" && (e.CA != "" || e.Cert != ""):
			v.add("etcd.endpoints", "%q is not encrypted, though certificates are given; begin it with https://", endpoint)
		case u.Scheme == "http" && e.User != "" && !loopback(u.Hostname()):
			v.add("etcd.endpoints", "%q is not encrypted, and others could read the password of the user; begin it with https://", endpoint)
		}
	}
}

// validator gathers problems.
type validator struct{ problems []job.Problem }

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (v *validator) address(path, addr string, anywhere bool, why string) {
	host, _, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		v.add(path, "%q is not host:port, as in 127.0.0.1:8420", addr)
	case !anywhere && !loopback(host):
		v.add(path, "%q is reachable from other hosts, and %s", addr, why)
	}
}

func (v *validator) between(path string, d, lo, hi time.Duration) {
	if d < lo || d > hi {
		v.add(path, "%v is out of range; %v to %v are allowed", d, lo, hi)
	}
}

func (v *validator) oneOf(path, given string, allowed ...string) {
	if !slices.Contains(allowed, given) {
		v.add(path, "%q is not known; %s are allowed", given, strings.Join(allowed, ", "))
	}
}

// isHost reports whether a client may have it as the host in an address.
func isHost(host string) bool {
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	u, err := url.Parse("http://" + host)
	return err == nil && host != "" && u.Hostname() == host && u.Host == host && !strings.Contains(host, "*")
}

// hostOf returns the host of an address; empty: it has none.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}

// PlainAPI reports whether the API speaks plain HTTP: where that was asked for, or where
// there is nothing that a certificate could come from.
func (c *Scheduler) PlainAPI() bool { return c.APIPlain || c.Insecure && c.APICert == "" }

// OnLoopback reports whether the API is for this host only.
func (c *Scheduler) OnLoopback() bool { return loopback(hostOf(c.Listen)) }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
