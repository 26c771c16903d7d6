package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// auditVerbs are the verbs of what operators ordered.
type auditVerbs struct{ *call }

func (av auditVerbs) auditCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupCluster, Args: noArgs,
		Short:   "List what operators did, newest first",
		Example: "  carillon audit\n  carillon audit --limit 200 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit %d: give 1 or more", limit)
			}
			records, err := av.client.Cluster.Audit(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return printList(&av.printer, records, av.auditTable())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "list at most `N` records")
	return cmd
}

func (av auditVerbs) auditTable() table[api.AuditRecord] {
	type record = api.AuditRecord
	name := func(r record) string { return strings.TrimSpace(r.Action + " " + r.Object) }
	return table[record]{none: "no audit records", name: name, columns: []column[record]{
		{head: "WHEN", cell: func(r record) string { return av.stamp(r.At) }},
		{head: "BY", cell: func(r record) string { return r.By }},
		{head: "ACTION", cell: func(r record) string { return r.Action }},
		{head: "OBJECT", cell: func(r record) string { return r.Object }},
		{head: "REASON", cell: func(r record) string { return r.Reason }},
		{head: "BEFORE", wide: true, cell: func(r record) string { return r.Before }},
	}}
}
