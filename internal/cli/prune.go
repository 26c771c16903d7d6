package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
)

// actionPruned is what apply prints of what it deletes because no file holds it.
const actionPruned api.Action = "pruned"

// pruneFlags say what apply deletes that is in no file.
type pruneFlags struct {
	prune, yes bool
	labels     []string
}

func (p *pruneFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.prune, "prune", false, "delete what is stored and in no file, of the kinds in the files, within --namespace or --label")
	cmd.Flags().StringArrayVarP(&p.labels, "label", "l", nil, "with --prune, only what has this label, `KEY=VALUE` (may be given several times)")
	cmd.Flags().BoolVar(&p.yes, "yes", false, "with --prune, delete without asking for this flag")
}

// toPrune returns what is stored and in none of the files: of the kinds that are in the
// files, in the namespace that --namespace names, with the labels that --label names. It
// refuses to delete all that there is of a kind, as a wrong directory would.
func (mf manifestVerbs) toPrune(cmd *cobra.Command, files []manifestFile, p *pruneFlags) ([]thing, error) {
	switch {
	case !p.prune && len(p.labels) > 0:
		return nil, usagef("--label selects what --prune deletes; add --prune, or leave it out")
	case !p.prune:
		return nil, nil
	}
	labels, err := labelPairs(p.labels)
	if err != nil {
		return nil, err
	}
	namespace := ""
	if cmd.Flags().Changed("namespace") {
		namespace = mf.namespace
	}
	if namespace == "" && len(labels) == 0 {
		return nil, usagef("--prune: say within what, by --namespace NAME, --label KEY=VALUE or both; else it would delete whatever is in no file")
	}
	kept := map[thing]bool{}
	kinds := map[string]bool{}
	for _, f := range files {
		inFile, err := manifest.DecodeNames(f.name, f.body)
		if err != nil {
			return nil, err
		}
		for i := range inFile {
			m := inFile[i].Metadata
			kept[thingOf(inFile[i].Kind, m.Namespace, m.Name)] = true
			kinds[inFile[i].Kind] = true
		}
	}
	var found []thing
	for _, kind := range manifest.Kinds() { // jobs before what they name
		if !kinds[kind] || clusterWide(kind) && namespace != "" {
			continue
		}
		gone, err := mf.unkept(cmd.Context(), kind, namespace, labels, kept)
		if err != nil {
			return nil, err
		}
		found = append(found, gone...)
	}
	return found, nil
}

// unkept returns what is stored of a kind, and is not kept.
func (mf manifestVerbs) unkept(ctx context.Context, kind, namespace string, labels map[string]string, kept map[thing]bool) ([]thing, error) {
	all, err := mf.stored(ctx, kind, namespace)
	if err != nil {
		return nil, fmt.Errorf("look for what to prune: %w", err)
	}
	var gone []thing
	stays := false
	for i := range all {
		m := all[i].Metadata
		t := thingOf(kind, m.Namespace, m.Name)
		switch {
		case !hasLabels(m.Labels, labels):
		case kept[t]:
			stays = true
		default:
			gone = append(gone, t)
		}
	}
	if len(gone) > 0 && !stays {
		return nil, usagef("--prune would delete every %s there (%s), as no file holds one of them: are these the right files? If that is meant, use `carillon delete %s`",
			strings.ToLower(kind), namesOf(gone), strings.ToLower(kind))
	}
	return gone, nil
}

// hasLabels reports whether all of want are among labels.
func hasLabels(labels, want map[string]string) bool {
	for k, v := range want {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// labelPairs reads the values of --label.
func labelPairs(given []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, l := range given {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, usagef("--label %q: want KEY=VALUE", l)
		}
		labels[k] = v
	}
	return labels, nil
}

// namesOf names things of one kind, in a line.
func namesOf(things []thing) string {
	names := make([]string, len(things))
	for i, t := range things {
		names[i] = nameOf(t.result(""))
	}
	return strings.Join(names, ", ")
}

// result is what was done to a thing.
func (t thing) result(a api.Action) api.ApplyResult {
	return api.ApplyResult{Kind: t.kind, Namespace: t.key.Namespace, Name: t.key.Name, Action: a}
}

// confirmPrune wants --yes before anything is deleted.
func confirmPrune(things []thing, p *pruneFlags) error {
	if len(things) == 0 || p.yes {
		return nil
	}
	names := make([]string, len(things))
	for i, t := range things {
		names[i] = describeResult(t.result(""))
	}
	return usagef("--prune deletes %s (%s), and nothing has been done yet; add --yes, or see it with --dry-run", counted(things), strings.Join(names, ", "))
}

// pruned has the results say pruned.
func pruned(done []api.ApplyResult) []api.ApplyResult {
	done = slices.Clone(done)
	for i := range done {
		done[i].Action = actionPruned
	}
	return done
}

// wouldPrune is what a dry run tells of things that would be pruned.
func wouldPrune(things []thing) []api.ApplyResult {
	results := make([]api.ApplyResult, len(things))
	for i, t := range things {
		results[i] = t.result(actionPruned)
	}
	return results
}
