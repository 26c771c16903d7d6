package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// doctorVerbs look for what is wrong.
type doctorVerbs struct{ *call }

func (dv doctorVerbs) doctorCommand() *cobra.Command {
	var role bool
	var prefix string
	cmd := &cobra.Command{
		Use: "doctor", GroupID: groupCluster, Args: noArgs,
		Short: "Check the cluster, and say what to do",
		Long: "Check the cluster, and say what to do. The exit code is 1 when a check fails; a warning is no failure.\n\n" +
			"With --etcd-role nothing is asked: the commands are printed that make a user of etcd with the role that nodes need.",
		Example: "  carillon doctor\n  carillon doctor -o json\n  carillon doctor --etcd-role",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case role:
				printEtcdRole(cmd.OutOrStdout(), etcdkv.NewKeys(prefix))
				return nil
			case cmd.Flags().Changed("etcd-prefix"):
				return usagef("--etcd-prefix is for --etcd-role")
			}
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
	cmd.Flags().BoolVar(&role, "etcd-role", false, "print the role that a user of etcd needs, for nodes that are to have one")
	cmd.Flags().StringVar(&prefix, "etcd-prefix", etcdkv.DefaultPrefix, "`PREFIX` of the cluster's keys in etcd, as nodes have it")
	return cmd
}

// printEtcdRole prints how to make a user of etcd for nodes.
func printEtcdRole(w io.Writer, keys etcdkv.Keys) {
	const name = "carillon"
	lines := []string{"etcdctl role add " + name}
	for _, p := range keys.Permissions() {
		lines = append(lines, "etcdctl role grant-permission "+name+" "+p.Access+" --prefix "+p.Prefix)
	}
	lines = append(lines, "etcdctl user add "+name, "etcdctl user grant-role "+name+" "+name,
		"# A job that watches a key of others (watch.key) needs to read it, too:",
		"# etcdctl role grant-permission "+name+" read KEY")
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line)
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
