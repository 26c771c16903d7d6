package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (mv minionVerbs) matchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "match TARGET", Args: oneTarget,
		Short: "Show which minions a target matches",
		Long: `Show which minions a target matches now: names with globs and ranges,
networks, labels and facts, joined by and, or, not and the operators of sets.

A minion that lacks a label or fact which the target asks for is not matched;
such keys are listed.`,
		Example: `  carillon minions match 'web[001-120,130]!web007'
  carillon minions match 'os == "linux" and web*' -o name`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTarget(args[0]); err != nil {
				return err
			}
			v, err := mv.client.Minions.Match(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return mv.showMatch(v)
		},
	}
}

func oneTarget(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one target, and got %d arguments; put the target in quotes", cmd.CommandPath(), len(args))
	}
	return nil
}

// checkTarget points at what is wrong with a target, without asking a node.
func checkTarget(expr string) error {
	_, err := target.Parse(expr)
	var syntax *target.SyntaxError
	if errors.As(err, &syntax) {
		return usagef("the target cannot be read:\n%s", syntax.Caret())
	}
	return err
}

// numberOf counts things that take an s where there is not one of them.
func numberOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// showMatch prints a match. Where nothing matches, that is the error, after all
// that helps to see why.
func (mv minionVerbs) showMatch(v api.Match) error {
	switch mv.output {
	case formatJSON, formatYAML, formatJSONPath, formatGoTemplate:
		if err := mv.printValue(v); err != nil {
			return err
		}
	case formatName:
		for _, id := range v.Minions {
			fmt.Fprintln(mv.out, id)
		}
	default:
		if len(v.Minions) > 0 {
			fmt.Fprintf(mv.out, "%s\n%d of %d minions match\n", v.Hosts, len(v.Minions), v.Known)
		}
		for _, g := range outOfReach(&v) {
			fmt.Fprintf(mv.out, "%s: %s (%d)\n", oneLine(g.reason), g.hosts, g.n)
		}
		if v.Missing != "" {
			fmt.Fprintf(mv.out, "no minion is known by the name of %s\n", v.Missing)
		}
		for _, u := range v.Unknown {
			fmt.Fprintln(mv.out, wantText(u))
		}
	}
	if len(v.Minions) == 0 {
		return job.ErrNoMinions
	}
	return nil
}

// away are minions that match and get no orders, for one reason.
type away struct {
	reason string
	hosts  target.NodeSet
	n      int
	first  job.MinionID
}

// outOfReach returns the minions that match and get no orders, by the reasons, in
// the order in which these come first.
func outOfReach(v *api.Match) []*away {
	var all []*away
	add := func(id job.MinionID, reason string) {
		i := slices.IndexFunc(all, func(g *away) bool { return g.reason == reason })
		if i < 0 {
			i, all = len(all), append(all, &away{reason: reason, first: id})
		}
		all[i].hosts.Add(string(id))
		all[i].n++
	}
	told := map[job.MinionID]bool{}
	for _, u := range v.Uncontrollable {
		told[u.Minion] = true
		add(u.Minion, u.Reason)
	}
	for _, id := range v.Disconnected {
		if !told[id] { // an older node tells no reasons
			add(id, "not connected")
		}
	}
	return all
}
