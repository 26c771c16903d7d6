package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/job"
)

// notifierVerbs are the verbs of notifiers.
type notifierVerbs struct{ *call }

func (nv notifierVerbs) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "notify VERB", GroupID: groupCluster,
		Short: "List, show, try and preview notifiers, and have alerts sent again",
		Long: "Notifiers tell people what becomes of jobs (kind: Notifier): by webhook, mail, chat,\n" +
			"PagerDuty, Alertmanager or healthchecks. They are made with `carillon apply`.",
		Example: "  carillon notify list\n  carillon notify show oncall\n  carillon notify test oncall",
		RunE:    needsVerb,
	}
	list := nv.listNotifiersCommand("list [NAME...]")
	list.Aliases = []string{"ls"}
	show := &cobra.Command{
		Use: "show NAME", Args: exactlyOne("notifier"),
		Short:   "Show a notifier, and what became of its last alerts",
		Example: "  carillon notify show oncall",
		RunE:    func(cmd *cobra.Command, args []string) error { return nv.show(cmd, args[0]) },
	}
	cmd.AddCommand(list, show, nv.testCommand(), nv.sendCommand(), nv.previewCommand())
	return cmd
}

func (nv notifierVerbs) listNotifiersCommand(use string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   use,
		Short: "List notifiers and what becomes of their alerts, or show one",
		Long: "List notifiers, which tell people what becomes of jobs, or show one.\n" +
			"With -o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get notifiers -A\n  carillon get notifier oncall -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&nv.printer, args, nv.table(), func(name string) (api.Notifier, error) {
					v, err := nv.find(cmd, name)
					return v.Notifier, err
				})
			}
			found, err := nv.client.Notifiers.List(cmd.Context(), nv.listed(all))
			if err != nil {
				return err
			}
			return printList(&nv.printer, found, nv.table())
		},
	}
	nv.allNamespaces(cmd, &all)
	return cmd
}

func (nv notifierVerbs) getNotifiersCommand() *cobra.Command {
	cmd := nv.listNotifiersCommand("notifiers [NAME...]")
	cmd.Aliases = []string{"notifier"}
	return cmd
}

func (nv notifierVerbs) describeNotifierCommand() *cobra.Command {
	return &cobra.Command{
		Use: "notifier NAME", Aliases: []string{"notifiers"}, Args: exactlyOne("notifier"),
		Short:   "Show a notifier, and what became of its last alerts",
		Example: "  carillon describe notifier oncall",
		RunE:    func(cmd *cobra.Command, args []string) error { return nv.show(cmd, args[0]) },
	}
}

func (nv notifierVerbs) deleteNotifiersCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "notifier NAME...", Aliases: []string{"notifiers"}, Args: someOf("notifier"),
		Short:   "Delete notifiers, and what they had to tell",
		Example: "  carillon delete notifier oncall",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(nv).deleteNamed(cmd, job.KindNotifier, args, *yes)
		},
	}
}

func (nv notifierVerbs) find(cmd *cobra.Command, name string) (api.NotifierDetail, error) {
	key, err := nv.keyOf("notifier", name)
	if err != nil {
		return api.NotifierDetail{}, err
	}
	return nv.client.Notifiers.Get(cmd.Context(), key)
}

func (nv notifierVerbs) table() table[api.Notifier] {
	type notifier = api.Notifier
	return table[notifier]{
		none: "no notifiers; create one with `carillon apply -f FILE`",
		name: func(n notifier) string { return n.Key().String() },
		manifest: func(n notifier) any {
			return manifestOf[job.NotifierSpec]{job.APIVersion, job.KindNotifier, n.Metadata, n.Spec}
		},
		columns: []column[notifier]{
			{head: "NAMESPACE", cell: func(n notifier) string { return n.Namespace }},
			{head: "NAME", cell: func(n notifier) string { return n.Name }},
			{head: "RECEIVER", cell: func(n notifier) string { return n.Spec.Receiver() }},
			{head: "WAITING", cell: func(n notifier) string { return strconv.Itoa(n.Waiting) }},
			{head: "FAILED", cell: func(n notifier) string { return strconv.Itoa(n.Failed) }},
			{head: "DELIVERED", cell: func(n notifier) string { return nv.stamp(n.DeliveredAt) }},
			{head: "ERROR", cell: func(n notifier) string { return orDash(n.Error) }},
		},
	}
}

// maxShown is how many deliveries are shown.
const maxShown = 20

func (nv notifierVerbs) show(cmd *cobra.Command, name string) error {
	v, err := nv.find(cmd, name)
	if err != nil {
		return err
	}
	return nv.describe(v, v.Key().String(), func() error {
		f := newFields(nv.out, "")
		f.add("Notifier", v.Key().String())
		f.add("Description", v.Spec.Description)
		f.add("Receiver", v.Spec.Receiver())
		on := make([]string, 0, len(v.Spec.Events()))
		for _, e := range v.Spec.Events() {
			on = append(on, string(e))
		}
		f.add("On", strings.Join(on, ", "))
		of := "jobs of namespace " + v.Namespace
		if v.Spec.Everywhere {
			of = "jobs of " + orText(strings.Join(v.Spec.Namespaces, ", "), "all namespaces")
		}
		if len(v.Spec.Jobs) > 0 {
			of += " named " + strings.Join(v.Spec.Jobs, ", ")
		}
		f.add("Of", of)
		f.add("Quiet", strings.Join(v.Spec.Quiet, ", "))
		f.add("Waiting", strconv.Itoa(v.Waiting))
		f.add("Failed", strconv.Itoa(v.Failed))
		f.add("Delivered last", nv.stamp(v.DeliveredAt))
		f.add("Error", v.Error)
		f.flush()
		if len(v.Deliveries) == 0 {
			return nil
		}
		fmt.Fprintln(nv.out)
		t := newTabs(nv.out)
		fmt.Fprintln(t, "ALERT\tAT\tJOB\tEVENT\tSTATE\tTRIES\tERROR")
		for _, d := range v.Deliveries[:min(maxShown, len(v.Deliveries))] {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", d.Alert.ID, nv.stamp(d.Alert.At), d.Alert.What(), d.Alert.Event, d.State, d.Attempts, orDash(d.Error))
		}
		return t.Flush()
	})
}

func (nv notifierVerbs) testCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "test NAME", Args: exactlyOne("notifier"),
		Short:   "Send a sample to a notifier's receiver, and tell whether it was taken",
		Example: "  carillon notify test oncall",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := nv.keyOf("notifier", args[0])
			if err != nil {
				return err
			}
			if err := nv.client.Notifiers.Test(cmd.Context(), key, api.Order{By: nv.user(), Reason: reason}); err != nil {
				return err
			}
			fmt.Fprintf(nv.out, "notifier %s: its receiver has taken the sample\n", key)
			return nil
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (nv notifierVerbs) sendCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "send NAME ALERT", Args: cobra.ExactArgs(2),
		Short:   "Have an alert sent again that was settled, under its own id",
		Example: "  carillon notify send oncall alert_abcdefghijklmnopqrstuvwxyz",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := nv.keyOf("notifier", args[0])
			if err != nil {
				return err
			}
			if err := nv.client.Notifiers.SendAgain(cmd.Context(), key, args[1], api.Order{By: nv.user(), Reason: reason}); err != nil {
				return err
			}
			fmt.Fprintf(nv.out, "alert %s is sent again\n", args[1])
			return nil
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (nv notifierVerbs) previewCommand() *cobra.Command {
	var src sourceFlags
	cmd := &cobra.Command{
		Use: "preview -f FILE", Args: cobra.NoArgs,
		Short:   "Print what the notifiers of a file would tell, by samples; nothing is sent",
		Example: "  carillon notify preview -f oncall.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := manifestVerbs(nv).readManifests(src)
			if err != nil {
				return err
			}
			shown := 0
			for _, f := range files {
				objects, err := manifest.Decode(f.name, f.body)
				if err != nil {
					return err
				}
				for _, o := range slices.DeleteFunc(objects, func(o manifest.Object) bool { return o.Kind != job.KindNotifier }) {
					n := job.Notifier{Metadata: o.Metadata, Spec: o.Notifier}
					for _, a := range message.Samples(&n, nv.now()) {
						m, err := message.Compose(&n, "preview", []job.Alert{a})
						if err != nil {
							return err
						}
						if shown > 0 {
							fmt.Fprintln(nv.out)
						}
						shown++
						fmt.Fprintf(nv.out, "%s\n\n%s\n", m.Subject, m.Text)
					}
				}
			}
			if shown == 0 {
				return usagef("there is no notifier in the files; give one (kind: %s)", job.KindNotifier)
			}
			return nil
		},
	}
	src.add(cmd)
	return cmd
}
