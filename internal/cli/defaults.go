package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

// defaultsVerbs are the verbs of defaults.
type defaultsVerbs struct{ *call }

func (dv defaultsVerbs) getDefaultsCommand() *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use:   "defaults [NAMESPACE/defaults...]",
		Short: "List the defaults of namespaces",
		Long: "List the defaults of namespaces: what their jobs get, as they are applied, where they do not\n" +
			"say it themselves. With -o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get defaults -A\n  carillon get defaults -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&dv.printer, args, dv.table(), func(name string) (job.Defaults, error) {
					key, err := dv.keyOf("defaults", name)
					if err != nil {
						return job.Defaults{}, err
					}
					all, err := dv.client.Defaults.List(cmd.Context(), key.Namespace)
					if err != nil {
						return job.Defaults{}, err
					}
					return named(all, func(d *job.Defaults) bool { return d.Key() == key }, "defaults "+key.String())
				})
			}
			all, err := dv.client.Defaults.List(cmd.Context(), dv.listed(everywhere))
			if err != nil {
				return err
			}
			return printList(&dv.printer, all, dv.table())
		},
	}
	dv.allNamespaces(cmd, &everywhere)
	return cmd
}

func (dv defaultsVerbs) table() table[job.Defaults] {
	type defaults = job.Defaults
	return table[defaults]{
		none: "no defaults; create them with `carillon apply -f FILE` (kind: Defaults)",
		name: func(d defaults) string { return d.Key().String() },
		manifest: func(d defaults) any {
			return manifestOf[job.DefaultsSpec]{job.APIVersion, job.KindDefaults, d.Metadata, d.Spec}
		},
		columns: []column[defaults]{
			{head: "NAMESPACE", cell: func(d defaults) string { return d.Namespace }},
			{head: "ZONE", cell: func(d defaults) string { return orText(d.Spec.TimeZone, "UTC") }},
			{head: "USER", cell: func(d defaults) string { return orDash(d.Spec.User) }},
			{head: "TIMEOUT", cell: func(d defaults) string { return orNone(d.Spec.Timeout) }},
			{head: "ENV", cell: func(d defaults) string { return orDash(strings.Join(sortedKeys(d.Spec.Env), ",")) }},
			{head: "UPDATED", cell: func(d defaults) string { return dv.stamp(d.UpdatedAt) }},
		},
	}
}

func (dv defaultsVerbs) deleteDefaultsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "defaults NAMESPACE/defaults...", Args: someOf("defaults"),
		Short:   "Delete the defaults of namespaces; jobs keep what they have of them",
		Example: "  carillon delete defaults shop/defaults",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(dv).deleteNamed(cmd, job.KindDefaults, args, *yes)
		},
	}
}
