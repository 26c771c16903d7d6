package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/release"
)

// updateVerbs are the verbs of releases that minions are brought to.
type updateVerbs struct{ *call }

func (uv updateVerbs) updateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update", Args: noOrder,
		Short: "Bring minions to a signed release, group by group",
		Long: "Bring the minions that run with --self-update to a signed release, group by group.\n" +
			"keygen, sign and verify work without a server, where the keys are.",
		Example: "  carillon minions update start --manifest signed.json --group canary='web1' --group rest='*' --max-in-flight 5%\n  carillon minions update status",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(uv.updateStartCommand(), uv.updateStatusCommand(),
		uv.updateOrder("pause", "paused", "Pause the update: no further minion is told of the release", client.Updates.Pause),
		uv.updateOrder("resume", "resumed", "End a pause", client.Updates.Resume),
		uv.updateOrder("stop", "stopped", "End the update; minions that were told are not called back", client.Updates.Stop),
		uv.keygenCommand(), uv.signCommand(), uv.verifyCommand())
	return cmd
}

func (uv updateVerbs) updateStartCommand() *cobra.Command {
	var (
		file, reason string
		groups       []string
		inFlight     string
		canaries     int
		tolerate     int
		patience     time.Duration
	)
	cmd := &cobra.Command{
		Use: "start --manifest FILE --group NAME=TARGET...", Args: noArgs,
		Short: "Update minions to a signed release, in place of the current plan",
		Long: `Update minions to a signed release, in place of the current plan. Groups are updated
one after the other: the next one starts when no minion of the one before is under
way. More failures than --tolerate halt the plan. Started again for the same release,
with another --tolerate say, it continues; after a stop it begins anew.`,
		Example: "  carillon minions update start --manifest signed.json --group canary='web1' --group rest='*' --canaries 1 --max-in-flight 5%",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := api.UpdateRequest{Tolerate: tolerate, Patience: patience, Order: api.Order{By: uv.user(), Reason: reason}}
			if patience < time.Second {
				return usagef("--patience %s: give a second or more", patience)
			}
			signed, err := readSigned(file)
			if err != nil {
				return err
			}
			if req.Signed, err = json.Marshal(signed); err != nil {
				return fmt.Errorf("encode manifest: %w", err)
			}
			for _, g := range groups {
				name, match, ok := strings.Cut(g, "=")
				if !ok {
					return usagef("--group %q: want NAME=TARGET, as in rest='*'", g)
				}
				if err := checkTarget(match); err != nil {
					return err
				}
				req.Groups = append(req.Groups, api.UpdateGroup{Name: name, Match: match, Canaries: canaries, MaxInFlight: inFlight})
			}
			if len(req.Groups) == 0 {
				return usagef("no --group is given; want one at least, as in --group rest='*'")
			}
			v, err := uv.client.Updates.Start(cmd.Context(), req)
			if err != nil {
				return err
			}
			return uv.showUpdate(v)
		},
	}
	cmd.Flags().StringVar(&file, "manifest", "", "`FILE` with the signed manifest, as sign writes it")
	cmd.Flags().StringArrayVar(&groups, "group", nil, "a group of minions, as `NAME=TARGET`; may be given several times, in their order")
	cmd.Flags().StringVar(&inFlight, "max-in-flight", "1", "how many of a group may be under way, `N` or N%")
	cmd.Flags().IntVar(&canaries, "canaries", 1, "how many of a group, `N`, must have the release before its others are told")
	cmd.Flags().IntVar(&tolerate, "tolerate", 0, "how many failures, `N`, do not halt the plan")
	addDuration(cmd.Flags(), &patience, "patience", release.DefaultPatience, "how long a minion may take, as a `DURATION`")
	reasonFlag(cmd, &reason)
	_ = cmd.MarkFlagRequired("manifest") // it is defined above
	return cmd
}

// readSigned reads a signed manifest, whoever has signed it.
func readSigned(file string) (release.Signed, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return release.Signed{}, usagef("%w", err)
	}
	s, err := release.ParseSigned(text)
	if err != nil {
		return s, usagef("%s: %w", file, err)
	}
	return s, nil
}

func (uv updateVerbs) updateOrder(verb, done, short string, ask func(client.Updates, context.Context, api.Order) error) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb, Args: noArgs, Short: short, Example: "  carillon minions update " + verb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := ask(uv.client.Updates, cmd.Context(), api.Order{By: uv.user(), Reason: reason}); err != nil {
				return err
			}
			return uv.printOutcome(outcome{"update", "of minions", done})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (uv updateVerbs) updateStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Args: noArgs,
		Short:   "Show the progress of the update",
		Example: "  carillon minions update status\n  carillon minions update status -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := uv.client.Updates.Status(cmd.Context())
			if err != nil {
				return err
			}
			return uv.showUpdate(v)
		},
	}
}

func (uv updateVerbs) showUpdate(v api.Update) error {
	return uv.describe(v, strconv.FormatInt(v.Release, 10), func() error { return uv.updateText(&v) })
}

// updateSum tells how many minions were told of the release, and how many have done
// it. Those that do not update themselves do not count.
func updateSum(v *api.Update) string {
	phases := map[api.UpdatePhase]int{}
	for _, g := range v.Groups {
		for p, n := range g.Phases {
			phases[p] += n
		}
	}
	told := phases[api.UpdateHealthy] + phases[api.UpdateInFlight] + phases[api.UpdateLost] + phases[api.UpdateFailed]
	all := told + phases[api.UpdatePending] + phases[api.UpdateAbsent]
	text := fmt.Sprintf("%d of %d were told, %d have done it, %d under way", told, all, phases[api.UpdateHealthy], phases[api.UpdateInFlight]+phases[api.UpdateLost])
	for _, p := range []struct {
		phase api.UpdatePhase
		words string
	}{
		{api.UpdateFailed, "failed"}, {api.UpdatePending, "not told yet"}, {api.UpdateAbsent, "not connected, told when they are back"},
		{api.UpdateManaged, "left alone, as they do not update themselves"},
	} {
		if n := phases[p.phase]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, p.words)
		}
	}
	return text
}

func (uv updateVerbs) updateText(v *api.Update) error {
	f := newFields(uv.out, "")
	f.add("Release", fmt.Sprintf("%d (%s)", v.Release, v.Version))
	f.add("Status", v.Status)
	f.add("Reason", v.Reason)
	f.add("Started", strings.TrimSpace(uv.stamp(v.At)+" by "+orDash(v.By)))
	f.add("Minions", updateSum(v))
	f.flush()
	fmt.Fprintln(uv.out)
	count := func(p api.UpdatePhase) func(api.UpdateProgress) string {
		return func(g api.UpdateProgress) string { return strconv.Itoa(g.Phases[p]) }
	}
	if err := printTable(uv.out, v.Groups, []column[api.UpdateProgress]{
		{head: "GROUP", cell: func(g api.UpdateProgress) string { return g.Name }},
		{head: "TARGET", cell: func(g api.UpdateProgress) string { return g.Match }},
		{head: "HEALTHY", cell: count(api.UpdateHealthy)},
		{head: "IN-FLIGHT", cell: count(api.UpdateInFlight)},
		{head: "PENDING", cell: count(api.UpdatePending)},
		{head: "ABSENT", cell: count(api.UpdateAbsent)},
		{head: "LOST", cell: count(api.UpdateLost)},
		{head: "FAILED", cell: count(api.UpdateFailed)},
		{head: "MANAGED", cell: count(api.UpdateManaged)},
		{head: "CANARIES", wide: true, cell: func(g api.UpdateProgress) string { return strconv.Itoa(g.Canaries) }},
		{head: "MAX", wide: true, cell: func(g api.UpdateProgress) string { return g.MaxInFlight }},
	}, uv.output == formatWide, ""); err != nil {
		return err
	}
	type minion = api.UpdatingMinion
	if len(v.InFlight) > 0 && uv.output == formatWide {
		fmt.Fprintln(uv.out)
		if err := printTable(uv.out, v.InFlight, []column[minion]{
			{head: "IN-FLIGHT", cell: func(m minion) string { return string(m.Minion) }},
			{head: "SINCE", cell: func(m minion) string { return uv.stamp(m.Since) }},
		}, false, ""); err != nil {
			return err
		}
	}
	if len(v.Failed) > 0 {
		fmt.Fprintln(uv.out)
		return printTable(uv.out, v.Failed, []column[minion]{
			{head: "FAILED", cell: func(m minion) string { return string(m.Minion) }},
			{head: "REASON", cell: func(m minion) string { return m.Reason }},
		}, false, "")
	}
	return nil
}
