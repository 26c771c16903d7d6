package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// settings is the file with contexts: which clusters there are, and how they are asked. It
// holds no secret: a token is in a file of its own.
type settings struct {
	path string
	// Current is the context that holds where none is named; empty: none does.
	Current  string                 `yaml:"current,omitempty"`
	Contexts map[string]*contextual `yaml:"contexts,omitempty"`
}

// contextual is one context; what is empty is as it is without one.
type contextual struct {
	Server    string `yaml:"server,omitempty" json:"server,omitempty"`
	CA        string `yaml:"ca,omitempty" json:"ca,omitempty"`
	TokenFile string `yaml:"tokenFile,omitempty" json:"tokenFile,omitempty"`
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
}

// envContext is the variable for --context.
const envContext = "CARILLON_CONTEXT"

// settingsPath is where contexts are kept; empty: nowhere.
func (ca *call) settingsPath() string {
	if path := ca.credentialsPath(); path != "" {
		return filepath.Join(filepath.Dir(path), "config.yaml")
	}
	return ""
}

// readSettings reads the file. One that there is not has no contexts.
func readSettings(path string) (*settings, error) {
	s := &settings{path: path, Contexts: map[string]*contextual{}}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("contexts: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil && len(bytes.TrimSpace(text)) > 0 {
		return nil, usagef("%s is no file of contexts: %w", path, err)
	}
	if s.Contexts == nil {
		s.Contexts = map[string]*contextual{}
	}
	for name, c := range s.Contexts {
		if c == nil {
			s.Contexts[name] = &contextual{}
		}
	}
	return s, nil
}

// write stores the file as a whole, for this account.
func (s *settings) write() error {
	if s.path == "" {
		return errors.New("there is no place for contexts: HOME and XDG_CONFIG_HOME are not set")
	}
	text, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	f, err := os.CreateTemp(dir, "config-*.yaml")
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	_, err = f.Write(text)
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("contexts: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// named returns a context; what says where its name is from.
func (s *settings) named(name, what string) (*contextual, error) {
	if c := s.Contexts[name]; c != nil {
		return c, nil
	}
	return nil, usagef("%s: there is no context %q%s; `carillon context list` shows them", what, name, didYouMean(name, sortedKeys(s.Contexts)))
}

// inContext returns the context that holds: by --context, by its variable, or the current
// one. Without one it is empty.
func (ca *call) inContext() (*contextual, error) {
	s, err := readSettings(ca.settingsPath())
	if err != nil {
		return nil, err
	}
	switch {
	case ca.context != "":
		return s.named(ca.context, "--context (env "+envContext+")")
	case s.Current != "":
		return s.named(s.Current, s.path)
	}
	return &contextual{}, nil
}

// contextVerbs are the verbs of contexts.
type contextVerbs struct{ *call }

func (cv contextVerbs) contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", GroupID: groupHere, Args: noOrder,
		Short: "Keep several clusters, and say which one is meant",
		Long: "Keep how clusters are asked, by names: server, authority, file with the token, and\n" +
			"namespace. Flags and variables go before what a context says. They are kept in\n" +
			"~/.config/carillon/config.yaml, which holds no secret.",
		Example: "  carillon context set prod --server https://a.example:8420,https://b.example:8420 -n shop\n  carillon context use prod\n  carillon get jobs --context test",
		RunE:    needsVerb,
	}
	cmd.AddCommand(cv.setCommand(), cv.useCommand(), cv.listCommand(), cv.deleteCommand())
	return cmd
}

// change reads the file, has it changed, and writes it.
func (cv contextVerbs) change(name, done string, fn func(*settings) error) error {
	s, err := readSettings(cv.settingsPath())
	if err != nil {
		return err
	}
	if err := fn(s); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	return cv.printOutcome(outcome{"context", name, done})
}

func (cv contextVerbs) setCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set NAME", Args: exactlyOne("name"), ValidArgsFunction: cv.completeContexts,
		Short:   "Keep --server, --ca, --token-file and --namespace under a name",
		Long:    "Keep what --server, --ca, --token-file and --namespace say under a name. What is not\ngiven stays as it is there.",
		Example: "  carillon context set prod --server https://a.example:8420 --ca ca.pem",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := job.CheckName(args[0]); err != nil {
				return usagef("context %w", err)
			}
			return cv.change(args[0], "kept", func(s *settings) error {
				c := s.Contexts[args[0]]
				if c == nil {
					c = &contextual{}
				}
				given := false
				for _, f := range []struct {
					name string
					from string
					to   *string
					path bool
				}{{"server", cv.server, &c.Server, false}, {"ca", cv.caFile, &c.CA, true}, {"token-file", cv.tokenFile, &c.TokenFile, true}, {"namespace", cv.namespace, &c.Namespace, false}} {
					if !cmd.Flags().Changed(f.name) {
						continue
					}
					given, *f.to = true, f.from
					if f.path {
						path, err := filepath.Abs(f.from)
						if err != nil {
							return fmt.Errorf("--%s: %w", f.name, err)
						}
						*f.to = path
					}
				}
				if !given {
					return usagef("give at least one of --server, --ca, --token-file and --namespace")
				}
				s.Contexts[args[0]] = c
				return nil
			})
		},
	}
}

func (cv contextVerbs) useCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Args: exactlyOne("context"), ValidArgsFunction: cv.completeContexts,
		Short:   "Have a context hold where none is named",
		Example: "  carillon context use prod",
		RunE: func(_ *cobra.Command, args []string) error {
			return cv.change(args[0], "used from now on", func(s *settings) error {
				if _, err := s.named(args[0], "context use"); err != nil {
					return err
				}
				s.Current = args[0]
				return nil
			})
		},
	}
}

func (cv contextVerbs) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Args: exactlyOne("context"), ValidArgsFunction: cv.completeContexts,
		Short:   "Forget a context",
		Example: "  carillon context delete test",
		RunE: func(_ *cobra.Command, args []string) error {
			current := false
			err := cv.change(args[0], "deleted", func(s *settings) error {
				if _, err := s.named(args[0], "context delete"); err != nil {
					return err
				}
				delete(s.Contexts, args[0])
				if current = s.Current == args[0]; current {
					s.Current = ""
				}
				return nil
			})
			if err == nil && current {
				cv.note("it was the current context; none is now. Choose another with `carillon context use NAME`")
			}
			return err
		},
	}
}

// listedContext is a context as it is listed.
type listedContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current,omitempty"`
	contextual
}

func (cv contextVerbs) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short:   "List the contexts",
		Example: "  carillon context list",
		RunE: func(*cobra.Command, []string) error {
			s, err := readSettings(cv.settingsPath())
			if err != nil {
				return err
			}
			holds := cmp.Or(cv.context, s.Current)
			var all []listedContext
			for _, name := range sortedKeys(s.Contexts) {
				all = append(all, listedContext{name, name == holds, *s.Contexts[name]})
			}
			return printList(&cv.printer, all, table[listedContext]{
				none: "no contexts; keep one with `carillon context set NAME --server URL`",
				name: func(c listedContext) string { return c.Name },
				columns: []column[listedContext]{
					{head: "CURRENT", cell: func(c listedContext) string {
						if c.Current {
							return "*"
						}
						return ""
					}},
					{head: "NAME", cell: func(c listedContext) string { return c.Name }},
					{head: "SERVER", cell: func(c listedContext) string { return orText(c.Server, "the usual one") }},
					{head: "NAMESPACE", cell: func(c listedContext) string { return orText(c.Namespace, job.DefaultNamespace) }},
					{head: "CA", wide: true, cell: func(c listedContext) string { return c.CA }},
					{head: "TOKEN FILE", wide: true, cell: func(c listedContext) string { return c.TokenFile }},
				},
			})
		},
	}
}

func (cv contextVerbs) completeContexts(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := readSettings(cv.settingsPath())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, name := range sortedKeys(s.Contexts) {
		names = append(names, cobra.CompletionWithDesc(name, s.Contexts[name].Server))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
