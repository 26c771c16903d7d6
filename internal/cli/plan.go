package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/plan"
)

// planVerbs are the verbs of plans.
type planVerbs struct{ *call }

func (pv planVerbs) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan VERB", GroupID: groupCluster,
		Short: "Send plans, sets of tasks of other systems, and follow them",
		Long: "Send plans, and follow them. A plan is a set of tasks that another system wants done,\n" +
			"in XML, JSON or YAML. The type of a task is a queue, whose workers do it.",
		Example: "  carillon plan send close.xml\n  carillon plan show erp/close-2027-01",
		RunE:    needsVerb,
	}
	cmd.AddCommand(pv.sendCommand(), pv.listCommand(), pv.showCommand(), pv.tasksCommand(), pv.cancelCommand(), pv.secretCommand(), pv.schemaCommand(), pv.queryCommand(), pv.intakeCommand())
	return cmd
}

func (pv planVerbs) sendCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "send FILE", Args: exactlyOne("file"),
		Short: "Send a plan",
		Long: "Send a plan, and print its receipt. It is accepted whole, or refused with all that is\n" +
			"wrong, by line. To send the same plan again is safe: it is recognised. With - it is\n" +
			"read from standard input, as --format says. One with amend=\"true\" is a new\n" +
			"version of a plan that was accepted: what has begun stays, the rest is as it says.",
		Example: "  carillon plan send close.xml\n  make-plan | carillon plan send --format json -",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := pv.opts.Stdin
			if args[0] == "-" && format == "" {
				return usagef("--format: say how the plan is written: xml, json or yaml")
			}
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			f := plan.Format(format)
			if format == "" {
				var err error
				if f, err = plan.FormatOf(strings.ToLower(filepath.Ext(args[0]))); err != nil {
					return usagef("%s: %v, or --format", args[0], err)
				}
			}
			if !slices.Contains(plan.Formats(), f) {
				return usagef("--format %s: give xml, json or yaml", format)
			}
			r, err := pv.client.Plans.Send(cmd.Context(), pv.namespace, f, in)
			if err != nil {
				return err
			}
			if pv.asObject() {
				return pv.printValue(r)
			}
			word := "accepted"
			if r.Amends {
				word = "amended"
			}
			if r.Recognised {
				word = "accepted before, on " + pv.stamp(r.AcceptedAt)
			}
			fmt.Fprintf(pv.out, "plan %s/%s %s: %s, id %s\n", r.Upstream, r.ID, word, numberOf(r.Tasks, "task"), r.UID)
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "how the plan is written: `FORMAT` xml, json or yaml (default: by the file's name)")
	return cmd
}

func (pv planVerbs) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short:   "List plans, the newest first",
		Example: "  carillon plan list -A",
		RunE: func(cmd *cobra.Command, _ []string) error {
			plans, err := pv.client.Plans.List(cmd.Context(), pv.listed(all))
			if err != nil {
				return err
			}
			return printList(&pv.printer, plans, pv.planTable(all))
		},
	}
	pv.allNamespaces(cmd, &all)
	return cmd
}

func (pv planVerbs) planTable(all bool) table[api.Plan] {
	type view = api.Plan
	t := table[view]{
		none: "no plans " + pv.where(all) + "; send one with `carillon plan send FILE`",
		name: func(v view) string { return v.Upstream + "/" + v.ID },
		columns: []column[view]{
			{head: "PLAN", cell: func(v view) string { return v.Upstream + "/" + v.ID }},
			{head: "STATE", cell: func(v view) string { return planState(&v) }},
			{head: "TASKS", cell: func(v view) string { return strconv.Itoa(v.Tasks) }},
			{head: "OPEN", cell: func(v view) string { return strconv.Itoa(planOpen(&v)) }},
			{head: "SUCCEEDED", cell: func(v view) string { return strconv.Itoa(v.Counts[string(plan.Succeeded)]) }},
			{head: "FAILED", cell: func(v view) string { return strconv.Itoa(v.Counts[string(plan.Failed)]) }},
			{head: "ACCEPTED", cell: func(v view) string { return pv.stamp(v.AcceptedAt) }},
			{head: "ENDED", wide: true, cell: func(v view) string { return pv.stamp(v.EndedAt) }},
			{head: "OWNER", wide: true, cell: func(v view) string { return string(v.Owner) }},
			{head: "UID", wide: true, cell: func(v view) string { return v.UID }},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

// planOpen counts the tasks of a plan that have not ended.
func planOpen(v *api.Plan) int {
	return v.Counts[string(plan.Pending)] + v.Counts[string(plan.Queued)] + v.Counts[string(plan.Running)]
}

func planState(v *api.Plan) string {
	switch {
	case !v.EndedAt.IsZero() && v.Counts[string(plan.Succeeded)] == v.Tasks:
		return "succeeded"
	case !v.EndedAt.IsZero():
		return "ended"
	case v.Cancelling:
		return "being cancelled"
	case v.Amending:
		return "being amended"
	}
	return "open"
}

// planName reads UPSTREAM/ID.
func planName(arg string) (upstream, id string, err error) {
	upstream, id, ok := strings.Cut(arg, "/")
	if !ok || upstream == "" || id == "" || strings.Contains(id, "/") {
		return "", "", usagef("%q: name a plan as UPSTREAM/ID", arg)
	}
	return upstream, id, nil
}

func (pv planVerbs) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show UPSTREAM/ID", Args: exactlyOne("plan"),
		Short:   "Show a plan: how many of its tasks are in which state",
		Example: "  carillon plan show erp/close-2027-01",
		RunE: func(cmd *cobra.Command, args []string) error {
			upstream, id, err := planName(args[0])
			if err != nil {
				return err
			}
			v, err := pv.client.Plans.Get(cmd.Context(), pv.namespace, upstream, id)
			if err != nil {
				return err
			}
			return pv.describe(v, v.Upstream+"/"+v.ID, func() error {
				pv.planText(&v)
				return nil
			})
		},
	}
}

func (pv planVerbs) planText(v *api.Plan) {
	f := newFields(pv.out, "")
	f.add("Plan", v.Upstream+"/"+v.ID)
	f.add("Namespace", v.Namespace)
	f.add("State", planState(v))
	f.add("Tasks", strconv.Itoa(v.Tasks))
	for _, s := range plan.States() {
		if n := v.Counts[string(s)]; n > 0 {
			f.add("  "+string(s), strconv.Itoa(n))
		}
	}
	types := make([]string, 0, len(v.Types))
	for typ := range v.Types {
		types = append(types, typ)
	}
	slices.Sort(types)
	for _, typ := range types {
		if v.Types[typ] == 0 {
			continue // it was of a version before
		}
		f.add("Type", typ+": "+numberOf(v.Types[typ], "task"))
		f.add("  waits", v.Trouble[typ])
	}
	f.add("Callback", v.Callback)
	switch {
	case v.CallbackTrouble != "":
		f.add("  waits", v.CallbackTrouble)
	case v.Telling && !v.EndedAt.IsZero():
		f.add("  waits", "not all is told yet")
	}
	f.add("Accepted", pv.stamp(v.AcceptedAt))
	f.add("By", v.By)
	if a := v.Amended; a != nil {
		f.add("Amended", fmt.Sprintf("%s by %s, number %d", pv.stamp(a.At), a.By, a.Count))
		if a.Begun > 0 {
			f.add("  unchanged", fmt.Sprintf("%d had begun: %s", a.Begun, strings.Join(a.Kept, ", ")))
		}
	}
	f.add("Ended", pv.stamp(v.EndedAt))
	if v.ToldAt.IsZero() {
		f.add("Owner", "not known yet")
	} else {
		f.add("Owner", string(v.Owner)+", told "+pv.age(v.ToldAt)+" ago")
	}
	f.add("Digest", v.Digest)
	f.add("UID", v.UID)
	f.flush()
}

func (pv planVerbs) tasksCommand() *cobra.Command {
	var q api.PlanTaskQuery
	cmd := &cobra.Command{
		Use: "tasks UPSTREAM/ID [TASK]", Args: rangeOf(1, 2, "a plan, and a task of it if you like"),
		Short:   "List the tasks of a plan with their states",
		Example: "  carillon plan tasks erp/close-2027-01 --state failed",
		RunE: func(cmd *cobra.Command, args []string) error {
			upstream, id, err := planName(args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				q.ID = args[1]
			}
			var tasks []api.PlanTask
			for q.Limit = api.MaxPlanTasks; ; {
				page, err := pv.client.Plans.Tasks(cmd.Context(), pv.namespace, upstream, id, q)
				if err != nil {
					return err
				}
				tasks = append(tasks, page.Tasks...)
				if q.Cursor = page.Next; q.Cursor == "" || len(tasks) >= maxListed {
					if page.Next != "" {
						pv.note("there are more; these are the first %d", len(tasks))
					}
					break
				}
			}
			return printList(&pv.printer, tasks, pv.taskTable())
		},
	}
	cmd.Flags().StringVar(&q.Group, "group", "", "only tasks of this `GROUP`")
	cmd.Flags().StringVar(&q.State, "state", "", "only tasks in this `STATE`: pending, queued, running, succeeded, failed, expired, cancelled, skipped or replaced")
	return cmd
}

func (pv planVerbs) taskTable() table[api.PlanTask] {
	type view = api.PlanTask
	return table[view]{none: "no such tasks", name: func(v view) string { return v.ID }, columns: []column[view]{
		{head: "TASK", cell: func(v view) string { return v.ID }},
		{head: "TYPE", cell: func(v view) string { return v.Type }},
		{head: "STATE", cell: func(v view) string { return v.State }},
		{head: "SINCE", cell: func(v view) string { return pv.stamp(v.Since) }},
		{head: "MINION", cell: func(v view) string { return string(v.Minion) }},
		{head: "REASON", cell: func(v view) string { return v.Reason }},
		{head: "PRIORITY", wide: true, cell: func(v view) string { return strconv.Itoa(v.Priority) }},
		{head: "GROUP", wide: true, cell: func(v view) string { return v.Group }},
		{head: "AFTER", wide: true, cell: func(v view) string { return strings.Join(v.After, ",") }},
		{head: "ITEM", wide: true, cell: func(v view) string { return v.Item }},
		{head: "RUN", wide: true, cell: func(v view) string { return string(v.RunID) }},
	}}
}

func (pv planVerbs) cancelCommand() *cobra.Command {
	var which api.PlanCancel
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use: "cancel UPSTREAM/ID [TASK...]", Args: someOf("plan"),
		Short: "Cancel tasks of a plan, or all of it",
		Long: "Cancel tasks of a plan: those that are named, those of a group, or, with --all, all.\n" +
			"None of them is put into its queue any more; what workers have they are told to end.",
		Example: "  carillon plan cancel erp/close-2027-01 mail\n  carillon plan cancel erp/close-2027-01 --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			upstream, id, err := planName(args[0])
			if err != nil {
				return err
			}
			which.Tasks = args[1:]
			given := 0
			for _, is := range []bool{len(which.Tasks) > 0, which.Group != "", yes} {
				if is {
					given++
				}
			}
			if given != 1 {
				return usagef("cancel: name tasks, or give --group or --all")
			}
			if err := pv.client.Plans.Cancel(cmd.Context(), pv.namespace, upstream, id, which, api.Order{By: pv.user(), Reason: reason}); err != nil {
				return err
			}
			fmt.Fprintf(pv.out, "plan %s/%s is being cancelled as you said\n", upstream, id)
			return nil
		},
	}
	cmd.Flags().StringVar(&which.Group, "group", "", "the tasks of this `GROUP`")
	cmd.Flags().BoolVar(&yes, "all", false, "all tasks that have not ended")
	reasonFlag(cmd, &reason)
	return cmd
}

func (pv planVerbs) secretCommand() *cobra.Command {
	var given, reason string
	cmd := &cobra.Command{
		Use: "secret UPSTREAM", Args: exactlyOne("upstream"),
		Short: "Make what calls to an upstream are signed with",
		Long: "Make what calls to an upstream are signed with, and print it: it is shown once. The\n" +
			"upstream checks calls by it as the Standard Webhooks specification says. The one\n" +
			"before is good no more. With --given a secret is kept that the upstream has made.",
		Example: "  carillon plan secret erp",
		RunE: func(cmd *cobra.Command, args []string) error {
			if given == "-" {
				text, err := io.ReadAll(io.LimitReader(pv.opts.Stdin, maxPayload))
				if err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
				given = strings.TrimSpace(string(text))
			} else if given != "" {
				return usagef("--given: give -, and the secret on standard input: others see the words of commands")
			}
			v, err := pv.client.Plans.Secret(cmd.Context(), pv.namespace, args[0], given, api.Order{By: pv.user(), Reason: reason})
			if err != nil {
				return err
			}
			if pv.asObject() {
				return pv.printValue(v)
			}
			fmt.Fprintln(pv.out, v.Secret)
			return nil
		},
	}
	cmd.Flags().StringVar(&given, "given", "", "-: read the secret from standard input, where the upstream has made it")
	reasonFlag(cmd, &reason)
	return cmd
}

func (pv planVerbs) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Args: noArgs,
		Short:   "Print the schema of plans in XML (XSD)",
		Example: "  carillon plan schema > plan.xsd",
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := pv.client.Plans.Schema(cmd.Context())
			if err != nil {
				return err
			}
			_, err = pv.out.Write(text)
			return err
		},
	}
}
