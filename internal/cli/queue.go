package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// queueVerbs are the verbs of queues.
type queueVerbs struct{ *call }

func (qv queueVerbs) queueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "queue VERB", GroupID: groupCluster,
		Short: "Put work into queues, look at them, and hold them back",
		Long: "Put work into queues, look at them, and hold them back. A queue is made with\n" +
			"`carillon apply` (kind: Queue). Its items are done by minions that offer to work on\n" +
			"it (worker --queue NAME:PLACES), each by any one of them.",
		Example: "  carillon queue put report '{\"month\":\"2027-01\"}'\n  carillon queue show report",
		RunE:    needsVerb,
	}
	cmd.AddCommand(
		qv.listCommand(), qv.showCommand(), qv.putCommand(), qv.cancelCommand(), qv.deadCommand(), qv.redriveCommand(), qv.purgeCommand(),
		qv.holdCommand(api.QueuePause, "Have queues hand out nothing; what workers have goes on", "paused"),
		qv.holdCommand(api.QueueDrain, "Have queues take no new items; those that are there are done", "draining"),
		qv.holdCommand(api.QueueResume, "Have queues take items and hand them out again", "resumed"),
	)
	return cmd
}

// needsVerb is run when the verb of a noun is missing, or unknown.
func needsVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownWord(cmd, "verb of "+cmd.Name(), args[0])
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		verbs = append(verbs, c.Name())
	}
	return usagef("%s: specify a verb: %s", cmd.Name(), strings.Join(verbs, ", "))
}

func (qv queueVerbs) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list [NAME]", Aliases: []string{"ls"}, Args: atMostOne,
		Short: "List queues, or the items of one",
		Long: "List queues, or the items of one that wait or that workers have, highest priority\n" +
			"first. With -o yaml queues are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon queue list -A\n  carillon queue list report",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return qv.listItems(cmd, args[0], false)
			}
			return qv.listQueues(cmd, all)
		},
	}
	qv.allNamespaces(cmd, &all)
	return cmd
}

func (qv queueVerbs) getQueuesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "queues [NAME...]", Aliases: []string{"queue"},
		Short:   "List queues, or show one",
		Long:    "List queues, or show one. With -o yaml queues are printed as manifests that\n`carillon apply` takes back.",
		Example: "  carillon get queues -A\n  carillon get queue report -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return qv.listQueues(cmd, all)
			}
			return printNamed(&qv.printer, args, qv.queueTable(false), func(name string) (api.Queue, error) {
				key, err := qv.keyOf("queue", name)
				if err != nil {
					return api.Queue{}, err
				}
				return qv.client.Queues.Get(cmd.Context(), key)
			})
		},
	}
	qv.allNamespaces(cmd, &all)
	return cmd
}

func (qv queueVerbs) describeQueueCommand() *cobra.Command {
	return &cobra.Command{
		Use: "queue NAME", Aliases: []string{"queues"}, Args: exactlyOne("queue"),
		Short:   "Show a queue and who works on it",
		Example: "  carillon describe queue report",
		RunE:    func(cmd *cobra.Command, args []string) error { return qv.showQueue(cmd, args[0]) },
	}
}

func (qv queueVerbs) listQueues(cmd *cobra.Command, all bool) error {
	queues, err := qv.client.Queues.List(cmd.Context(), qv.listed(all))
	if err != nil {
		return err
	}
	return printList(&qv.printer, queues, qv.queueTable(all))
}

func (qv queueVerbs) showQueue(cmd *cobra.Command, name string) error {
	key, err := qv.keyOf("queue", name)
	if err != nil {
		return err
	}
	v, err := qv.client.Queues.Get(cmd.Context(), key)
	if err != nil {
		return err
	}
	return qv.describe(v, v.Key().String(), func() error { return qv.queueText(cmd.Context(), &v) })
}

func (qv queueVerbs) queueTable(all bool) table[api.Queue] {
	type view = api.Queue
	t := table[view]{
		none: "no queues " + qv.where(all) + "; create one with `carillon apply -f FILE`",
		name: func(v view) string { return v.Key().String() },
		manifest: func(v view) any {
			return manifestOf[job.QueueSpec]{job.APIVersion, job.KindQueue, v.Metadata, v.Spec}
		},
		columns: []column[view]{
			{head: "NAME", cell: func(v view) string { return v.Name }},
			{head: "STATE", cell: func(v view) string { return holdWord(v.Hold) }},
			{head: "WAITING", cell: func(v view) string { return strconv.FormatInt(v.Waiting, 10) }},
			{head: "IN HAND", cell: func(v view) string { return strconv.FormatInt(v.InHand, 10) }},
			{head: "DEAD", cell: func(v view) string { return strconv.FormatInt(v.Dead, 10) }},
			{head: "OLDEST", cell: func(v view) string { return qv.age(v.OldestPutAt) }},
			{head: "DONE/S", cell: func(v view) string { return fmt.Sprintf("%.1f", v.DonePerSecond) }},
			{head: "FAILED/S", cell: func(v view) string { return fmt.Sprintf("%.1f", v.FailedPerSecond) }},
			{head: "DISPATCHER", wide: true, cell: func(v view) string { return string(v.Dispatcher) }},
			{head: "LABELS", wide: true, cell: func(v view) string { return pairs(v.Labels) }},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

// maxOffering is how many minions are named.
const maxOffering = 5

// holdWord says how a queue is held back.
func holdWord(h *api.QueueHold) string {
	switch {
	case h == nil:
		return "open"
	case h.Draining:
		return "draining"
	}
	return "paused"
}

// listItems lists items of a queue, as many as there are.
func (qv queueVerbs) listItems(cmd *cobra.Command, name string, dead bool) error {
	key, err := qv.keyOf("queue", name)
	if err != nil {
		return err
	}
	var items []api.QueueItem
	query := api.ItemQuery{Dead: dead, Limit: api.MaxItems}
	for {
		page, err := qv.client.Queues.Items(cmd.Context(), key, query)
		if err != nil {
			return err
		}
		items = append(items, page.Items...)
		if query.Cursor = page.Next; query.Cursor == "" || len(items) >= maxListed {
			if page.Next != "" {
				qv.note("there are more; these are the first %d", len(items))
			}
			break
		}
	}
	none := "nothing waits in queue " + key.String() + ", and no worker has any of it"
	if dead {
		none = "no dead letters in queue " + key.String()
	}
	return printList(&qv.printer, items, qv.itemTable(none, dead))
}

// maxListed is how many items a list shows at most.
const maxListed = 10_000

func (qv queueVerbs) itemTable(none string, dead bool) table[api.QueueItem] {
	type view = api.QueueItem
	t := table[view]{none: none, name: func(v view) string { return v.ID }, columns: []column[view]{
		{head: "ID", cell: func(v view) string { return v.ID }},
		{head: "PRIORITY", cell: func(v view) string { return strconv.Itoa(v.Priority) }},
	}}
	if dead {
		t.columns = append(t.columns,
			column[view]{head: "ATTEMPTS", cell: func(v view) string { return strconv.Itoa(v.Attempt) }},
			column[view]{head: "DEAD SINCE", cell: func(v view) string { return qv.stamp(v.EndedAt) }},
			column[view]{head: "WHY", cell: func(v view) string { return v.LastError }},
		)
	} else {
		t.columns = append(t.columns,
			column[view]{head: "STATE", cell: func(v view) string { return itemState(&v) }},
			column[view]{head: "ATTEMPT", cell: func(v view) string { return strconv.Itoa(v.Attempt) }},
			column[view]{head: "MINION", cell: func(v view) string { return string(v.Minion) }},
			column[view]{head: "SINCE", cell: func(v view) string { return qv.stamp(v.Since) }},
			column[view]{head: "PUT", cell: func(v view) string { return qv.stamp(v.PutAt) }},
			column[view]{head: "NOT BEFORE", wide: true, cell: func(v view) string { return qv.stamp(v.NotBefore) }},
			column[view]{head: "LAST ERROR", wide: true, cell: func(v view) string { return v.LastError }},
		)
	}
	t.columns = append(t.columns,
		column[view]{head: "KEY", wide: true, cell: func(v view) string { return v.Key }},
		column[view]{head: "RUN", wide: true, cell: func(v view) string { return string(v.RunID) }},
	)
	return t
}

func itemState(v *api.QueueItem) string {
	switch {
	case v.Run != nil:
		return string(v.Run.State)
	case v.Cancelling != "":
		return string(v.State) + ", is being ended"
	}
	return string(v.State)
}

func (qv queueVerbs) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME [ITEM]", Args: rangeOf(1, 2, "a queue, and an item of it if you like"),
		Short: "Show a queue and who works on it, or one item",
		Long: "Show a queue and who works on it, or one item: what it is, who has it, and how it\n" +
			"ended, as long as history keeps its run.",
		Example: "  carillon queue show report\n  carillon queue show report jan-27",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return qv.showQueue(cmd, args[0])
			}
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			v, err := qv.client.Queues.Item(cmd.Context(), key, args[1])
			if err != nil {
				return err
			}
			return qv.describe(v, v.ID, func() error { qv.itemText(key, &v); return nil })
		},
	}
}

// rangeOf refuses fewer or more arguments; what says what they are.
func rangeOf(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s: specify %s (got %d)", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

func (qv queueVerbs) itemText(key job.Key, v *api.QueueItem) {
	f := newFields(qv.out, "")
	f.add("Item", v.ID+" of queue "+key.String())
	f.add("State", itemState(v))
	if v.EndedAt.IsZero() { // history does not keep it
		f.add("Priority", strconv.Itoa(v.Priority))
	}
	f.add("Key", v.Key)
	f.add("Put", qv.stamp(v.PutAt))
	if v.State == api.ItemDelayed {
		f.add("Not before", qv.stamp(v.NotBefore))
	}
	f.add("Expires", qv.stamp(v.ExpiresAt))
	if v.Minion != "" {
		f.add("Minion", string(v.Minion)+" since "+qv.stamp(v.Since))
	}
	f.add("Cancelling", v.Cancelling)
	if v.Attempt > 0 {
		f.add("Attempts", strconv.Itoa(v.Attempt))
	}
	f.add("Last error", v.LastError)
	f.add("Ended", qv.stamp(v.EndedAt))
	f.add("Run", string(v.RunID))
	if v.Job != "" {
		f.add("Job", v.Job+", run "+string(v.JobRunID))
		f.add("Fire", v.FireID)
	}
	if v.Run != nil {
		f.add("Reason", v.Run.Reason)
		for i := range v.Run.Tasks {
			t := &v.Run.Tasks[i]
			f.add("Done by", string(t.Minion))
			f.add("Output", strings.TrimRight(t.Stdout.Head+t.Stdout.Tail, "\n"))
			f.add("Errors", strings.TrimRight(t.Stderr.Head+t.Stderr.Tail, "\n"))
		}
	}
	f.add("Payload", v.Payload)
	f.flush()
}

// offering are the minions that offer places of a queue that has no worker: its target
// does not match them. Who may not read minions is told of none.
func (qv queueVerbs) offering(ctx context.Context, key job.Key) []string {
	all, err := qv.client.Minions.List(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for i := range all {
		if offers, err := job.ParseQueueOffers(all[i].Facts[job.FactQueues]); err == nil && offers[key] > 0 {
			names = append(names, oneLine(string(all[i].ID)))
		}
	}
	return names
}

func (qv queueVerbs) queueText(ctx context.Context, v *api.Queue) error {
	f := newFields(qv.out, "")
	f.add("Queue", v.Key().String())
	state := holdWord(v.Hold)
	if v.Hold != nil {
		state = wanted(state, v.Hold.By, "since "+qv.stamp(v.Hold.Since), v.Hold.Reason)
	}
	f.add("State", state)
	waiting := strconv.FormatInt(v.Waiting, 10)
	if v.Delayed > 0 {
		waiting += fmt.Sprintf(", %d of them for their time", v.Delayed)
	}
	for i := range v.Bounds {
		f.add("Within", withinText(&v.Bounds[i]))
	}
	f.add("Waiting", waiting)
	f.add("Oldest", qv.age(v.OldestPutAt))
	f.add("In hand", strconv.FormatInt(v.InHand, 10))
	f.add("Dead letters", strconv.FormatInt(v.Dead, 10))
	if v.ToldAt.IsZero() {
		f.add("Dispatcher", "not known yet")
	} else {
		f.add("Dispatcher", string(v.Dispatcher)+", told "+qv.age(v.ToldAt)+" ago")
		f.add("Done", fmt.Sprintf("%.1f/s", v.DonePerSecond))
		f.add("Failed", fmt.Sprintf("%.1f/s", v.FailedPerSecond))
	}
	f.flush()
	if len(v.Workers) == 0 {
		if names := qv.offering(ctx, v.Key()); len(names) > 0 && v.Spec.Target.Match != "" {
			who, does := names[0], "offers it, but does"
			if len(names) > 1 {
				who, does = strings.Join(names[:min(len(names), maxOffering)], ", "), "offer it, but do"
			}
			qv.note("%s %s not match the queue's target, `%s`", who, does, oneLine(v.Spec.Target.Match))
			return nil
		}
		qv.note("no minion works on it: start one with worker --queue %s:1", v.Key())
		return nil
	}
	type row struct {
		*api.QueueWorker
		busy *api.QueueBusy
	}
	var rows []row
	for i := range v.Workers {
		w := &v.Workers[i]
		if len(w.Items) == 0 {
			rows = append(rows, row{w, nil})
		}
		for n := range w.Items {
			rows = append(rows, row{w, &w.Items[n]})
		}
	}
	fmt.Fprintln(qv.out)
	busy := func(r row, cell func(*api.QueueBusy) string) string {
		if r.busy == nil {
			return ""
		}
		return cell(r.busy)
	}
	return printTable(qv.out, rows, []column[row]{
		{head: "WORKER", cell: func(r row) string { return string(r.Minion) }},
		{head: "PLACES", cell: func(r row) string { return strconv.Itoa(r.Places) }},
		{head: "STATE", cell: func(r row) string {
			switch {
			case !r.AwaySince.IsZero():
				return "offline since " + qv.stamp(r.AwaySince)
			case r.Trouble != "":
				return r.Trouble
			case r.busy == nil:
				return "idle"
			case r.busy.Progress != nil:
				return strings.TrimSpace(fmt.Sprintf("busy %d%% %s", r.busy.Progress.Percent, r.busy.Progress.Text))
			}
			return "busy"
		}},
		{head: "ITEM", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return b.ID }) }},
		{head: "ATTEMPT", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return strconv.Itoa(b.Attempt) }) }},
		{head: "SINCE", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return qv.stamp(b.Since) }) }},
		{head: "RUN", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return string(b.RunID) }) }},
	}, qv.output == formatWide, "")
}
