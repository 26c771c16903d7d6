package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (mv minionVerbs) describeMinionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "minion NAME", Aliases: []string{"minions"}, Args: exactlyOne("minion"), ValidArgsFunction: mv.completeMinions,
		Short: "Show a minion: its granted labels, those that it asks for, and its facts",
		Long: "Show all that is known of a minion, and whose word it is. Labels are granted by\n" +
			"operators. Labels that the minion asks for match nothing before they are granted, and\n" +
			"its facts and its version are what it says of itself: nobody has checked them.",
		Example: "  carillon describe minion web1",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := mv.client.Minions.Get(cmd.Context(), job.MinionID(args[0]))
			if err != nil {
				return err
			}
			return mv.describe(v, string(v.ID), func() error { mv.minionText(&v); return nil })
		},
	}
}

func (mv minionVerbs) minionText(v *api.MinionDetail) {
	f := newFields(mv.out, "")
	f.add("Minion", string(v.ID))
	f.add("State", minionState(v.Minion))
	f.add("Node", string(v.Node))
	f.add("Problem", mv.troubleCell(v.Minion))
	f.add("Running", fmt.Sprint(v.Running))
	f.add("Since", mv.stamp(minionSince(v.Minion)))
	f.add("Known since", mv.stamp(v.Since))
	f.add("Labels", orText(pairs(v.Labels), "none"))
	if g := v.Granted; g != nil {
		f.add("Granted", bySince(orText(g.By, "nobody known"), mv.stamp(g.Since)))
	}
	if c := v.Certificate; c != nil {
		by := c.ApprovedBy
		if c.Token != "" {
			by = "token " + c.Token
		}
		f.add("Joined", bySince(by, mv.stamp(c.EnrolledAt)))
		f.add("Fingerprint", c.Key)
		state := "good until " + mv.stamp(c.ExpiresAt)
		if !c.RevokedAt.IsZero() {
			state = "revoked since " + mv.stamp(c.RevokedAt)
		}
		f.add("Certificate", state+", serial "+c.Serial)
		for _, clone := range c.Clones {
			f.add("Refused clone", fmt.Sprintf("%s from %s since %s", clone.Key, clone.From, mv.stamp(clone.At)))
		}
	}
	f.flush()

	if len(v.Requested) > 0 {
		fmt.Fprintln(mv.out, "\nAsks for labels, which match nothing until they are granted:")
		for _, k := range sortedKeys(v.Requested) {
			fmt.Fprintf(mv.out, "  %s\n", oneLine(k+"="+v.Requested[k]))
		}
		if c := v.GrantCommand(); c != "" {
			fmt.Fprintf(mv.out, "To grant them: %s\n", oneLine(c))
		}
	}
	fmt.Fprintln(mv.out, "\nSaid by the minion, and checked by nobody:")
	said := newFields(mv.out, "  ")
	said.add("version", orText(v.Version, "-"))
	for _, k := range sortedKeys(v.Facts) {
		said.add(oneLine(k), orDash(strings.TrimSpace(v.Facts[k])))
	}
	said.flush()
}

func bySince(by, since string) string { return "by " + by + ", since " + since }
