package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/backup"
)

const (
	// minBackupEvery is how often backups are taken at most.
	minBackupEvery = time.Minute
	// backupAgain is when a backup that failed is tried again, unless the next is due before.
	backupAgain = time.Minute
)

// scheduleCommand takes backups until it is told to end.
func (bv backupVerbs) scheduleCommand() *cobra.Command {
	var (
		t     taking
		every time.Duration
		keep  int
	)
	cmd := &cobra.Command{
		Use: "schedule PLACE", Args: exactlyOne("place"),
		Short: "Take backups again and again, and remove old ones, until interrupted",
		Long: "Take backups again and again, and remove old ones, until interrupted: run it as a\n" +
			"service beside a node, or wherever the place is. It goes on from the newest backup in\n" +
			"the place, so that a restart takes none too many. A backup that fails is told on\n" +
			"stderr, and tried again in a minute; none is removed before another has been taken.\n" +
			"Watch it with `carillon backup list PLACE --max-age`.",
		Example: "  carillon backup schedule /var/backups/carillon --every 1h --keep 48",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case every < minBackupEvery:
				return usagef("--every %s: give %s or more", every, minBackupEvery)
			case keep < 1:
				return usagef("--keep %d: give how many of the newest stay, 1 or more", keep)
			}
			if err := t.open(bv, args[0]); err != nil {
				return err
			}
			return bv.schedule(cmd.Context(), &t, every, keep)
		},
	}
	t.add(cmd)
	addDuration(cmd.Flags(), &every, "every", time.Hour, "how long after one backup the next is taken, as a `DURATION`")
	cmd.Flags().IntVar(&keep, "keep", 0, "how many of the newest stay, `N`; must be given")
	return cmd
}

func (bv backupVerbs) schedule(ctx context.Context, t *taking, every time.Duration, keep int) error {
	wait := bv.untilDue(ctx, t, every)
	for backoff.Sleep(ctx, wait) {
		begun := bv.now()
		err := bv.takeAndPrune(ctx, t, keep)
		if ctx.Err() != nil {
			break
		}
		wait = every - bv.now().Sub(begun)
		if err != nil {
			bv.note("no backup was taken, trying again: %v", err)
			wait = min(wait, backupAgain)
		}
	}
	return nil // it was told to end
}

// untilDue is how long it is until the next backup is due, by the newest that there is.
func (bv backupVerbs) untilDue(ctx context.Context, t *taking, every time.Duration) time.Duration {
	all, err := backup.List(ctx, t.to, bv.now())
	all = backup.Sound(all)
	if err != nil || len(all) == 0 {
		return 0 // the place may not be there yet; if it cannot be, taking one tells so
	}
	wait := every - bv.now().Sub(all[0].TakenAt)
	if wait > every { // it was taken by a clock that is ahead
		return every
	}
	if wait > 0 {
		bv.note("the newest backup is of %s; the next follows in %s", all[0].TakenAt.UTC().Format(time.RFC3339), wait.Round(time.Second))
	}
	return max(wait, 0)
}

func (bv backupVerbs) takeAndPrune(ctx context.Context, t *taking, keep int) error {
	k, end, err := t.take(ctx, bv)
	if err != nil {
		return err
	}
	fmt.Fprintf(bv.out, "%s: %d keys, %d jobs\n", k.Path, end.Keys, end.Jobs)
	gone, err := backup.Prune(ctx, t.to, keep, false, bv.now())
	if err != nil {
		bv.note("old backups were not removed: %v", err)
	}
	for i := range gone {
		bv.note("%s is removed", gone[i].Path)
	}
	return nil
}
