package minion

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// envPrefix is what the environment variable of a flag begins with.
const envPrefix = "CARILLON_"

// Options are the settings of the worker command.
type Options struct {
	Servers     []string
	ID          string
	Labels      map[string]string
	Site        string
	DataDir     string
	Insecure    bool
	Token       string
	TokenFile   string
	CAFile      string
	TrustFirst  bool
	AllowFile   string
	SecretsFile string
	Identity    string
	// UnsignedOrders: see worker.Config.
	UnsignedOrders bool
	MaxRunning     int
	Cgroup         string
	FactsDir       string
	Queues         []string
	Handlers       string
	LogLevel       string
	LogFormat      string
	MetricsAddr    string
	Version        bool
	// TokenShown: the token stands on the command line.
	TokenShown bool
	// The settings of a minion that updates itself.
	SelfUpdate      bool
	UpdateKeys      string
	UpdateThreshold int
	UpdateDir       string
	UpdateGate      time.Duration
}

// AddFlags adds the flags of o to fs, with their defaults.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.Servers, "servers", []string{"127.0.0.1:7420"}, "nodes to connect to, as `HOST:PORT,...`")
	fs.StringVar(&o.ID, "id", "", "name of this minion, unique in the cluster (default: the host name)")
	fs.StringVar(&o.Site, "site", "", "`SITE` of this host: as --label site=SITE, which is granted as labels are")
	fs.StringToStringVar(&o.Labels, "label", nil, "label to ask for, as `KEY=VALUE`; targets select by it once it is granted (carillon minions label); may be given several times")
	fs.Lookup("label").DefValue = "" // not "(default [])"
	fs.StringVar(&o.DataDir, "data-dir", DefaultDataDir(), "directory of the journal and of output; one per minion")
	fs.StringVar(&o.TokenFile, "join-token-file", "", "`FILE` with the token to join the cluster with, once, - for standard input; see carillon minions token (without: an operator approves)")
	fs.StringVar(&o.Token, "join-token", "", "the `TOKEN` itself: every account of this host can read it here, so give it by --join-token-file or CARILLON_JOIN_TOKEN")
	fs.StringVar(&o.CAFile, "ca", "", "`FILE` with the certificate of the cluster's authority, for joining without a token")
	fs.BoolVar(&o.TrustFirst, "trust-on-first-use", false, "join whatever cluster answers first, where there is neither a token nor --ca")
	fs.BoolVar(&o.Insecure, "insecure", false, "plain connections, to nodes on this host only")
	fs.StringVar(&o.AllowFile, "allow", "", "`FILE` of rules that say what may be started here; anything else is refused (docs/minions.md)")
	fs.StringVar(&o.SecretsFile, "secrets", "", "`FILE` of rules that say which files, variables and programs here jobs may take secrets from; without it, none (docs/secrets.md)")
	fs.StringVar(&o.Identity, "secret-identity", "", "`FILE` with an identity of age that hosts share, to which secrets for this minion are sealed; without it, the minion's own (docs/secrets.md)")
	fs.BoolVar(&o.UnsignedOrders, "unsigned-orders", false, "take orders without the signature of a node: while nodes go back to a release that does not sign (docs/security.md)")
	fs.IntVar(&o.MaxRunning, "max-running", 256, "how many commands may run at a time; further ones wait")
	fs.StringVar(&o.Cgroup, "cgroup", "", "`DIR` of the control group (v2) in which commands get their own; \"none\" for no groups (default: the minion's group)")
	fs.StringVar(&o.FactsDir, "facts-dir", "", "directory of *.yaml, *.json, *.txt and programs that add facts (default: facts.d in the data directory)")
	fs.StringSliceVar(&o.Queues, "queue", nil, "`[NAMESPACE/]NAME[:PLACES]` of a queue to work on, and how many of its items to take at once (default: 1); may be given several times")
	fs.StringVar(&o.Handlers, "handlers", "", "`SOCKET` to make, by which programs of this host do tasks; for root, this account and the socket's group (docs/handlers.md)")
	fs.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&o.LogFormat, "log-format", logConsole, "console or json")
	fs.StringVar(&o.MetricsAddr, "metrics-addr", "", "loopback address for /metrics, /livez and /readyz (default: none)")
	fs.BoolVar(&o.SelfUpdate, "self-update", false, "install signed releases announced by nodes; needs --update-keys")
	fs.StringVar(&o.UpdateKeys, "update-keys", "", "`FILE` with the public keys that sign releases")
	fs.IntVar(&o.UpdateThreshold, "update-threshold", 1, "how many of the keys must have signed a release")
	fs.StringVar(&o.UpdateDir, "update-dir", "", "directory of releases (default: update in the data directory)")
	fs.DurationVar(&o.UpdateGate, "update-gate", time.Minute, "how long a new release may take until it works; then the former one is back")
	fs.BoolVar(&o.Version, "version", false, "print the version and exit")
}

// Parse reads the command line, and the environment for what it does not give.
// It returns pflag.ErrHelp after it has printed the help.
func Parse(args []string, lookup func(string) (string, bool)) (Options, error) {
	var o Options
	fs := pflag.NewFlagSet("worker", pflag.ContinueOnError)
	fs.SortFlags = false
	o.AddFlags(fs)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return o, err
	case err != nil:
		return o, &job.InvalidError{Problems: []job.Problem{{Message: err.Error() + "; see --help"}}}
	case fs.NArg() > 0:
		return o, &job.InvalidError{Problems: []job.Problem{{Message: fmt.Sprintf("unexpected argument %q; see --help", fs.Arg(0))}}}
	}
	o.TokenShown = fs.Changed("join-token")
	if err := checkEmpty(fs, lookup); err != nil {
		return o, err
	}
	if err := FromEnv(fs, lookup); err != nil {
		return o, err
	}
	return o, o.checkToken()
}

// checkEmpty refuses settings that are given as an empty text, by a flag or by a
// variable: an empty one would be taken for the default.
func checkEmpty(fs *pflag.FlagSet, lookup func(string) (string, bool)) error {
	const joined = "leave it out if the minion has joined, or an operator approves it"
	unset := map[string]string{
		"id": "leave it out for the host name", "label": "leave it out for no labels", "allow": "leave it out if anything may be started here",
		"secrets": "leave it out if jobs may take no secrets from here", "secret-identity": "leave it out for the minion's own identity",

		"join-token-file": joined, "join-token": joined,
		"ca": "leave it out with a token", "cgroup": "leave it out for the minion's group, or give none for no groups", "facts-dir": "leave it out for facts.d in the data directory",
		"queue": "leave it out to work on no queue", "handlers": "leave it out if no programs of this host do tasks", "update-keys": "give the file with the keys", "update-dir": "leave it out for update in the data directory",
	}
	var problems []job.Problem
	fs.VisitAll(func(f *pflag.Flag) {
		from, empty := "--"+f.Name, f.Value.String() == "" || f.Value.String() == "[]"
		if !f.Changed {
			v, given := "", false
			if from, given = variableOf(f); given {
				v, given = lookup(from)
			}
			empty = given && v == ""
		}
		if !empty || f.Name == "metrics-addr" { // of which none is an address to give
			return
		}
		instead, known := unset[f.Name]
		if !known {
			instead = "leave it out for " + strings.Trim(f.DefValue, "[]")
		}
		problems = append(problems, job.Problem{Path: from, Message: "is empty; " + instead})
	})
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// variableOf returns the name of the variable that sets a flag; false: none does.
func variableOf(f *pflag.Flag) (string, bool) {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), f.Name != "version" && f.Name != "help"
}

// checkToken tells what is wrong with how the token is given.
func (o *Options) checkToken() error {
	problem := ""
	switch {
	case o.TokenFile != "" && o.Token != "":
		problem = "is given, and the token itself, too; give one of the two"
	case o.TokenFile == stdinName && o.SelfUpdate:
		problem = "is standard input, which a minion that updates itself does not have; give a file"
	default:
		return nil
	}
	return &job.InvalidError{Problems: []job.Problem{{Path: "--join-token-file", Message: problem}}}
}

// FromEnv sets the flags that were not given from CARILLON_ variables:
// --data-dir from CARILLON_DATA_DIR, and so on.
func FromEnv(fs *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var problems []job.Problem
	fs.VisitAll(func(f *pflag.Flag) {
		name, is := variableOf(f)
		v, ok := lookup(name)
		if !is || !ok || f.Changed {
			return
		}
		if err := fs.Set(f.Name, v); err != nil {
			problems = append(problems, job.Problem{Path: name, Message: err.Error()})
		}
	})
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// DefaultDataDir returns where a minion keeps its data: below /var/lib for
// root, below the home directory for others.
func DefaultDataDir() string {
	const sub = "carillon/worker"
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib", sub)
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local/share", sub)
	}
	return filepath.Join(os.TempDir(), sub)
}

// Config returns the application's configuration. Own is the number of this
// program among signed releases, in digits.
func (o *Options) Config(version, own string) (Config, error) {
	labels, err := o.labels()
	if err != nil {
		return Config{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return Config{}, fmt.Errorf("find this program, which is the shim too: %w", err)
	}
	update, err := o.update(own)
	if err != nil {
		return Config{}, err
	}
	offers, err := job.ParseQueueOffers(strings.Join(o.Queues, ","))
	if err != nil {
		return Config{}, &job.InvalidError{Problems: []job.Problem{{Path: "--queue", Message: err.Error()}}}
	}
	return Config{
		Update: update, Queues: offers, Handlers: o.Handlers,
		MetricsAddr: o.MetricsAddr, Insecure: o.Insecure, Token: o.Token, TokenFile: o.TokenFile, TokenShown: o.TokenShown, CAFile: o.CAFile, TrustFirst: o.TrustFirst, AllowFile: o.AllowFile, SecretsFile: o.SecretsFile, IdentityFile: o.Identity,
		Worker: worker.Config{
			ID: job.MinionID(o.ID), Labels: labels, DataDir: o.DataDir, Servers: o.Servers,
			MaxRunning: o.MaxRunning, Cgroup: o.Cgroup, FactsDir: o.FactsDir, UnsignedOrders: o.UnsignedOrders, ShimCommand: []string{exe, "shim"}, Version: version,
		},
	}, nil
}

// siteLabel is the label that --site asks for.
const siteLabel = "site"

// labels are those that the minion asks for.
func (o *Options) labels() (map[string]string, error) {
	if o.Site == "" {
		return o.Labels, nil
	}
	if other, ok := o.Labels[siteLabel]; ok && other != o.Site {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "--site", Message: fmt.Sprintf("is %q, and --label site=%s says another; leave one of them out", o.Site, other)}}}
	}
	if err := job.CheckLabel(siteLabel, o.Site); err != nil {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "--site", Message: err.Error()}}}
	}
	out := maps.Clone(o.Labels)
	if out == nil {
		out = map[string]string{}
	}
	out[siteLabel] = o.Site
	return out, nil
}

// The forms of log lines; those of nodes are the same (configs.Log).
const (
	logConsole = "console"
	logJSON    = "json"
)

// Logger returns a logger that writes to stderr.
func (o *Options) Logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(o.LogLevel)
	if err != nil {
		return nil, &job.InvalidError{Problems: []job.Problem{{
			Path: "--log-level", Message: fmt.Sprintf("%q is not a level; use debug, info, warn or error", o.LogLevel),
		}}}
	}
	cfg := zap.NewProductionConfig()
	switch o.LogFormat {
	case logJSON:
	case logConsole:
		cfg = zap.NewDevelopmentConfig()
		cfg.Development = false
	default:
		return nil, &job.InvalidError{Problems: []job.Problem{{
			Path: "--log-format", Message: fmt.Sprintf("%q is no form of log lines; use console or json", o.LogFormat),
		}}}
	}
	cfg.Level = zap.NewAtomicLevelAt(level)
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	cfg.DisableStacktrace, cfg.DisableCaller, cfg.Sampling = true, true, nil
	return cfg.Build()
}
