package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/handler/shared"
)

// sharedVerbs are the verbs for commands of jobs, about what they share. They ask the minion,
// and no API.
type sharedVerbs struct{ *call }

func (sv sharedVerbs) kvCommand() *cobra.Command {
	var ofJob bool
	cmd := &cobra.Command{
		Use: "kv", GroupID: groupHere, Args: cobra.ArbitraryArgs,
		Short: "In a command of a job: read and write what the tasks of the run share",
		Long: `Read and write entries that the tasks of a run share, or with --job all runs of the
job. It works in commands that a job starts, and needs neither a server nor a token:
the minion is asked, by ` + shared.EnvSocket + ` and ` + shared.EnvToken + `, which the
command finds in its environment. What is of a run goes with it; what is of a job
stays until the job is deleted.

Keys are letters, digits and . _ - / of at most 128 bytes, values texts of at most 4096.
There may be 256 keys, and 64 KiB in all. Exit code 3: there is no such key; 4: it has
another version; 124: --timeout has passed.`,
		Example: "  carillon kv set release 1.4.2\n  carillon kv get release\n  n=$(carillon kv incr done)\n  carillon kv cas leader 0 \"$CARILLON_MINION\" || echo 'another leads'\n  carillon kv watch release --timeout 5m",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownWord(cmd, "verb", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.PersistentFlags().BoolVar(&ofJob, "job", false, "what all runs of the job share, in the place of this run's tasks")
	state := func() (*shared.State, error) {
		s, err := sv.state()
		if err == nil && ofJob {
			s = s.OfJob()
		}
		return s, err
	}
	entry := func(use, short, example string, args cobra.PositionalArgs, request func(cmd *cobra.Command, args []string) (shared.Request, error), print func(shared.Entry) string) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: args, Example: "  carillon kv " + example,
			RunE: func(cmd *cobra.Command, args []string) error {
				r, err := request(cmd, args)
				if err == nil {
					err = r.Check()
				}
				if err != nil {
					return &usageError{err}
				}
				s, err := state()
				if err != nil {
					return sharedError(err)
				}
				defer s.Close()
				a, err := sv.ask(cmd.Context(), s, r)
				if err != nil {
					return sharedError(err)
				}
				e := shared.Entry{Key: r.Key, Value: a.Value, Version: a.Version}
				if sv.asObject() {
					return sv.printValue(e)
				}
				if print != nil {
					fmt.Fprintln(sv.out, print(e))
				}
				return nil
			},
		}
	}
	value := func(e shared.Entry) string { return e.Value }
	version := func(e shared.Entry) string { return strconv.FormatInt(e.Version, 10) }
	cmd.AddCommand(
		entry("get KEY", "Print the value of a key", "get release", exactlyOne("key"), func(_ *cobra.Command, args []string) (shared.Request, error) {
			return shared.Request{Op: shared.OpGet, Key: args[0]}, nil
		}, value),
		entry("set KEY VALUE", "Write a key, and print its version", "set release 1.4.2", exactly("a key and a value", 2), func(_ *cobra.Command, args []string) (shared.Request, error) {
			return shared.Request{Op: shared.OpSet, Key: args[0], Value: args[1]}, nil
		}, version),
		entry("cas KEY VERSION VALUE", "Write a key if it has a version (0: if it is not there), and print the new one", "cas leader 0 \"$CARILLON_MINION\"", exactly("a key, a version and a value", 3), func(_ *cobra.Command, args []string) (shared.Request, error) {
			n, err := wholeNumber("version", args[1])
			return shared.Request{Op: shared.OpCAS, Key: args[0], Version: n, Value: args[2]}, err
		}, version),
		entry("delete KEY", "Remove a key", "delete release", exactlyOne("key"), func(_ *cobra.Command, args []string) (shared.Request, error) {
			return shared.Request{Op: shared.OpDelete, Key: args[0]}, nil
		}, nil),
		entry("incr KEY [N]", "Add to a counter, 1 without N, and print what it comes to", "incr done", fromTo("a key, and maybe a number", 1, 2), func(_ *cobra.Command, args []string) (shared.Request, error) {
			r := shared.Request{Op: shared.OpIncr, Key: args[0], Delta: 1}
			var err error
			if len(args) > 1 {
				r.Delta, err = wholeNumber("number", args[1])
			}
			return r, err
		}, value),
		sv.watchCommand(state), sv.listSharedCommand(state),
	)
	return cmd
}

// state is what the tasks share of the run that this program is part of.
func (sv sharedVerbs) state() (*shared.State, error) {
	return shared.Open(sv.env[shared.EnvSocket], sv.env[shared.EnvToken])
}

// exactly refuses anything but n arguments.
func exactly(what string, n int) cobra.PositionalArgs { return fromTo(what, n, n) }

func fromTo(what string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s: specify %s (got %d)", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

func wholeNumber(what, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s %q: give a whole number", what, text)
	}
	return n, nil
}

func (sv sharedVerbs) watchCommand(state func() (*shared.State, error)) *cobra.Command {
	var known int64
	cmd := &cobra.Command{
		Use: "watch KEY", Args: exactlyOne("key"),
		Short: "Wait until a key is written or removed, and print its value",
		Long: "Wait until a key has another version than now, or than --known, and print its value.\n" +
			"Exit code 3: it was removed.",
		Example: "  carillon kv watch release --timeout 5m\n  carillon kv watch release --known 0   # until it is there",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := shared.Request{Op: shared.OpWatch, Key: args[0], Version: known, Timeout: sv.timeout.Seconds()}
			if err := r.Check(); err != nil {
				return &usageError{err}
			}
			s, err := state()
			if err != nil {
				return sharedError(err)
			}
			defer s.Close()
			if !cmd.Flags().Changed("known") {
				e, err := s.Get(cmd.Context(), args[0])
				if err != nil && !errors.Is(err, shared.ErrNotFound) {
					return sharedError(err)
				}
				r.Version = e.Version
			}
			a, err := sv.ask(cmd.Context(), s, r)
			switch {
			case err != nil:
				return sharedError(err)
			case sv.asObject():
				return sv.printValue(shared.Entry{Key: r.Key, Value: a.Value, Version: a.Version})
			case a.Version == 0:
				return &exitError{exitNotFound, fmt.Errorf("%s was removed", r.Key)}
			}
			fmt.Fprintln(sv.out, a.Value)
			return nil
		},
	}
	cmd.Flags().Int64Var(&known, "known", 0, "the `VERSION` that you know (0: there was none; default: that of now)")
	return cmd
}

func (sv sharedVerbs) listSharedCommand(state func() (*shared.State, error)) *cobra.Command {
	return &cobra.Command{
		Use: "list [PREFIX]", Args: atMostOne,
		Short:   "List keys, those that begin with PREFIX",
		Example: "  carillon kv list\n  carillon kv list host/",
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			r := shared.Request{Op: shared.OpList, Key: prefix}
			if err := r.Check(); err != nil {
				return &usageError{err}
			}
			s, err := state()
			if err != nil {
				return sharedError(err)
			}
			defer s.Close()
			a, err := sv.ask(cmd.Context(), s, r)
			if err != nil {
				return sharedError(err)
			}
			return printList(&sv.printer, a.Entries, table[shared.Entry]{
				columns: []column[shared.Entry]{
					{head: "KEY", cell: func(e shared.Entry) string { return e.Key }},
					{head: "VERSION", cell: func(e shared.Entry) string { return strconv.FormatInt(e.Version, 10) }},
					{head: "VALUE", cell: func(e shared.Entry) string { return oneLine(e.Value) }},
				},
				name: func(e shared.Entry) string { return e.Key },
				none: "no keys",
			})
		},
	}
}

func (sv sharedVerbs) barrierCommand() *cobra.Command {
	count := 0
	cmd := &cobra.Command{
		Use: "barrier NAME", GroupID: groupHere, Args: exactlyOne("name"),
		Short: "In a command of a job: wait until all tasks of the run have come here",
		Long: `Wait until all tasks of the run have come to the barrier of this name, or --count of
them. It opens once and stays open: for another stage take another name. It works as
` + "`carillon kv`" + ` does.

Exit code 0: all have come. 1: the barrier is broken, since a task has ended that it
waits for, and can never open. 124: this task has waited for --timeout; the others
wait on.`,
		Example: "  carillon barrier loaded --timeout 10m && ./switch-over",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := shared.Request{Op: shared.OpBarrier, Key: args[0], Count: count, Timeout: sv.timeout.Seconds()}
			err := r.Check()
			if cmd.Flags().Changed("count") && count < 1 {
				err = errors.Join(err, fmt.Errorf("--count %d: give 1 or more", count))
			}
			if err != nil {
				return &usageError{err}
			}
			s, err := sv.state()
			if err != nil {
				return sharedError(err)
			}
			defer s.Close()
			_, err = sv.ask(cmd.Context(), s, r)
			return sharedError(err)
		},
	}
	cmd.Flags().IntVar(&count, "count", 0, "wait for this `N` of tasks (default: all of the run)")
	return cmd
}

// lateAnswer is how much longer than --timeout an answer is awaited, which tells how far the
// others are.
const lateAnswer = 2 * time.Second

// ask asks the minion, which knows how long that may take.
func (sv sharedVerbs) ask(ctx context.Context, s *shared.State, r shared.Request) (shared.Answer, error) {
	if !r.Waits() {
		return s.Do(ctx, r)
	}
	asking, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			select {
			case <-asking.Done():
			case <-time.After(lateAnswer):
			}
		}
		stop(context.Cause(ctx))
	})()
	return s.Do(asking, r)
}

// sharedError is an error with its exit code.
func sharedError(err error) error {
	for is, code := range map[error]int{
		shared.ErrNotFound: exitNotFound, shared.ErrConflict: exitConflict, shared.ErrRefused: exitNotAllowed,
		shared.ErrUnavailable: exitUnavailable, shared.ErrTimeout: exitTimedOut,
	} {
		if errors.Is(err, is) {
			return &exitError{code, err}
		}
	}
	return err
}
