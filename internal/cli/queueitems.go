package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

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
	addDuration(fs, &delay, "delay", 0, "begin with it after this `TIME` at the earliest (0: at once)")
	addDuration(fs, &within, "expire", 0, "make it a dead letter if no worker has begun with it within this `TIME` (0: as the queue says)")
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
