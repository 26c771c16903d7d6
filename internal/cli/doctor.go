package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// doctorVerbs look for what is wrong.
type doctorVerbs struct{ *call }

func (dv doctorVerbs) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", GroupID: groupCluster, Args: noArgs,
		Short:   "Check the cluster, and say what to do",
		Long:    "Check the cluster, and say what to do. The exit code is 1 when a check fails; a warning is no failure.",
		Example: "  carillon doctor\n  carillon doctor -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := dv.client.Cluster.Doctor(cmd.Context())
			if err != nil {
				return err
			}
			if err := printList(&dv.printer, checks, checkTable()); err != nil {
				return err
			}
			failed := 0
			for _, c := range checks {
				if c.Status == api.CheckFail {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d checks failed", failed, len(checks))
			}
			return nil
		},
	}
}

func checkTable() table[api.Check] {
	type check = api.Check
	return table[check]{none: "no checks", name: func(c check) string { return c.Name }, columns: []column[check]{
		{head: "CHECK", cell: func(c check) string { return c.Name }},
		{head: "STATUS", cell: func(c check) string { return string(c.Status) }},
		{head: "DETAIL", cell: func(c check) string { return c.Detail }},
		{head: "WHAT TO DO", cell: func(c check) string { return c.Hint }},
	}}
}
