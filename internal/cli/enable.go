package cli

import (
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// enableCommand is `enable`, or `disable`.
func (jv jobVerbs) enableCommand(verb, done, short, long string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb + " JOB", GroupID: groupJobs, Args: exactlyOne("job"), ValidArgsFunction: jv.completeJobs,
		Short: short, Long: long, Example: "  carillon " + verb + " backup --reason \"new disk\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := jv.key(args[0])
			if err != nil {
				return err
			}
			order := jv.client.Jobs.Enable
			if verb == "disable" {
				order = jv.client.Jobs.Disable
			}
			r, err := order(cmd.Context(), key, api.Order{By: jv.user(), Reason: reason})
			if err != nil {
				return err
			}
			what := done
			if r.Action == api.ActionUnchanged {
				what = "was " + done + " already"
			}
			return jv.printHeld(heldOutcome{outcome{"job", key.String(), what}, r.HoldsFrom})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (jv jobVerbs) enableCommands() []*cobra.Command {
	return []*cobra.Command{
		jv.enableCommand("enable", "enabled", "Let a job run by its schedule again",
			"Let a job run by its schedule again: takes `enabled: false` out of its spec. What\n"+
				"was due meanwhile is not run. `carillon resume` ends a pause, which is another thing."),
		jv.enableCommand("disable", "disabled", "Stop a job from running by its schedule",
			"Stop a job from running by its schedule, until `carillon enable`: sets `enabled:\n"+
				"false` in its spec, as a file that is applied would. Runs under way go on, and\n"+
				"`carillon run` works. `carillon pause` does the same for a while, with a record of\n"+
				"what was due meanwhile, and for groups and namespaces too."),
	}
}
