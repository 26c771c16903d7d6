package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

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
		Use: "queues [NAME]", Aliases: []string{"queue"}, Args: atMostOne,
		Short:   "List queues, or show one",
		Long:    "List queues, or show one. With -o yaml queues are printed as manifests that\n`carillon apply` takes back.",
		Example: "  carillon get queues -A\n  carillon get queue report -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return qv.listQueues(cmd, all)
			}
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			v, err := qv.client.Queues.Get(cmd.Context(), key)
			if err != nil {
				return err
			}
			return printOne(&qv.printer, v, qv.queueTable(false))
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
	return qv.describe(v, v.Key().String(), func() error { return qv.queueText(&v) })
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
	f.add("Priority", strconv.Itoa(v.Priority))
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

func (qv queueVerbs) queueText(v *api.Queue) error {
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
			}
			return "busy"
		}},
		{head: "ITEM", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return b.ID }) }},
		{head: "ATTEMPT", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return strconv.Itoa(b.Attempt) }) }},
		{head: "SINCE", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return qv.stamp(b.Since) }) }},
		{head: "RUN", cell: func(r row) string { return busy(r, func(b *api.QueueBusy) string { return string(b.RunID) }) }},
	}, qv.output == formatWide, "")
}

func (qv queueVerbs) putCommand() *cobra.Command {
	var (
		item     api.NewItem
		reason   string
		delay    time.Duration
		within   time.Duration
		fromEach bool
	)
	cmd := &cobra.Command{
		Use: "put NAME [PAYLOAD|-]", Args: rangeOf(1, 2, "a queue, and the payload"),
		Short: "Put an item into a queue",
		Long: "Put an item into a queue, and print its id. The command of the queue finds the\n" +
			"payload in CARILLON_PAYLOAD. With - it is read from standard input; with --lines each\n" +
			"line of standard input is the payload of an item of its own.\n" +
			"An item with an id that the queue has already is the same item: to put it again is safe.",
		Example: "  carillon queue put report '{\"month\":\"2027-01\"}' --priority 5\n" +
			"  carillon queue put report --id jan-27 --delay 10m < january.json -\n" +
			"  carillon queue put thumbs --lines < files.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			if delay < 0 || within < 0 {
				return usagef("--delay %v, --expire %v: give times above zero", delay, within)
			}
			now := qv.now()
			if delay > 0 {
				item.NotBefore = now.Add(delay).UTC()
			}
			if within > 0 {
				item.ExpiresAt = now.Add(max(delay, 0) + within).UTC()
			}
			o := api.Order{By: qv.user(), Reason: reason}
			if fromEach {
				if len(args) == 2 || item.ID != "" || item.Dedup != "" {
					return usagef("--lines: the payloads come from standard input, and ids and --dedup are for one item")
				}
				return qv.putLines(cmd.Context(), key, &item, o)
			}
			if len(args) == 2 {
				item.Payload = args[1]
			}
			if item.Payload == "-" {
				text, err := io.ReadAll(io.LimitReader(qv.opts.Stdin, maxPayload+1))
				if err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
				item.Payload = string(text)
			}
			done, err := qv.client.Queues.Put(cmd.Context(), key, []api.NewItem{item}, o)
			if err != nil {
				return err
			}
			return qv.printPut(done)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&item.ID, "id", "", "`ID` of the item, unique in the queue (default: one is made)")
	fs.IntVar(&item.Priority, "priority", 0, "0 to 9; higher goes first")
	fs.StringVar(&item.Key, "key", "", "of the items with the same `KEY` one is done at a time")
	fs.StringVar(&item.Dedup, "dedup", "", "what is put with the same `KEY` within the queue's dedupWindow is the same item")
	fs.DurationVar(&delay, "delay", 0, "begin with it after this `TIME` at the earliest (0: at once)")
	fs.DurationVar(&within, "expire", 0, "make it a dead letter if no worker has begun with it within this `TIME` (0: as the queue says)")
	fs.BoolVar(&fromEach, "lines", false, "put an item for each line of standard input")
	reasonFlag(cmd, &reason)
	return cmd
}

// maxPayload bounds what is read of a payload; the API tells how long one may be.
const maxPayload = 1 << 20

// printPut prints what was put: the ids, one a line, or objects.
func (qv queueVerbs) printPut(done []api.PutItem) error {
	if qv.asObject() {
		return qv.printValue(done)
	}
	for _, d := range done {
		fmt.Fprintln(qv.out, d.ID)
		if d.Duplicate {
			qv.note("item %s was there already", d.ID)
		}
	}
	return nil
}

// putLines puts an item for each line of standard input.
func (qv queueVerbs) putLines(ctx context.Context, key job.Key, like *api.NewItem, o api.Order) error {
	text, err := io.ReadAll(qv.opts.Stdin)
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	var items []api.NewItem
	put := func() error {
		if len(items) == 0 {
			return nil
		}
		done, err := qv.client.Queues.Put(ctx, key, items, o)
		if err != nil {
			return err
		}
		items = items[:0]
		return qv.printPut(done)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		one := *like
		one.Payload = line
		if items = append(items, one); len(items) == api.MaxPut {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

func (qv queueVerbs) cancelCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "cancel NAME ITEM", Args: rangeOf(2, 2, "a queue and an item of it"),
		Short:   "Take an item out of its queue; a worker that has it ends it",
		Example: "  carillon queue cancel report jan-27 --reason \"wrong month\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			gone, err := qv.client.Queues.Cancel(cmd.Context(), key, args[1], api.Order{By: qv.user(), Reason: reason})
			if err != nil {
				return err
			}
			what := "cancelled"
			if !gone {
				what = "is being ended"
			}
			return qv.printOutcome(outcome{"item", args[1], what})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (qv queueVerbs) deadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dead NAME", Args: exactlyOne("queue"),
		Short:   "List the dead letters of a queue: items that were given up, and why",
		Example: "  carillon queue dead report",
		RunE:    func(cmd *cobra.Command, args []string) error { return qv.listItems(cmd, args[0], true) },
	}
}

func (qv queueVerbs) redriveCommand() *cobra.Command {
	var (
		reason string
		all    bool
	)
	cmd := &cobra.Command{
		Use: "redrive NAME ITEM...|--all", Args: rangeOf(1, 1000, "a queue, and items of it or --all"),
		Short:   "Put dead letters back into their queue, with all attempts before them",
		Example: "  carillon queue redrive report jan-27\n  carillon queue redrive report --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			if all == (len(args) > 1) {
				return usagef("specify items, or --all, and not both")
			}
			o := api.Order{By: qv.user(), Reason: reason}
			for _, id := range args[1:] {
				if err := qv.client.Queues.Redrive(cmd.Context(), key, id, o); err != nil {
					return err
				}
				if err := qv.printOutcome(outcome{"item", id, "redriven"}); err != nil {
					return err
				}
			}
			if !all {
				return nil
			}
			return qv.toMany(cmd.Context(), key, "redriven", func(ctx context.Context) (api.ItemsChanged, error) {
				return qv.client.Queues.RedriveAll(ctx, key, o)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters")
	reasonFlag(cmd, &reason)
	return cmd
}

// toMany gives an order to many items until there are no more, and tells how many.
func (qv queueVerbs) toMany(ctx context.Context, key job.Key, what string, order func(context.Context) (api.ItemsChanged, error)) error {
	count := 0
	for {
		done, err := order(ctx)
		count += done.Count
		if err != nil {
			return err
		}
		if !done.More || done.Count == 0 {
			break
		}
	}
	return qv.printOutcome(outcome{"queue", key.String(), fmt.Sprintf("%s: %d items", what, count)})
}

func (qv queueVerbs) purgeCommand() *cobra.Command {
	var (
		reason    string
		dead, yes bool
	)
	cmd := &cobra.Command{
		Use: "purge NAME", Args: exactlyOne("queue"),
		Short:   "Remove the items of a queue that no worker has, or its dead letters",
		Long:    "Remove the items of a queue that no worker has, or, with --dead, its dead letters.\nWhat workers have goes on; see `carillon queue cancel`. It needs --yes.",
		Example: "  carillon queue purge report --yes\n  carillon queue purge report --dead --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := qv.keyOf("queue", args[0])
			if err != nil {
				return err
			}
			if !yes {
				return usagef("this removes items of queue %s for good; add --yes", key)
			}
			return qv.toMany(cmd.Context(), key, "purged", func(ctx context.Context) (api.ItemsChanged, error) {
				return qv.client.Queues.Purge(ctx, key, dead, api.Order{By: qv.user(), Reason: reason})
			})
		},
	}
	cmd.Flags().BoolVar(&dead, "dead", false, "dead letters, in place of what waits")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	reasonFlag(cmd, &reason)
	return cmd
}

func (qv queueVerbs) holdCommand(how api.QueueOrder, short, what string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: string(how) + " NAME...", Args: someOf("queue"),
		Short:   short,
		Example: "  carillon queue " + string(how) + " report",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				key, err := qv.keyOf("queue", name)
				if err != nil {
					return err
				}
				if err := qv.client.Queues.Hold(cmd.Context(), key, how, api.Order{By: qv.user(), Reason: reason}); err != nil {
					return err
				}
				if err := qv.printOutcome(outcome{"queue", key.String(), what}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (qv queueVerbs) deleteQueuesCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "queue NAME...", Aliases: []string{"queues"}, Args: someOf("queue"),
		Short:   "Delete queues in which nothing is",
		Example: "  carillon delete queue report",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(qv).deleteNamed(cmd, job.KindQueue, args, *yes)
		},
	}
}
