package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) describeNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "node NAME", Aliases: []string{"nodes"}, Args: exactlyOne("node"), ValidArgsFunction: a.completeNodes,
		Short:   "Show a node, its health, and what operators ordered",
		Example: "  carillon describe node n1",
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := a.client.Nodes.List(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(nodes, func(n api.Node) bool { return string(n.Name) == args[0] })
			if i < 0 {
				return fmt.Errorf("there is no live node %q: %w", args[0], job.ErrNotFound)
			}
			return a.describe(nodes[i], args[0], func() error { a.nodeText(&nodes[i]); return nil })
		},
	}
}

func (a *app) nodeText(n *api.Node) {
	f := newFields(a.out, "")
	f.add("Node", string(n.Name))
	f.add("Phase", n.Phase)
	f.add("Health", nodeHealth(*n))
	for _, t := range n.Trouble {
		f.add("Problem", t)
	}
	if d := n.Drain; d != nil {
		f.add("Drained", a.wanted("yes", d.By, a.stamp(d.Since), d.Reason))
	}
	f.add("Site", n.Site)
	f.add("Labels", pairs(n.Labels))
	f.add("Priority", fmt.Sprint(n.Priority))
	f.add("Capacity", fmt.Sprint(n.Capacity))
	f.add("Shards", fmt.Sprint(n.Shards))
	f.add("Minions", fmt.Sprint(n.Minions))
	f.add("API and page", n.APIAddr)
	f.add("Minions and peers", n.PeerAddr)
	f.add("Version", n.Version)
	f.add("Started", a.stamp(n.StartedAt)+", "+a.relative(n.StartedAt))
	f.flush()
}

func (a *app) describeCalendarCommand() *cobra.Command {
	return &cobra.Command{
		Use: "calendar NAME", Aliases: []string{"calendars"}, Args: exactlyOne("calendar"),
		Short:   "Show when a calendar is closed, and which jobs keep to it",
		Example: "  carillon describe calendar holidays",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.keyOf("calendar", args[0])
			if err != nil {
				return err
			}
			all, err := a.client.Calendars.List(cmd.Context(), key.Namespace)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(c job.Calendar) bool { return c.Key() == key })
			if i < 0 {
				return fmt.Errorf("calendar %s: %w", key, job.ErrNotFound)
			}
			jobs, err := a.client.Jobs.List(cmd.Context(), api.JobQuery{Namespace: ""})
			if err != nil {
				return err
			}
			var users []string
			for n := range jobs {
				if slices.Contains(jobs[n].Spec.CalendarKeys(jobs[n].Namespace), key) {
					users = append(users, jobs[n].Key().String())
				}
			}
			return a.describe(all[i], key.String(), func() error { a.calendarText(&all[i], users); return nil })
		},
	}
}

func (a *app) calendarText(c *job.Calendar, users []string) {
	f := newFields(a.out, "")
	f.add("Calendar", c.Key().String())
	if cal, problems := calendar.New(c.Key().String(), &c.Spec); len(problems) == 0 {
		now := "open"
		if why, until, closed := cal.Closed(a.now()); closed {
			now = "closed until " + a.stamp(until) + ": " + why
		}
		f.add("Now", now)
	}
	f.add("Time zone", orText(c.Spec.TimeZone, "UTC"))
	f.add("Business days", orText(strings.Join(c.Spec.Weekdays, ", "), "all"))
	for _, d := range c.Spec.Closed {
		f.add("Closed", d)
	}
	for _, d := range c.Spec.Open {
		f.add("Open", d)
	}
	for _, w := range c.Spec.Windows {
		f.add("Closed window", w)
	}
	if n := strings.Count(c.Spec.ICS, "BEGIN:VEVENT"); n > 0 {
		f.add("iCalendar", fmt.Sprintf("%d events", n))
	}
	f.add("Used by", orText(strings.Join(users, ", "), "no job"))
	f.add("Created", a.stamp(c.CreatedAt))
	f.add("Updated", a.stamp(c.UpdatedAt))
	f.flush()
}

func (a *app) describeHostGroupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hostgroup NAME", Aliases: hostGroupAliases("hostgroups"), Args: exactlyOne("host group"),
		Short:   "Show which minions a host group matches now, and what names it",
		Example: "  carillon describe hostgroup frontend",
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := a.client.HostGroups.List(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(groups, func(g job.HostGroup) bool { return g.Name == args[0] })
			if i < 0 {
				return fmt.Errorf("host group %s: %w", args[0], job.ErrNotFound)
			}
			v, err := a.client.Minions.Match(cmd.Context(), "@"+args[0])
			if err != nil {
				return err
			}
			jobs, err := a.client.Jobs.List(cmd.Context(), api.JobQuery{Namespace: ""})
			if err != nil {
				return err
			}
			var users []string
			names := func(expr string) bool {
				e, err := target.Parse(expr)
				return err == nil && slices.Contains(e.Groups(), args[0])
			}
			for n := range groups {
				if names(groups[n].Spec.Match) {
					users = append(users, "@"+groups[n].Name)
				}
			}
			for n := range jobs {
				if m := jobs[n].Spec.Target.Match; m != "" && names(m) {
					users = append(users, "job "+jobs[n].Key().String())
				}
			}
			return a.describe(groups[i], args[0], func() error { a.hostGroupText(&groups[i], &v, users); return nil })
		},
	}
}

func (a *app) hostGroupText(g *job.HostGroup, v *api.Match, users []string) {
	f := newFields(a.out, "")
	f.add("Host group", g.Name)
	f.add("Match", g.Spec.Match)
	matched := "none"
	if n := len(v.Minions); n > 0 {
		matched = fmt.Sprintf("%d of %d: %s", n, v.Known, v.Hosts)
	}
	f.add("Minions", matched)
	for _, away := range outOfReach(v) {
		f.add("Out of reach", fmt.Sprintf("%d, %s: %s", away.n, away.hosts, away.reason))
	}
	f.add("Not known", v.Missing)
	for _, u := range v.Unknown {
		f.add("Not told", wantText(u))
	}
	f.add("Named by", orText(strings.Join(users, ", "), "nothing"))
	f.add("Updated", a.stamp(g.UpdatedAt))
	f.flush()
}

// hostGroupAliases are the other ways to write hostgroup: one word is the way, and
// nobody is to remember which.
func hostGroupAliases(also ...string) []string {
	return append(also, "host-group", "host-groups", "hostGroup", "hostGroups", "HostGroup")
}

func (a *app) describeLockCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lock NAME", Aliases: []string{"locks"}, Args: exactlyOne("lock"),
		Short:   "Show who holds a lock and who waits, since when and why",
		Example: "  carillon describe lock deploy",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := a.lockNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.describe(v, v.Key().String(), func() error { a.lockText(&v); return nil })
		},
	}
}

func (a *app) lockText(v *api.Lock) {
	f := newFields(a.out, "")
	f.add("Lock", v.Key().String())
	if len(v.Holders) == 0 {
		f.add("Held by", "nobody")
	}
	for i := range v.Holders {
		f.add("Held by", a.contenderText(&v.Holders[i]))
	}
	for i := range v.Waiters {
		f.add(fmt.Sprintf("Waits, %d", i+1), a.contenderText(&v.Waiters[i]))
	}
	if v.Delayed > 0 {
		f.add("Kept free", fmt.Sprintf("for the lock delay of %d that lost it without freeing it", v.Delayed))
	}
	f.flush()
}

func (a *app) contenderText(c *api.LockContender) string {
	parts := []string{c.Holder + " since " + a.stamp(c.Since) + " (" + short(max(a.now().Sub(c.Since), time.Duration(0))) + ")"}
	if !c.Token.IsZero() {
		parts = append(parts, "token "+c.Token.String())
	}
	if how := howHeld(c); how != "" {
		parts = append(parts, how)
	}
	if c.Purpose != "" {
		parts = append(parts, c.Purpose)
	}
	return strings.Join(parts, ", ")
}
