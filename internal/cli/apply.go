package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
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
		sources []string
		dryRun  bool
	)
	cmd := &cobra.Command{
		Use: "apply -f FILE|DIR|-", GroupID: groupJobs,
		Short: "Create or update jobs, groups, scripts, roles and so on from files",
		Long: "Create or update what is in files: jobs, groups, host groups, calendars, scripts, roles\n" +
			"and role bindings. All files are checked before any is applied, and every file is\n" +
			"applied as a whole or not at all; files with groups go first. A directory stands for\n" +
			"its *.yaml, *.yml and *.json files, - for stdin.",
		Example: "  carillon apply -f backup.yaml\n  carillon apply --dry-run jobs/",
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := mf.readManifests(append(slices.Clone(sources), args...))
			if err != nil {
				return err
			}
			planned, err := mf.checkManifests(cmd, files)
			if err != nil {
				return err
			}
			if dryRun {
				return mf.printResults(planned, " (dry run)")
			}
			slices.SortStableFunc(files, func(x, y manifestFile) int { return min(len(y.groups()), 1) - min(len(x.groups()), 1) })
			return mf.applyManifests(client.Because(cmd.Context(), mf.reason), files)
		},
	}
	cmd.Flags().StringArrayVarP(&sources, "file", "f", nil, "`FILE`, directory or - (may be given several times)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check, and show what would change")
	reasonFlag(cmd, &mf.reason)
	return cmd
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
func (mf manifestVerbs) readManifests(sources []string) ([]manifestFile, error) {
	if len(sources) == 0 {
		return nil, usagef("no file given: name one with -f")
	}
	var files []manifestFile
	for _, source := range sources {
		if source == "-" {
			body, err := io.ReadAll(mf.opts.Stdin)
			if err != nil {
				return nil, fmt.Errorf("read stdin: %w", err)
			}
			files = append(files, manifestFile{name: "stdin", body: body})
			continue
		}
		paths, err := manifestPaths(source)
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
func manifestPaths(source string) ([]string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return []string{source}, nil
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return nil, unreadable(err)
	}
	var paths []string
	for _, e := range entries {
		if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) && !e.IsDir() {
			paths = append(paths, filepath.Join(source, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: no *.yaml, *.yml or *.json file in this directory", source)}
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

// applyManifests applies file by file. When one cannot be applied after all,
// what was done before is still told.
func (mf manifestVerbs) applyManifests(ctx context.Context, files []manifestFile) error {
	var done []api.ApplyResult
	for i, f := range files {
		results, err := mf.client.Jobs.Apply(ctx, f.name, f.body, false)
		done = append(done, results...)
		if err != nil {
			if printErr := mf.printResults(done, ""); printErr != nil {
				return printErr
			}
			return fmt.Errorf("apply %s (%d of %d files were applied): %w", f.name, i, len(files), err)
		}
	}
	return mf.printResults(done, "")
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
		name: func(r api.ApplyResult) string { return r.Namespace + "/" + r.Name },
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
	kind := strings.ToLower(r.Kind)
	switch r.Kind {
	case job.KindHostGroup, job.KindRole, job.KindRoleBinding:
		return kind + " " + r.Name
	}
	return kind + " " + r.Namespace + "/" + r.Name
}
