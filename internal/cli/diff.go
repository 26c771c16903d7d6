package cli

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// exitDiffers is the exit code of `diff` where something differs, as that of diff(1) and
// of kubectl is. Any error of it has a higher one.
const exitDiffers = exitFailed

// difference is what applying would change of one object.
type difference struct {
	Kind      string     `json:"kind"`
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name"`
	Action    api.Action `json:"action"`
	// Diff is the change as a unified diff of the object's YAML. Empty: it cannot be
	// told; the server says that there is one.
	Diff string `json:"diff"`
}

func (mf manifestVerbs) diffCommand() *cobra.Command {
	var src sourceFlags
	cmd := &cobra.Command{
		Use: "diff -f FILE|DIR|-", GroupID: groupJobs,
		Short: "Show what `carillon apply` would change",
		Long: "Show what `carillon apply` would change, as a unified diff of the objects' YAML as\n" +
			"it is stored. The server checks the files as apply does, and nothing is stored.\n" +
			"What is stored and in no file is not shown. The exit code is 0 where nothing\n" +
			"differs, 1 where something does, and above 1 after an error.",
		Example: "  carillon diff -f backup.yaml\n  carillon diff -R -f jobs/ > changes.diff",
		RunE: func(cmd *cobra.Command, args []string) error {
			err := mf.diff(cmd, src.and(args))
			if err != nil && exitCode(err) == exitDiffers {
				return &exitError{exitUnavailable, err}
			}
			return err
		},
	}
	src.add(cmd)
	return cmd
}

func (mf manifestVerbs) diff(cmd *cobra.Command, src sourceFlags) error {
	files, err := mf.readManifests(src)
	if err != nil {
		return err
	}
	planned, err := mf.checkManifests(cmd, files)
	if err != nil {
		return err
	}
	all, err := mf.differences(cmd.Context(), files, planned)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		mf.code = exitDiffers
	}
	if mf.output == formatTable || mf.output == formatWide {
		for _, d := range all {
			if d.Diff == "" {
				mf.note("%s would be %s; what is stored is not shown to you, or has what this program does not know", describeResult(d.result()), d.Action)
			}
			if err := mf.printDiff(d.Diff); err != nil {
				return err
			}
		}
		return nil
	}
	return printList(&mf.printer, all, table[difference]{name: func(d difference) string { return nameOf(d.result()) }})
}

// printDiff prints a diff, to a terminal in colour.
func (mf manifestVerbs) printDiff(text string) error {
	if v := terminalOf(mf.out); v != nil && v.toned {
		return writeRows(mf.out, []byte(tonedDiff(text)), true)
	}
	_, err := io.WriteString(mf.out, text)
	return err
}

func (d difference) result() api.ApplyResult {
	return api.ApplyResult{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}
}

// differences compares what is in the files with what is stored, of those objects of which
// the server says that applying changes them.
func (mf manifestVerbs) differences(ctx context.Context, files []manifestFile, planned []api.ApplyResult) ([]difference, error) {
	actions := map[thing]api.Action{}
	for _, r := range planned {
		actions[thingOf(r.Kind, r.Namespace, r.Name)] = r.Action
	}
	var all []difference
	for _, f := range files {
		inFile, err := manifest.Decode(f.name, f.body)
		if err != nil {
			return nil, err
		}
		defaults, err := mf.defaultsFor(ctx, inFile)
		if err != nil {
			return nil, err
		}
		for i := range inFile {
			o := &inFile[i]
			if d := defaults[o.Metadata.Namespace]; d != nil && o.Kind == job.KindJob {
				_, _ = manifest.Fill(o, d) // what would be stored; the server has told what is wrong with it
			}
			t := thingOf(o.Kind, o.Metadata.Namespace, o.Metadata.Name)
			action := actions[t]
			if action == api.ActionUnchanged {
				continue
			}
			d := difference{Kind: t.kind, Namespace: t.key.Namespace, Name: t.key.Name, Action: action}
			if d.Diff, err = mf.diffOf(ctx, t, o, action); err != nil {
				return nil, err
			}
			all = append(all, d)
		}
	}
	return all, nil
}

// defaultsFor are the defaults that jobs of a file would get, by namespace: those in the
// file, or else those that are stored, as far as the reader may see them.
func (mf manifestVerbs) defaultsFor(ctx context.Context, objects []manifest.Object) (map[string]*job.DefaultsSpec, error) {
	out := map[string]*job.DefaultsSpec{}
	if !slices.ContainsFunc(objects, func(o manifest.Object) bool { return o.Kind == job.KindJob }) {
		return out, nil
	}
	stored, err := mf.client.Defaults.List(ctx, "")
	if err != nil && !errors.Is(err, job.ErrForbidden) && !errors.Is(err, job.ErrNotFound) {
		return nil, err
	}
	for i := range stored {
		out[stored[i].Namespace] = &stored[i].Spec
	}
	for i := range objects {
		if objects[i].Kind == job.KindDefaults {
			out[objects[i].Metadata.Namespace] = &objects[i].Defaults
		}
	}
	return out, nil
}

// diffOf is the difference of one object as text.
func (mf manifestVerbs) diffOf(ctx context.Context, t thing, o *manifest.Object, action api.Action) (string, error) {
	after, err := encoded(o)
	if err != nil {
		return "", err
	}
	where := path.Join(strings.ToLower(t.kind), t.key.Namespace, t.key.Name)
	from := "/dev/null"
	var before []byte
	if action != api.ActionCreated {
		from = "stored/" + where
		if before, err = mf.storedText(ctx, t); err != nil || before == nil {
			return "", err
		}
	}
	return string(diff.Diff(from, before, "applied/"+where, after)), nil
}

// nameOf returns NAMESPACE/NAME, and the name of what lies in no namespace.
func nameOf(r api.ApplyResult) string {
	if clusterWide(r.Kind) {
		return r.Name
	}
	return job.Key{Namespace: r.Namespace, Name: r.Name}.String()
}
