package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/internal/manifest"
)

func (mf manifestVerbs) exportCommand() *cobra.Command {
	var (
		all    bool
		labels []string
	)
	cmd := &cobra.Command{
		Use: "export [KIND|KIND/NAME|KIND NAME...]...", GroupID: groupJobs,
		Short: "Print what is stored as files that can be applied back",
		Long: "Print what is stored as manifests that `carillon apply` takes back: without state,\n" +
			"UIDs and times, and each kind before those that name it. Without a kind it is\n" +
			"everything in the namespace; with -A everything in all of them, and what lies in\n" +
			"none: host groups, roles and role bindings. -o json prints a list of the objects,\n" +
			"which apply takes, too. Of scripts it is the newest version.",
		Example: "  carillon export -n team > team.yaml\n  carillon export jobs groups -l team=db\n  carillon export job/backup -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			selected, err := labelPairs(labels)
			if err != nil {
				return err
			}
			found, err := mf.exported(cmd, args, all, selected)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				mf.note("nothing to export %s", mf.where(all))
			}
			return mf.printObjects(found)
		},
	}
	mf.allNamespaces(cmd, &all)
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "only what has this label, `KEY=VALUE` (may be given several times)")
	cmd.ValidArgsFunction = cobra.FixedCompletions(kindCompletions(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func kindCompletions() []cobra.Completion {
	var words []cobra.Completion
	for _, kind := range manifest.Kinds() {
		words = append(words, kindWords(kind)[1])
	}
	return words
}

// namesOfKind turns KIND NAME... into KIND/NAME...: a kind that is followed by names, which
// are no kinds, and have no / in them.
func namesOfKind(args []string) []string {
	if len(args) < 2 || strings.Contains(strings.Join(args, ""), "/") {
		return args
	}
	if _, err := kindNamed(args[0]); err != nil {
		return args
	}
	if _, err := kindNamed(args[1]); err == nil {
		return args
	}
	out := make([]string, len(args)-1)
	for i, name := range args[1:] {
		out[i] = args[0] + "/" + name
	}
	return out
}

// exported returns the objects that are asked for, each kind before those that name it.
func (mf manifestVerbs) exported(cmd *cobra.Command, args []string, all bool, labels map[string]string) ([]manifest.Object, error) {
	whole := map[string]bool{}    // kinds
	named := map[string][]thing{} // by kind
	for _, arg := range namesOfKind(args) {
		if strings.Contains(arg, "/") {
			t, err := mf.thingNamed([]string{arg})
			if err != nil {
				return nil, err
			}
			named[t.kind] = append(named[t.kind], t)
			continue
		}
		kind, err := kindNamed(arg)
		if err != nil {
			return nil, err
		}
		whole[kind] = true
	}
	order := manifest.Kinds()
	slices.Reverse(order)
	if len(args) == 0 {
		for _, kind := range order {
			whole[kind] = all || !clusterWide(kind)
		}
	}
	var found []manifest.Object
	for _, kind := range order {
		for _, t := range named[kind] {
			o, err := mf.storedOne(cmd.Context(), t)
			if err != nil {
				return nil, err
			}
			found = append(found, o)
		}
		if !whole[kind] {
			continue
		}
		list, err := mf.stored(cmd.Context(), kind, mf.listed(all))
		if err != nil {
			return nil, fmt.Errorf("export %s: %w", kindWords(kind)[1], err)
		}
		for i := range list {
			t := thingOf(kind, list[i].Metadata.Namespace, list[i].Metadata.Name)
			if hasLabels(list[i].Metadata.Labels, labels) && !slices.Contains(named[kind], t) {
				found = append(found, list[i])
			}
		}
	}
	return found, nil
}

// printObjects prints objects as files that hold them.
func (mf manifestVerbs) printObjects(found []manifest.Object) error {
	switch mf.output {
	case formatName:
		for i := range found {
			m := found[i].Metadata
			fmt.Fprintln(mf.out, kindWords(found[i].Kind)[0]+"/"+nameOf(thingOf(found[i].Kind, m.Namespace, m.Name).result("")))
		}
		return nil
	case formatJSON, formatJSONPath, formatGoTemplate:
		return mf.printObjectsAsJSON(found)
	}
	text, err := manifest.Encode(found...)
	if err != nil {
		return err
	}
	_, err = mf.out.Write(text)
	return err
}

// printObjectsAsJSON prints one object, or a list of several. JSON has the fields in the
// order of their names.
func (mf manifestVerbs) printObjectsAsJSON(found []manifest.Object) error {
	list := make([]any, len(found))
	for i := range found {
		text, err := encoded(&found[i])
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(text, &list[i]); err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
	}
	var v any = list
	if len(list) == 1 {
		v = list[0]
	}
	return mf.printValue(v)
}
