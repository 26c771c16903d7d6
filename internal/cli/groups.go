package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// groupVerbs are the verbs of groups of jobs.
type groupVerbs struct{ *call }

func (gv groupVerbs) getGroupsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "groups [NAME...]", Aliases: []string{"group"}, ValidArgsFunction: gv.completeGroups,
		Short: "List groups, or show one",
		Long: "List groups, or show one. With -o yaml groups are printed as manifests that\n" +
			"`carillon apply` takes back.",
		Example: "  carillon get groups -A\n  carillon get group ledger -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&gv.printer, args, gv.groupTable(false), func(name string) (api.Group, error) { return gv.findGroup(cmd, name) })
			}
			groups, err := gv.client.Groups.List(cmd.Context(), gv.listed(all))
			if err != nil {
				return err
			}
			return printList(&gv.printer, groups, gv.groupTable(all))
		},
	}
	gv.allNamespaces(cmd, &all)
	return cmd
}

func (gv groupVerbs) findGroup(cmd *cobra.Command, name string) (api.Group, error) {
	key, err := gv.keyOf("group", name)
	if err != nil {
		return api.Group{}, err
	}
	return gv.client.Groups.Get(cmd.Context(), key)
}

func (gv groupVerbs) groupTable(all bool) table[api.Group] {
	type view = api.Group
	t := table[view]{
		none: "no groups " + gv.where(all) + "; create one with `carillon apply -f FILE`",
		name: func(v view) string { return v.Key().String() },
		manifest: func(v view) any {
			return manifestOf[job.GroupSpec]{job.APIVersion, job.KindGroup, v.Metadata, v.Spec}
		},
		columns: []column[view]{
			{head: "NAME", cell: func(v view) string { return v.Name }},
			{head: "MODE", cell: func(v view) string { return v.Spec.EffectiveMode() }},
			{head: "OWNER", cell: func(v view) string { return string(v.Owner) }},
			{head: "SINCE", cell: func(v view) string { return gv.stamp(v.Since) }},
			{head: "JOBS", cell: func(v view) string { return strconv.Itoa(v.Jobs) }},
			{head: "LINE", cell: func(v view) string { return nodeList(v.Line) }},
			{head: "OVERRIDE", cell: func(v view) string { return overrideText(v.Override) }},
			{head: "SHARD", wide: true, cell: func(v view) string { return v.Shard.String() }},
			{head: "OPEN SLOTS", wide: true, cell: func(v view) string { return strconv.Itoa(v.OpenSlots) }},
			{head: "TOKEN", wide: true, cell: func(v view) string { return v.Token.String() }},
			{head: "NODES", wide: true, cell: func(v view) string { return nodeList(v.Spec.Nodes) }},
			{head: "LABELS", wide: true, cell: func(v view) string { return pairs(v.Labels) }},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

func nodeList(nodes []job.NodeID) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	return strings.Join(names, ", ")
}

// overrideText says what an operator decided about a shard.
func overrideText(o *api.Override) string {
	switch {
	case o == nil:
		return ""
	case o.Failback:
		return "fails back"
	case o.Node != "":
		return "moved to " + string(o.Node)
	}
	return "held"
}

// wanted adds to what an operator wants who it was, and why.
func wanted(what, by, since, reason string) string {
	if what == "" {
		return ""
	}
	if by != "" {
		what += " by " + by
	}
	if since != "" {
		what += ", " + since
	}
	if reason != "" {
		what += ": " + reason
	}
	return what
}

func (gv groupVerbs) describeGroupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "group NAME", Aliases: []string{"groups"}, Args: exactlyOne("name"), ValidArgsFunction: gv.completeGroups,
		Short:   "Show which node fires a group's jobs, and why",
		Example: "  carillon describe group ledger",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := gv.keyOf("group", args[0])
			if err != nil {
				return err
			}
			view, err := gv.client.Groups.Get(cmd.Context(), key)
			if err != nil {
				return err
			}
			return gv.describeGroup(view)
		},
	}
}

func (gv groupVerbs) describeGroup(v api.Group) error {
	return gv.describe(v, v.Key().String(), func() error { gv.groupText(v); return nil })
}

func (gv groupVerbs) groupText(v api.Group) {
	f := newFields(gv.out, "")
	f.add("Group", v.Key().String())
	f.add("Mode", v.Spec.EffectiveMode())
	f.add("In words", v.Words)
	gv.addGroupSpec(f, &v.Spec)
	f.add("Labels", pairs(v.Labels))
	f.add("Annotations", pairs(v.Annotations))
	f.add("Created", gv.stamp(v.CreatedAt))
	f.add("Updated", fmt.Sprintf("%s (generation %d)", orDash(gv.stamp(v.UpdatedAt)), v.Generation))
	f.add("UID", v.UID.String())
	f.add("Shard", v.Shard.String())
	f.add("Jobs", strconv.Itoa(v.Jobs))
	f.add("Open slots", strconv.Itoa(v.OpenSlots))
	f.add("Owner", orText(string(v.Owner), "nobody"))
	f.add("Since", gv.stamp(v.Since))
	if !v.Token.IsZero() {
		f.add("Token", v.Token.String())
	}
	f.add("In line", nodeList(v.Line))
	if o := v.Override; o != nil {
		f.add("Override", wanted(overrideText(o), o.By, gv.stamp(o.Since), o.Reason))
	}
	f.flush()
}

// addGroupSpec adds what the spec says, and what holds where it says nothing.
func (gv groupVerbs) addGroupSpec(f fields, s *job.GroupSpec) {
	m, _ := mode.Find(s.Mode) // one that this program does not know reads nothing
	reads := func(field, name, value string) {
		if slices.Contains(m.Reads, field) {
			f.add(name, value)
		}
	}
	f.add("Nodes", orText(nodeList(s.Nodes), "all"))
	f.add("Pin", pairs(s.Pin))
	reads("sites", "Sites", strings.Join(s.Sites, ", then "))
	reads("spread", "Spread", s.Spread)
	reads("holdOff", "Hold-off", s.EffectiveHoldOff().String())
	reads("grace", "Grace", s.EffectiveGrace().String())
	reads("slice", "Slice", s.Slice.String())
	reads("onLoss", "On loss", string(cmp.Or(s.OnLoss, job.LossTakeover)))
	reads("start", "Start", string(cmp.Or(s.Start, job.StartAsync)))
	f.add("Ordered", yesNo(s.Ordered))
	if s.MaxConcurrent > 0 {
		f.add("At a time", fmt.Sprintf("%d runs at most", s.MaxConcurrent))
	}
	f.add("Mutex", s.Mutex)
}
