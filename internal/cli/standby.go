package cli

import (
	"crypto/x509"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// standbyVerbs are the verbs of two clusters of which one is active.
type standbyVerbs struct{ *call }

// followed are the flags of what is followed.
type followed struct {
	req                     api.FollowRequest
	caFile, tokenFile, verb string
}

func (sv standbyVerbs) standbyCommand() *cobra.Command {
	f := followed{verb: "standby"}
	cmd := &cobra.Command{
		Use: "standby", GroupID: groupCluster, Args: noOrder,
		Short: "Make this cluster the standby of another one, which it follows",
		Long: "Make this cluster the standby of another one: it follows that one through its API, has a\n" +
			"copy of all that it keeps in etcd, and plans nothing itself. Whether it takes over is for\n" +
			"a person to decide (`carillon promote`). The seal keys of both have to be the same. The\n" +
			"token may grant on the active cluster; it is kept sealed. Without --from: what this\n" +
			"cluster is to another one, and how far its copy is behind. See docs/disaster-recovery.md.",
		Example: "  carillon standby --from https://east1:8420,https://east2:8420 --from-ca east.pem --from-token-file east.token\n  carillon standby --from https://east1:8420 --dry-run\n  carillon standby",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.req.From == "" {
				return sv.status(cmd)
			}
			return sv.follow(cmd, &f)
		},
	}
	sv.followFlags(cmd, &f)
	cmd.AddCommand(sv.stopCommand())
	return cmd
}

func (sv standbyVerbs) demoteCommand() *cobra.Command {
	f := followed{verb: "demote"}
	cmd := &cobra.Command{
		Use: "demote", GroupID: groupCluster, Args: noArgs,
		Short: "Make a cluster that was overtaken the standby of the one that goes on",
		Long: "Make a cluster that was the active one the standby of the one that goes on. What it has of\n" +
			"its own is given up when it is promoted again: --dry-run lists the definitions that were\n" +
			"changed in it and never reached the other one. Its minions go to the other one.",
		Example: "  carillon demote --from https://west1:8420 --from-ca west.pem --from-token-file west.token --dry-run\n  carillon demote --from https://west1:8420 --replace",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.req.From == "" {
				return usagef("--from is not given: the address of the cluster that goes on, such as https://west1:8420")
			}
			return sv.follow(cmd, &f)
		},
	}
	sv.followFlags(cmd, &f)
	return cmd
}

func (sv standbyVerbs) followFlags(cmd *cobra.Command, f *followed) {
	flags := cmd.Flags()
	flags.StringVar(&f.req.From, "from", "", "`URL` of the active cluster's API; several with commas between them")
	flags.StringVar(&f.caFile, "from-ca", "", "`FILE` with the authority of the active cluster (default: those that the nodes' hosts trust)")
	flags.StringVar(&f.tokenFile, "from-token-file", "", "`FILE` with a token of the active cluster that may grant on the cluster")
	flags.BoolVar(&f.req.Replace, "replace", false, "give up what this cluster has of its own, when it is promoted")
	flags.BoolVar(&f.req.DryRun, "dry-run", false, "only show what would be given up")
	reasonFlag(cmd, &sv.reason)
}

func (sv standbyVerbs) follow(cmd *cobra.Command, f *followed) error {
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return usagef("--from-ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return usagef("--from-ca %s: there is no certificate in it; `carillon minions authority` of the active cluster prints it", f.caFile)
		}
		f.req.CA = string(text)
	}
	if f.tokenFile != "" {
		token, err := tokenIn(f.tokenFile, "--from-token-file")
		if err != nil {
			return err
		}
		f.req.Token = token
	}
	f.req.Order = api.Order{By: sv.user(), Reason: sv.reason}
	out, err := sv.client.Standby.Follow(cmd.Context(), f.req)
	if err != nil {
		return err
	}
	if sv.asObject() {
		return sv.printValue(&out)
	}
	for _, l := range out.Lost {
		_, _ = fmt.Fprintf(sv.out, "given up: %s %s\n", l.Kind, l.Name)
	}
	if out.MoreLost > 0 {
		_, _ = fmt.Fprintf(sv.out, "given up: %d more\n", out.MoreLost)
	}
	if out.DryRun {
		_, _ = fmt.Fprintf(sv.out, "this cluster would follow %s (cluster %s, epoch %d)\n", out.From, out.Cluster, out.Epoch)
		return nil
	}
	_, _ = fmt.Fprintf(sv.out, "this cluster is the standby of %s (cluster %s, epoch %d); `carillon standby` shows how far it is behind\n", out.From, out.Cluster, out.Epoch)
	return nil
}

func (sv standbyVerbs) status(cmd *cobra.Command) error {
	out, err := sv.client.Standby.Get(cmd.Context())
	if err != nil {
		return err
	}
	if sv.asObject() {
		return sv.printValue(&out)
	}
	_, _ = fmt.Fprintf(sv.out, "role:      %s\nepoch:     %d\n%s\n", out.Role, out.Epoch, out.Text)
	if c := out.Copy; c != nil {
		state, lag := "being made", "not known yet"
		if c.Whole {
			state = fmt.Sprintf("epoch %d, revision %d, %d jobs, %d keys", c.Epoch, c.Revision, c.Jobs, c.Keys)
		}
		if c.LagSeconds != nil {
			lag = strconv.FormatFloat(*c.LagSeconds, 'f', 1, 64) + " s"
		}
		_, _ = fmt.Fprintf(sv.out, "copy:      %s\nlag:       %s\n", state, lag)
	}
	if out.Trouble != "" {
		_, _ = fmt.Fprintf(sv.out, "trouble:   %s\n", out.Trouble)
	}
	return nil
}

func (sv standbyVerbs) stopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stop", Args: noArgs,
		Short:   "Have a standby go on by itself, with what it has of its own",
		Long:    "Have a standby go on by itself, with what it has of its own, and delete its copy. To have it\ntake over, use `carillon promote`. In a promoted cluster: do not tell the former active one\nany more that it was overtaken, because it is gone for good.",
		Example: "  carillon standby stop --reason \"the other site is closed\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := sv.client.Standby.Stop(cmd.Context(), api.Order{By: sv.user(), Reason: sv.reason}); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(sv.out, "this cluster follows nobody")
			return nil
		},
	}
	reasonFlag(cmd, &sv.reason)
	return cmd
}

func (sv standbyVerbs) promoteCommand() *cobra.Command {
	var req api.PromoteRequest
	var lostAt string
	cmd := &cobra.Command{
		Use: "promote", GroupID: groupCluster, Args: noArgs,
		Short: "Have this standby take over from the active cluster",
		Long: "Have this standby take over. Its copy of the active cluster takes the place of what it has,\n" +
			"in a new epoch: minions that have seen it obey the former active cluster no more. Minions\n" +
			"come over by the addresses that they have, and are asked what they have run; when all have\n" +
			"answered the cluster goes on. --planned has the active cluster stop first, so that nothing\n" +
			"is lost. Without it you decide that the active cluster is dead. See docs/disaster-recovery.md.",
		Example: "  carillon promote --dry-run\n  carillon promote --planned --reason \"power works at east\"\n  carillon promote --lost-at 2027-01-31T02:10:00Z --accept-unknown-after 2m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.LostAt, err = readLostAt(lostAt); err != nil {
				return err
			}
			req.Order = api.Order{By: sv.user(), Reason: sv.reason}
			out, err := sv.client.Standby.Promote(cmd.Context(), req)
			if err != nil {
				return err
			}
			if sv.asObject() {
				return sv.printValue(&out)
			}
			for _, w := range out.Warnings {
				_, _ = fmt.Fprintf(sv.out, "warning: %s\n", w)
			}
			what, then := "takes over", "; `carillon recover --dry-run` shows which minions it waits for"
			if out.DryRun {
				what, then = "would take over", ""
			}
			_, _ = fmt.Fprintf(sv.out, "this cluster %s from %s, with %d jobs as of revision %d, in epoch %d%s\n", what, out.From, out.Copy.Jobs, out.Copy.Revision, out.Epoch, then)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&req.DryRun, "dry-run", false, "only show what would be done")
	flags.BoolVar(&req.Planned, "planned", false, "the active cluster lives: stop it first, and take all that it has")
	flags.StringVar(&lostAt, "lost-at", "", "the `INSTANT` at which the active cluster was lost: what was due after it has certainly not run (default: now)")
	addDuration(flags, &req.AcceptAfter, "accept-unknown-after", 0, "wait for minions that do not answer for this `TIME`, as in 2m; then record what they may have run as indeterminate (0: wait as long as it takes)")
	reasonFlag(cmd, &sv.reason)
	return cmd
}
