package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// manifestVerbs are the verbs of files of jobs and what they name: apply and delete.
type manifestVerbs struct{ *call }

func (mf manifestVerbs) applyCommand() *cobra.Command {
	var (
		src    sourceFlags
		dryRun dryRun
		prune  pruneFlags
	)
	cmd := &cobra.Command{
		Use: "apply -f FILE|DIR|-", GroupID: groupJobs,
		Short: "Create or update jobs, groups, scripts, roles and so on from files",
		Long: "Create or update what is in files: jobs, groups, host groups, calendars, scripts, roles\n" +
			"and role bindings. All files are checked before any is applied, and every file is\n" +
			"applied as a whole or not at all; files with groups go first. A directory stands for\n" +
			"its *.yaml, *.yml and *.json files, - for stdin.\n\n" +
			"--dry-run has the server check all, and tells what would be done; --dry-run=client\n" +
			"asks no server, and tells what is wrong with the files alone.\n\n" +
			"--prune deletes, after all is applied, what is stored and in no file any more: only\n" +
			"objects of the kinds that are in the files, in the namespace that --namespace names,\n" +
			"with the labels that --label names; one of the two must be given. What lies in no\n" +
			"namespace goes by labels alone. It names what it would delete and wants --yes, and\n" +
			"does not delete all objects of a kind at once, as a wrong directory would.",
		Example: "  carillon apply -f backup.yaml\n  carillon apply --dry-run jobs/\n  carillon apply -R -f jobs/ -n team --prune --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := mf.readManifests(src.and(args))
			if err != nil {
				return err
			}
			if dryRun == dryRunClient {
				return mf.checkAlone(cmd, files, &prune)
			}
			planned, err := mf.checkManifests(cmd, files)
			if err != nil {
				return err
			}
			gone, err := mf.toPrune(cmd, files, &prune)
			if err != nil {
				return err
			}
			if dryRun == dryRunServer {
				return mf.printResults(append(planned, wouldPrune(gone)...), " (dry run)")
			}
			if err := confirmPrune(gone, &prune); err != nil {
				return err
			}
			slices.SortStableFunc(files, func(x, y manifestFile) int { return min(len(y.groups()), 1) - min(len(x.groups()), 1) })
			return mf.applyAndPrune(client.Because(cmd.Context(), mf.reason), files, gone)
		},
	}
	src.add(cmd)
	cmd.Flags().Var(&dryRun, "dry-run", "check, and show what would change: by `server`, or what client alone can tell")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = string(dryRunServer)
	prune.add(cmd)
	reasonFlag(cmd, &mf.reason)
	mf.overEtcd(cmd)
	return cmd
}

// sourceFlags say where manifests are.
type sourceFlags struct {
	files     []string
	recursive bool
}

func (s *sourceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&s.files, "file", "f", nil, "`FILE`, directory or - (may be given several times)")
	cmd.Flags().BoolVarP(&s.recursive, "recursive", "R", false, "the directories below a directory, too; not those whose names begin with a dot")
}

// and returns the sources with those that are given without -f.
func (s sourceFlags) and(args []string) sourceFlags {
	s.files = append(slices.Clone(s.files), args...)
	return s
}

// dryRun says who only checks; empty: it is no dry run.
type dryRun string

const (
	dryRunServer dryRun = "server"
	dryRunClient dryRun = "client"
)

// String implements pflag.Value.
func (d *dryRun) String() string { return string(*d) }

// Type implements pflag.Value.
func (d *dryRun) Type() string { return "where" }

// Set implements pflag.Value. The flag was one without a value, which has these, too.
func (d *dryRun) Set(text string) error {
	switch text {
	case "server", "true":
		*d = dryRunServer
	case "client":
		*d = dryRunClient
	case "none", "false":
		*d = ""
	default:
		return errors.New("want server, client or none")
	}
	return nil
}

// actionChecked is what a dry run says that asks no server.
const actionChecked api.Action = "checked"

// checkAlone tells what is wrong with files as far as that can be seen without a server.
func (mf manifestVerbs) checkAlone(cmd *cobra.Command, files []manifestFile, prune *pruneFlags) error {
	if prune.prune {
		return usagef("--prune asks the server what is stored; use --dry-run=server")
	}
	var (
		results  []api.ApplyResult
		problems []job.Problem
	)
	for _, f := range files {
		inFile, err := manifest.Decode(f.name, f.body)
		if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
			problems = append(problems, invalid.Problems...)
			continue
		} else if err != nil {
			return err
		}
		for i := range inFile {
			m := inFile[i].Metadata
			r := api.ApplyResult{Kind: inFile[i].Kind, Namespace: m.Namespace, Name: m.Name, Action: actionChecked}
			problems = append(problems, mf.foreign(cmd, f.name, describeResult(r), m.Namespace)...)
			results = append(results, r)
		}
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return mf.printResults(results, " (dry run)")
}

// manifestFile is a file of manifests, as read.
type manifestFile struct {
	name string
	body []byte
}

// groups returns the groups of a file, and those of hosts; of one that has problems, none: the
// server tells them.
func (f manifestFile) groups() []manifest.Object {
	objects, err := manifest.Decode(f.name, f.body)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(objects, func(o manifest.Object) bool { return o.Kind == job.KindJob })
}

// withGroups returns the file with the groups of the other files behind it, as
// its jobs may be in these, and which they are.
func (f manifestFile) withGroups(files []manifestFile) ([]byte, map[thing]bool, error) {
	known := map[thing]bool{}
	for _, g := range f.groups() {
		known[thing{g.Kind, g.Metadata.Key()}] = true
	}
	added := map[thing]bool{}
	var others []manifest.Object
	for _, o := range files {
		for _, g := range o.groups() {
			if t := (thing{g.Kind, g.Metadata.Key()}); !known[t] {
				known[t], added[t] = true, true
				others = append(others, g)
			}
		}
	}
	text, err := manifest.Encode(others...)
	if err != nil || len(others) == 0 {
		return f.body, nil, err
	}
	return slices.Concat(f.body, []byte("\n---\n"), text), added, nil
}

// readManifests reads files, directories and stdin, in the order given.
func (mf manifestVerbs) readManifests(src sourceFlags) ([]manifestFile, error) {
	if len(src.files) == 0 {
		return nil, usagef("no file given: name one with -f")
	}
	var files []manifestFile
	for _, source := range src.files {
		if source == "-" {
			body, err := io.ReadAll(mf.opts.Stdin)
			if err != nil {
				return nil, fmt.Errorf("read stdin: %w", err)
			}
			files = append(files, manifestFile{name: "stdin", body: body})
			continue
		}
		paths, err := manifestPaths(source, src.recursive)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			body, err := os.ReadFile(path)
			if err != nil {
				return nil, unreadable(err)
			}
			files = append(files, manifestFile{name: path, body: body})
		}
	}
	return files, nil
}

// manifestPaths returns source itself, or the manifests in it, sorted.
func manifestPaths(source string, recursive bool) ([]string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return []string{source}, nil
	}
	var paths []string
	below := false
	err = filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != source:
			below = true
			if !recursive || strings.HasPrefix(e.Name(), ".") {
				return fs.SkipDir
			}
		case !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, unreadable(err)
	}
	if len(paths) == 0 {
		hint := ""
		if below && !recursive {
			hint = "; -R looks into those below it"
		}
		return nil, &exitError{exitUsage, fmt.Errorf("%s: no *.yaml, *.yml or *.json file in this directory%s", source, hint)}
	}
	return paths, nil
}

// unreadable is a file that was named wrongly: bad usage, not a failure.
func unreadable(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = fmt.Errorf("%s: %w", e.Path, e.Err)
	}
	return &exitError{exitUsage, err}
}

// clearSecrets tells what is wrong with files that have secrets, so that no value which is
// not sealed leaves this host.
func clearSecrets(files []manifestFile) error {
	var problems []job.Problem
	for _, f := range files {
		objects, _ := manifest.DecodeNames(f.name, f.body)
		if !slices.ContainsFunc(objects, func(o manifest.Object) bool { return o.Kind == job.KindSecret }) {
			continue
		}
		_, err := manifest.Decode(f.name, f.body)
		if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
			problems = append(problems, invalid.Problems...)
		}
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// checkManifests asks the server about every file, and returns what applying
// would do, or all problems of all files.
func (mf manifestVerbs) checkManifests(cmd *cobra.Command, files []manifestFile) ([]api.ApplyResult, error) {
	var (
		planned  []api.ApplyResult
		problems []job.Problem
		seen     = make(map[string]string)
	)
	if err := clearSecrets(files); err != nil {
		return nil, err // before anything is sent
	}
	for _, f := range files {
		body, added, err := f.withGroups(files)
		if err != nil {
			return nil, err
		}
		results, err := mf.client.Jobs.Apply(cmd.Context(), f.name, body, true)
		if e, ok := errors.AsType[*client.Error](err); ok && codeOf(e) == exitUsage {
			problems = append(problems, problemsOf(e, f.name)...)
			continue
		}
		if err != nil {
			return nil, err
		}
		results = slices.DeleteFunc(results, func(r api.ApplyResult) bool {
			return added[thing{r.Kind, job.Key{Namespace: r.Namespace, Name: r.Name}}]
		})
		for _, r := range results {
			what := describeResult(r)
			if other, ok := seen[what]; ok {
				problems = append(problems, job.Problem{File: f.name, Message: fmt.Sprintf("%s is in %s too; keep one of them", what, other)})
			}
			seen[what] = f.name
			problems = append(problems, mf.foreign(cmd, f.name, what, r.Namespace)...)
		}
		planned = append(planned, results...)
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return planned, nil
}

// foreign tells when an object is not in the namespace that --namespace names.
func (mf manifestVerbs) foreign(cmd *cobra.Command, file, what, namespace string) []job.Problem {
	if !cmd.Flags().Changed("namespace") || namespace == mf.namespace {
		return nil
	}
	return []job.Problem{{File: file, Path: "metadata.namespace", Message: fmt.Sprintf(
		"%s is not in the namespace %q that --namespace names; write it into the file", what, mf.namespace)}}
}

// problemsOf returns the problems that the server found in a file.
func problemsOf(e *client.Error, file string) []job.Problem {
	if len(e.Problems) == 0 {
		return []job.Problem{{File: file, Message: e.Error()}}
	}
	problems := slices.Clone(e.Problems)
	for i := range problems {
		if problems[i].File == "" {
			problems[i].File = file
		}
	}
	return problems
}

// applyAndPrune applies the files, and deletes then what is in none of them any more. When
// something cannot be done after all, what was done before is still told.
func (mf manifestVerbs) applyAndPrune(ctx context.Context, files []manifestFile, gone []thing) error {
	done, err := mf.applyManifests(ctx, files)
	if err == nil && len(gone) > 0 {
		var removed []api.ApplyResult
		removed, err = mf.remove(ctx, gone)
		done = append(done, pruned(removed)...)
	}
	if printErr := mf.printResults(done, ""); printErr != nil {
		return printErr
	}
	return err
}

// applyManifests applies file by file, and returns what was done, with an error too.
func (mf manifestVerbs) applyManifests(ctx context.Context, files []manifestFile) ([]api.ApplyResult, error) {
	var done []api.ApplyResult
	for i, f := range files {
		results, err := mf.client.Jobs.Apply(ctx, f.name, f.body, false)
		done = append(done, results...)
		if err != nil {
			return done, fmt.Errorf("apply %s (%d of %d files were applied): %w", f.name, i, len(files), err)
		}
	}
	return done, nil
}

func (mf manifestVerbs) printResults(results []api.ApplyResult, suffix string) error {
	if mf.output == formatTable || mf.output == formatWide {
		for _, r := range results {
			fmt.Fprintf(mf.out, "%s %s%s%s\n", describeResult(r), r.Action, suffix, sinceWhen(r.HoldsFrom))
			for _, w := range r.Warnings {
				mf.note("warning: %s: %s", describeResult(r), w)
			}
		}
		mf.tellDefaults(results)
		return nil
	}
	return printList(&mf.printer, results, table[api.ApplyResult]{
		name: func(r api.ApplyResult) string {
			if r.Namespace == "" {
				return r.Name
			}
			return r.Namespace + "/" + r.Name
		},
	})
}

// tellDefaults tells which defaults hold, of jobs that have the same in one line.
func (mf manifestVerbs) tellDefaults(results []api.ApplyResult) {
	jobs := map[string][]string{}
	var order []string
	for _, r := range results {
		if len(r.Defaults) == 0 {
			continue
		}
		text := strings.Join(r.Defaults, ", ")
		if jobs[text] == nil {
			order = append(order, text)
		}
		jobs[text] = append(jobs[text], r.Namespace+"/"+r.Name)
	}
	for _, text := range order {
		named := jobs[text]
		who := "job " + named[0]
		if n := len(named) - 1; n > 0 {
			who = fmt.Sprintf("jobs %s and %d more", named[0], n)
		}
		mf.note("by default: %s (%s)", text, who)
	}
}

// describeResult returns "job default/hello", and "role ops" of what lies in no namespace.
func describeResult(r api.ApplyResult) string {
	return strings.ToLower(r.Kind) + " " + nameOf(r)
}
