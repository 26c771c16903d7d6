package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// authCommand is `auth`.
func (tv tokenVerbs) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "auth", GroupID: groupCluster, Args: noOrder,
		Short: "Show who you are for the cluster, and open or close it",
		Long: "Show who you are for the cluster, and open or close it. In an open cluster the API answers\n" +
			"everybody who reaches it. A closed one refuses what the roles of the caller do not allow.\n" +
			"`auth note` keeps it open, and logs what would be refused.",
		Example: "  carillon auth whoami\n  carillon auth note\n  carillon auth on --reason \"two teams\"",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tv.canICommand(), tv.whoamiCommand(), tv.authStatusCommand(), tv.bootstrapCommand(),
		tv.setAuthCommand("on", "closed", "Close the cluster: refuse what no role allows",
			"Close the cluster: its API refuses what the roles of the caller do not allow. You must hold\n"+
				"the role admin by a binding, or ask over a node's local socket as root or the node's account:\n"+
				"these two may do everything in any case. `carillon auth note` shows beforehand whom it\nwould keep out."),
		tv.setAuthCommand("note", "noting", "Let everybody in, and log what would be refused",
			"Let everybody in, and log what would be refused if the cluster were closed: in the logs of\nthe nodes."),
		tv.setAuthCommand("off", "open", "Open the cluster to everybody who reaches it",
			"Open the cluster: everybody who reaches its API may do everything, and run commands on\neach minion."),
	)
	return cmd
}

func (tv tokenVerbs) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Args: noArgs,
		Short: "Show who you are for the cluster",
		Long: "Show who you are for the cluster: by the token that is sent, by your login (carillon\n" +
			"login), with the groups that count for it, or by your account where the server is a\nnode's local socket.",
		Example: "  carillon auth whoami --token-file ci.token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := tv.client.Auth.Self(cmd.Context())
			if err != nil {
				return err
			}
			if tv.asObject() {
				return tv.printValue(v)
			}
			fmt.Fprintln(tv.out, orText(v.Name, "nobody: you have not shown who you are"))
			if v.Provider != "" {
				var groups []string
				for _, s := range v.Subjects {
					if s.Kind == "group" {
						groups = append(groups, s.Name)
					}
				}
				fmt.Fprintf(tv.out, "by:     %s\ngroups: %s\nuntil:  %s\n", v.Provider, orText(strings.Join(groups, ", "), "none"), tv.stamp(v.Until))
			}
			if len(v.Subjects) > 0 && !v.Everything {
				fmt.Fprintf(tv.out, "roles:  %s\n", heldRoles(v.Roles))
			}
			if v.Everything {
				tv.note("root and the node's own account may do everything over the local socket")
			}
			return nil
		},
	}
}

// heldRoles returns "editor in billing and invoices, viewer in all namespaces".
func heldRoles(roles []api.HeldRole) string {
	var out []string
	for _, r := range roles {
		where := "all namespaces"
		if len(r.Namespaces) > 0 {
			where = strings.Join(r.Namespaces, " and ")
		}
		out = append(out, r.Role+" in "+where)
	}
	return orText(strings.Join(out, ", "), "none")
}

func (tv tokenVerbs) authStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Args: noArgs, Short: "Show whether the cluster is open or closed", Example: "  carillon auth status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := tv.client.Auth.State(cmd.Context())
			if err != nil {
				return err
			}
			return tv.printAccess(&v)
		},
	}
}

func (tv tokenVerbs) bootstrapCommand() *cobra.Command {
	var (
		file string
		req  api.APITokenRequest
	)
	cmd := &cobra.Command{
		Use: "bootstrap", Args: noArgs,
		Short: "Become admin by the bootstrap token of a node's host, once",
		Long: "Become admin by the token in the file bootstrap-token of a node's data directory: make a\n" +
			"token with the role admin, and print it. A node writes that file where the cluster is\n" +
			"closed and nobody holds admin; `scheduler --reset-bootstrap` writes another. It is good\nonce, and for a day.",
		Example: "  carillon auth bootstrap --file /var/lib/carillon/scheduler/bootstrap-token > admin.token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := job.CheckName(req.Name); err != nil {
				return usagef("--name: %w", err)
			}
			if req.TTL < time.Second {
				return usagef("--ttl %s: give a second or more", req.TTL)
			}
			if file == "" {
				return usagef("say where the bootstrap token is with --file FILE")
			}
			text, err := tokenIn(file, "--file")
			if err != nil {
				return err
			}
			v, err := tv.client.Auth.Bootstrap(cmd.Context(), text, req)
			switch {
			case errors.Is(err, client.ErrTokenInClear):
				return usagef("%w with --server or %s", err, envServer)
			case err != nil:
				return flagOf(err, "ttlSeconds", "--ttl")
			}
			if err := tv.printNewToken(&v); err != nil {
				return err
			}
			if file != "-" {
				tv.note("the bootstrap token is used up; the node removes its file, so delete copies of it only")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "`FILE` with the bootstrap token")
	cmd.Flags().StringVar(&req.Name, "name", "admin", "`NAME` of the token that is made")
	addDuration(cmd.Flags(), &req.TTL, "ttl", 30*24*time.Hour, "how long it lasts, as a `DURATION`")
	return cmd
}

func (tv tokenVerbs) setAuthCommand(verb, state, short, long string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb, Args: noArgs, Short: short, Long: long,
		Example: "  carillon auth " + verb + " --reason \"two teams\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := tv.client.Auth.SetState(cmd.Context(), state, api.Order{By: tv.user(), Reason: reason})
			if err != nil {
				return err
			}
			return tv.printAccess(&v)
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

// printAccess tells whether the cluster is open.
func (tv tokenVerbs) printAccess(v *api.Access) error {
	switch {
	case tv.asObject():
		return tv.printValue(v)
	case tv.output == formatName:
		fmt.Fprintln(tv.out, v.State)
		return nil
	}
	says := map[string]string{
		"open":   "open: everybody who reaches the API may do everything",
		"noting": "noting: everybody who reaches the API may do everything, and what would be refused is logged",
		"closed": "closed: what no role allows is refused",
	}
	fmt.Fprintln(tv.out, orText(says[v.State], v.State))
	if !v.Since.IsZero() {
		fmt.Fprintln(tv.out, wanted("set", v.By, tv.stamp(v.Since), v.Reason))
	}
	for _, n := range v.Unaware {
		tv.note("node %s is of a release that answers everybody in any case", n)
	}
	return nil
}
