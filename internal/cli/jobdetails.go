package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// describedInstants is how many next instants describe shows.
const describedInstants = 5

func (jv jobVerbs) describeJobCommand() *cobra.Command {
	return &cobra.Command{
		Use: "job NAME", Aliases: []string{"jobs"}, Args: exactlyOne("name"), ValidArgsFunction: jv.completeJobs,
		Short:   "Show when and where a job runs, and its last runs",
		Example: "  carillon describe job backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := jv.key(args[0])
			if err != nil {
				return err
			}
			view, err := jv.client.Jobs.Get(cmd.Context(), key)
			if err != nil {
				return err
			}
			return jv.describeJob(cmd.Context(), view)
		},
	}
}

func (jv jobVerbs) describeJob(ctx context.Context, v api.Job) error {
	return jv.describe(v, v.Key().String(), func() error { return jv.jobText(ctx, v) })
}

func (jv jobVerbs) jobText(ctx context.Context, v api.Job) error {
	s := &v.Spec
	f := newFields(jv.out, "")
	f.add("Job", v.Key().String())
	f.add("Group", s.Group)
	f.add("Enabled", yesNo(s.IsEnabled()))
	for i := range v.Pauses {
		f.add("Paused", jv.pausedText(&v.Pauses[i]))
	}
	if v.Aside != nil {
		f.add("Set aside", fmt.Sprintf("since %s: %s", jv.stamp(v.Aside.Since), v.Aside.Reason))
	}
	f.add("Schedule", schedules(*s))
	f.add("In words", strings.Join(v.Words, "; "))
	f.add("Time zone", zoneText(s))
	f.add("Bounds", jv.boundsText(&v.Job))
	f.add("Jitter", orNone(s.Jitter))
	f.add("Calendars", strings.Join(s.Calendars, ", "))
	f.add("Dialect", string(s.Dialect))
	f.add("After", afterText(s.After))
	if s.Watch != nil {
		f.add("Watches key", s.Watch.Key)
	}
	if s.OnStart {
		f.add("Starts with", "the hosts of its minions")
	}
	f.add("Command", commandText(s))
	if line, more, _ := strings.Cut(s.Stdin, "\n"); strings.TrimSpace(more) != "" {
		f.add("Stdin", line+" ...")
	} else {
		f.add("Stdin", line)
	}
	if s.Ping != nil {
		f.add("Ping", cmp.Or(s.Ping.URL, "file "+s.Ping.URLFile))
	}
	f.add("Dispatch", dispatchText(v.Namespace, s.Dispatch))
	for i := range s.Params {
		f.add("Param "+s.Params[i].Name, paramText(&s.Params[i]))
	}
	f.add("Working dir", s.WorkingDir)
	f.add("User", s.User)
	f.add("Limits", limitsText(s.Limits))
	f.add("Environment", environmentText(s.Env))
	if s.Dispatch == nil {
		f.add("Target", targetText(s.Target))
	}
	for i := range v.Bounds {
		f.add("Within", withinText(&v.Bounds[i]))
	}
	f.add("Applied by", v.AppliedBy)
	f.add("At a time", capsText(&s.Rollout))
	if s.Dispatch == nil {
		f.add("Timeout", timeoutText(s))
		f.add("Lost after", s.EffectiveLostAfter().String())
		f.add("Retry", retryText(s.Retry))
	}
	f.add("Overlap", string(cmp.Or(s.Overlap, job.OverlapSkip)))
	f.add("Misfire", string(cmp.Or(s.Misfire, job.MisfireLatest)))
	if s.Dispatch == nil {
		f.add("Idempotent", yesNo(s.Idempotent))
	}
	f.add("Labels", pairs(v.Labels))
	f.add("Annotations", pairs(v.Annotations))
	f.add("Created", jv.stamp(v.CreatedAt))
	f.add("Updated", fmt.Sprintf("%s (generation %d)", orDash(jv.stamp(v.UpdatedAt)), v.Generation))
	f.add("UID", v.UID.String())
	f.add("Shard", shardText(v.Shard, s.Group))
	f.flush()

	if s.Script != nil {
		fmt.Fprintln(jv.out, "\nScript:")
		printText(jv.out, "  ", s.Script.Source)
	}
	if len(s.Schedules) > 0 {
		up, err := jv.upcomingOf(ctx, v.Key(), time.Time{}, describedInstants)
		if err != nil {
			return err
		}
		if len(up.next) > 0 || up.ends != "" {
			fmt.Fprintln(jv.out, "\nNext:")
			jv.printInstants(up)
		}
	}
	if len(v.Last) > 0 {
		fmt.Fprintln(jv.out, "\nLast runs:")
		return printTable(jv.out, v.Last, runVerbs(jv).runTable(false, "").columns, jv.output == formatWide, "  ")
	}
	return nil
}

// pausedText tells of a pause.
func (jv jobVerbs) pausedText(p *api.Pause) string {
	text := fmt.Sprintf("(%s) since %s", p.Scope, jv.stamp(p.Since))
	if !p.Until.IsZero() {
		text += " until " + jv.stamp(p.Until)
	}
	if p.By != "" {
		text += " by " + p.By
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// shardText names a shard: the number of a group's says nothing.
func shardText(id job.ShardID, group string) string {
	switch {
	case !id.IsGroup():
		return id.String()
	case group == "":
		return "that of its group"
	}
	return "that of group " + group
}

// boundsText tells from when to when, and how often, a schedule holds.
func (jv jobVerbs) boundsText(j *job.Job) string {
	var out []string
	if t := j.Spec.StartAt; t != nil {
		out = append(out, "from "+jv.stamp(*t))
	}
	if t := j.Spec.EndAt; t != nil {
		out = append(out, "to "+jv.stamp(*t))
	}
	if n := j.Spec.Count; n > 0 {
		out = append(out, fmt.Sprintf("%d times since %s", n, jv.stamp(j.CountedFrom)))
	}
	return strings.Join(out, ", ")
}

// dispatchText tells where the occurrences of a job go.
func dispatchText(namespace string, d *job.QueueDispatch) string {
	if d == nil {
		return ""
	}
	text := "an item of queue " + namespace + "/" + d.Queue
	if d.Priority != 0 {
		text += fmt.Sprintf(", priority %d", d.Priority)
	}
	if d.Key != "" {
		text += ", one at a time with key " + d.Key
	}
	return text
}

func afterText(after *job.After) string {
	if after == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s of %s", cmp.Or(after.On, job.OnSuccess), cmp.Or(after.Match, job.MatchAll), strings.Join(after.Jobs, ", "))
}

func commandText(s *job.Spec) string {
	if len(s.Steps) > 0 {
		names := make([]string, len(s.Steps))
		for i := range s.Steps {
			names[i] = s.StepName(i)
		}
		return fmt.Sprintf("%d steps: %s", len(names), strings.Join(names, ", "))
	}
	if s.Script != nil {
		interpreter := s.Script.Interpreter
		if len(interpreter) == 0 {
			interpreter = []string{"/bin/sh"}
		}
		return strings.Join(quoted(interpreter), " ") + " SCRIPT"
	}
	return strings.Join(quoted(s.Command), " ")
}

// quoted quotes the arguments in which one could not see where they end.
func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\r\n'\"\\$`") {
			out[i] = fmt.Sprintf("%q", arg)
		}
	}
	return out
}

// withinText tells what a job may start.
func withinText(b *job.Bound) string {
	rules := make([]string, len(b.Rules))
	for i := range b.Rules {
		r := &b.Rules[i]
		var parts []string
		if len(r.Targets) > 0 {
			parts = append(parts, "on "+strings.Join(r.Targets, " or "))
		}
		if len(r.RunAs) > 0 {
			parts = append(parts, "as "+strings.Join(r.RunAs, " or "))
		}
		for _, c := range r.Commands {
			parts = append(parts, string(c))
		}
		if r.Role != "" {
			parts = append(parts, "by the role "+r.Role)
		}
		rules[i] = strings.Join(parts, ", ")
	}
	return "what " + cmp.Or(b.By, "its author") + " may start: " + strings.Join(rules, "; or ")
}

func targetText(t job.Target) string {
	spread := "one minion"
	switch t.EffectiveRun() {
	case job.SpreadAll:
		spread = "all minions"
	case job.SpreadAny:
		spread = fmt.Sprintf("any %d minions", t.Count)
	case job.SpreadEach:
		spread = "one minion of each " + t.By
	case job.SpreadOne:
	}
	if len(t.Names) > 0 {
		spread += " named " + strings.Join(t.Names, " or ")
	}
	if len(t.Labels) > 0 {
		spread += " with " + pairs(t.Labels)
	}
	if t.Match != "" {
		spread += " matched by " + t.Match
	}
	if t.Prefer != "" {
		spread += ", those first that are matched by " + t.Prefer
	}
	return spread
}

// capsText tells how many minions of one value a rollout lets run at a time.
func capsText(r *job.Rollout) string {
	var out []string
	add := func(bounds map[string]int, where string) {
		for _, label := range slices.Sorted(maps.Keys(bounds)) {
			out = append(out, fmt.Sprintf("%d per %s in the %s", bounds[label], label, where))
		}
	}
	add(r.MaxPer, "run")
	add(r.ClusterMaxPer, "cluster")
	return strings.Join(out, ", ")
}

// environmentText lists variables; secrets by where minions find them.
func environmentText(env map[string]job.EnvValue) string {
	texts := make(map[string]string, len(env))
	for k, v := range env {
		texts[k] = v.String()
	}
	return pairs(texts)
}

// limitsText lists the bounds that there are.
func limitsText(l job.Limits) string {
	var out []string
	if l.Memory != 0 {
		out = append(out, "memory "+l.Memory.String())
	}
	if l.Pids != 0 {
		out = append(out, fmt.Sprintf("%d processes", l.Pids))
	}
	if l.CPU != 0 {
		out = append(out, l.CPU.String()+" processors")
	}
	return strings.Join(out, ", ")
}

func retryText(r job.Retry) string {
	if r.Attempts <= 1 {
		return "none"
	}
	return fmt.Sprintf("up to %d attempts, after %s and ever longer up to %s", r.Attempts,
		cmp.Or(time.Duration(r.Backoff), job.DefaultBackoff), cmp.Or(time.Duration(r.MaxBackoff), job.DefaultMaxBackoff))
}
