package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// Options is what the command sees of the outside world.
type Options struct {
	// Args are the arguments without the program's name.
	Args []string
	// Env is the environment, as os.Environ returns it.
	Env []string

	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Version and Commit tell which build this is; empty: unknown.
	Version, Commit string

	// Dev runs `carillon dev` with the arguments after the verb and returns
	// the exit code. Nil: the verb does not exist.
	Dev func(ctx context.Context, args []string, stdout, stderr io.Writer) int
	// OpenEtcd reaches etcd without a node, for backups. Nil: the verbs do not exist.
	OpenEtcd OpenEtcd
}

// Main runs one command and returns its exit code. When ctx is cancelled the
// command ends with 130.
func Main(ctx context.Context, o Options) int {
	return newApp(o).main(ctx)
}

// app is the tree of verbs, and what becomes of a call of it.
type app struct {
	*call

	cancel context.CancelFunc
}

// The defaults of the global flags, and the variables that set them.
const (
	defaultServer = client.DefaultServer
	envServer     = "CARILLON_SERVER"
	envNamespace  = "CARILLON_NAMESPACE"
)

func newApp(o Options) *app {
	a := &app{call: &call{
		printer: printer{out: &sink{w: shown(o.Stdout)}, errout: shown(o.Stderr)},
		clock:   clock{now: time.Now, zone: time.Local},
		opts:    o, env: make(map[string]string, len(o.Env)), patience: 30 * time.Second, again: time.Second,
	}, cancel: func() {}}
	for _, kv := range o.Env {
		k, v, _ := strings.Cut(kv, "=")
		a.env[k] = v
	}
	if v := terminalOf(a.out); v != nil {
		v.toned, v.width = tones(a.env), widthOf(o.Stdout)
	}
	if tz := a.env["TZ"]; tz != "" {
		if loc, err := time.LoadLocation(strings.TrimPrefix(tz, ":")); err == nil {
			a.zone = loc
		}
	}
	return a
}

// shown returns what a verb writes to: w, or, before a terminal, what makes
// visible that it would obey.
func shown(w io.Writer) io.Writer {
	if terminal(w) {
		return &visible{w: w}
	}
	return w
}

// flush writes what the last write of each stream left incomplete.
func (a *app) flush() {
	if v, ok := a.out.w.(*visible); ok && a.out.err == nil {
		a.out.err = v.flush()
	}
	if v, ok := a.errout.(*visible); ok {
		_ = v.flush() // there is nowhere else to tell it
	}
}

func (a *app) main(ctx context.Context) int {
	defer a.flush()
	root := a.root()
	args, err := asMeant(root, a.opts.Args)
	if err != nil {
		return a.report(root, err)
	}
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetIn(a.opts.Stdin)
	root.SetOut(a.out)
	root.SetErr(a.errout)

	cmd, err := root.ExecuteContextC(ctx)
	timedOut := cmd.Context() != nil && errors.Is(cmd.Context().Err(), context.DeadlineExceeded)
	a.cancel()
	if a.client != nil {
		a.client.Close()
	}
	if a.closeEtcd != nil {
		a.closeEtcd()
	}
	a.flush()
	if a.out.err != nil {
		err = fmt.Errorf("write output: %w", a.out.err)
	}
	switch {
	case err == nil:
		return a.code
	case ctx.Err() != nil:
		err = &exitError{code: exitInterrupted, err: orElse(err, errors.New("interrupted"))}
	case timedOut:
		err = &exitError{code: exitTimedOut, err: orElse(err, fmt.Errorf("timed out after %s", a.timeout))}
	}
	return a.report(cmd, err)
}

// orElse returns err when it already is what a verb wants to say at its end,
// and other when it is only the echo of a cancelled context.
func orElse(err, other error) error {
	var e *exitError
	if errors.As(err, &e) && e.err != nil {
		return e.err
	}
	return other
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "carillon",
		Short:             "Carillon runs jobs when they are due, on any of many hosts.",
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:           oneLine(a.ownVersion().String()),
		PersistentPreRunE: a.prepare,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownWord(cmd, "verb", args[0])
			}
			return cmd.Help()
		},
	}
	root.AddGroup(
		&cobra.Group{ID: groupJobs, Title: "Jobs"},
		&cobra.Group{ID: groupRuns, Title: "Runs"},
		&cobra.Group{ID: groupCluster, Title: "Cluster"},
		&cobra.Group{ID: groupHere, Title: "This program"},
	)
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "`URL` of the API, or unix:// and the path of a node's socket; of several with commas between them the first that takes a connection (env "+envServer+"; default: the socket of a node on this host, else "+defaultServer+")")
	flags.StringVar(&a.context, "context", "", "`NAME` of the kept cluster that says what these flags do not (env "+envContext+")")
	flags.StringVar(&a.caFile, "ca", "", "`FILE` with the authority of a server that is asked by https (env "+envCA+"; default: those that this host trusts)")
	flags.StringVar(&a.tokenFile, "token-file", "", "`FILE` with the token that is shown to the API (env "+envTokenFile+"; the token itself: "+envToken+")")
	flags.StringVarP(&a.namespace, "namespace", "n", job.DefaultNamespace, "`NAME` of the namespace (env "+envNamespace+")")
	flags.StringVarP(&a.output, "output", "o", formatTable, "`FORM` of the output: table, wide, json, yaml, name, jsonpath=PATH, go-template=TEXT")
	addDuration(flags, &a.timeout, "timeout", 0, "give up after this `TIME`, as in 30s (0: never)")
	flags.BoolVar(&a.raw, "raw", false, "print what hosts and others wrote as it is, also to a terminal, which obeys it")
	root.SetVersionTemplate("carillon {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version and exit")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(a.help)
	root.SetUsageFunc(func(cmd *cobra.Command) error { a.help(cmd, nil); return nil })
	root.SetHelpCommand(a.helpCommand())
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp))

	root.AddCommand(
		manifestVerbs{a.call}.applyCommand(), manifestVerbs{a.call}.diffCommand(), manifestVerbs{a.call}.exportCommand(), editVerbs{a.call}.editCommand(), a.explainCommand(), a.getCommand(), a.describeCommand(), manifestVerbs{a.call}.deleteCommand(), jobVerbs{a.call}.nextCommand(),
		pauseVerbs{a.call}.pauseCommand(), pauseVerbs{a.call}.resumeCommand(),
		startVerbs{a.call}.runCommand(), execVerbs{a.call}.execCommand(), runVerbs{a.call}.runsCommand(groupRuns), logVerbs{a.call}.logsCommand(), runVerbs{a.call}.cancelCommand(), runVerbs{a.call}.redoCommand(),
		nodeVerbs{a.call}.nodesCommand(groupCluster), siteVerbs{a.call}.sitesCommand(), minionVerbs{a.call}.minionsCommand(groupCluster), shardVerbs{a.call}.shardsCommand(groupCluster), etcdVerbs{a.call}.etcdCommand(), lockVerbs{a.call}.lockCommand(), queueVerbs{a.call}.queueCommand(), planVerbs{a.call}.planCommand(), secretVerbs{a.call}.secretCommand(), notifierVerbs{a.call}.notifyCommand(), tokenVerbs{a.call}.tokensCommand(), tokenVerbs{a.call}.authCommand(), auditVerbs{a.call}.auditCommand(), doctorVerbs{a.call}.doctorCommand(), recoverVerbs{a.call}.recoverCommand(), standbyVerbs{a.call}.standbyCommand(), standbyVerbs{a.call}.promoteCommand(), standbyVerbs{a.call}.demoteCommand(),
		loginVerbs{a.call}.loginCommand(), loginVerbs{a.call}.logoutCommand(), contextVerbs{a.call}.contextCommand(), a.versionCommand(), a.completionCommand(), a.manCommand(), a.topCommand(),
	)
	a.completeNames(root)
	root.AddCommand(jobVerbs{a.call}.enableCommands()...)
	root.AddCommand(jobVersionVerbs{a.call}.versionsCommand(), jobVersionVerbs{a.call}.rollbackCommand())
	for _, c := range root.Commands() {
		switch c.Name() {
		case "runs", "nodes", "minions", "shards":
			a.addListFlags(c)
		case "enable", "disable":
			a.takeSeveral(c)
		case "pause", "resume":
			a.takeSeveral(c)
			for _, below := range c.Commands() {
				if below.Name() != "all" {
					a.takeSeveral(below)
				}
			}
		}
	}
	root.AddCommand(webhookVerbs{a.call}.webhookCommand())
	root.AddCommand(a.importCommand())
	root.AddCommand(a.handlersCommand(), sharedVerbs{a.call}.kvCommand(), sharedVerbs{a.call}.barrierCommand())
	if a.opts.OpenEtcd != nil {
		root.AddCommand(backupVerbs{a.call}.backupCommand(), backupVerbs{a.call}.restoreCommand())
	}
	if a.opts.Dev != nil {
		root.AddCommand(a.devCommand())
	}
	return root
}

// The groups of the overview.
const (
	groupJobs    = "jobs"
	groupRuns    = "runs"
	groupCluster = "cluster"
	groupHere    = "here"
)

// prepare completes and checks the global flags, and starts the clock of
// --timeout.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := checkZeros(cmd); err != nil {
		return err
	}
	if v := a.env[envContext]; v != "" && a.context == "" {
		a.context = v
	}
	aboutContexts := cmd.Name() == "context" || cmd.HasParent() && cmd.Parent().Name() == "context"
	kept := &contextual{}
	if !aboutContexts {
		var err error
		if kept, err = a.inContext(); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name, env, kept string
		value           *string
	}{{"server", envServer, kept.Server, &a.server}, {"ca", envCA, kept.CA, &a.caFile}, {"token-file", envTokenFile, kept.TokenFile, &a.tokenFile}, {"namespace", envNamespace, kept.Namespace, &a.namespace}} {
		if v := cmp.Or(a.env[f.env], f.kept); v != "" && !cmd.Flags().Changed(f.name) {
			*f.value = v
		}
	}
	form, template, err := readTemplate(a.output)
	switch {
	case err != nil:
		return err
	case template != nil:
		a.output, a.template = form, template
	default:
		if err := oneOf("output", a.output, formats()); err != nil {
			return err
		}
	}
	if err := job.CheckName(a.namespace); err != nil {
		return usagef("--namespace: %w", err)
	}
	if a.timeout < 0 {
		return usagef("--timeout %s: give a time above zero, as in 30s", a.timeout)
	}
	if a.timeout > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
		a.cancel = cancel
		cmd.SetContext(ctx)
	}
	if a.raw {
		a.out.w, a.errout = a.opts.Stdout, a.opts.Stderr
	}
	if aboutContexts || asksNobody(cmd) {
		return nil
	}
	if over, err := a.openEtcd(cmd); over || err != nil {
		return err
	}
	logs := cmd.Parent() == cmd.Root() && (cmd.Name() == "login" || cmd.Name() == "logout") // over a socket nobody does
	switch {
	case a.server == "" && logs:
		a.server = defaultServer
	case a.server == "":
		a.server = nearestServer(cmd.Context(), a.socketDirs())
	}
	if a.server, err = a.chosenServer(cmd.Context()); err != nil {
		return err
	}
	if logs {
		return nil // what is kept may be what they are to put right
	}
	c, err := a.newClient()
	a.client = c
	return err
}

// asksNobody reports whether a verb needs no server.
func asksNobody(cmd *cobra.Command) bool {
	switch cmd.Name() {
	case "explain", "man", "completion", "restore":
		return cmd.Parent() == cmd.Root()
	case "connect":
		return cmd.Parent().Name() == "handlers"
	case "kv", "barrier":
		return true
	}
	if !cmd.HasParent() || cmd.Parent().Name() != "backup" {
		return cmd.HasParent() && cmd.Parent().Name() == "kv"
	}
	takes := cmd.Name() == "create" || cmd.Name() == "schedule" // by a node, unless it is said where etcd is
	return !takes || cmd.Flags().Changed("etcd-endpoints") || cmd.Flags().Changed("data-dir")
}

// sink remembers the first error of a writer, so that it is dealt with once,
// at the end.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}
