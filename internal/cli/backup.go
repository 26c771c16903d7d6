package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// backupVerbs take backups, keep them, and put them back.
type backupVerbs struct{ *call }

func (bv backupVerbs) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", GroupID: groupCluster, Args: noOrder,
		Short: "Take and keep backups of what etcd holds of the cluster",
		Long: "Take and keep backups of what etcd holds of the cluster: jobs, history, rights, the\n" +
			"authority, how far each job has run. A backup is of one revision, and is put back by\n" +
			"`carillon restore` into any etcd. It holds secrets: keep it as you keep etcd's disk,\n" +
			"or encrypt it with --age-recipient. It does not hold the seal key (docs/security.md).\n" +
			"A PLACE is a directory, or s3://BUCKET/PREFIX of a store that speaks S3.",
		Example: "  carillon backup create /var/backups/carillon\n  carillon backup verify /var/backups/carillon/carillon-20270101T000000Z-1-4711.backup",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(bv.createCommand(), bv.scheduleCommand(), bv.listCommand(), bv.verifyCommand(), bv.pruneCommand())
	return cmd
}

func (bv backupVerbs) createCommand() *cobra.Command {
	var t taking
	cmd := &cobra.Command{
		Use: "create PLACE", Args: exactlyOne("place"),
		Short: "Take a backup",
		Long: "Take a backup: through a node, which wants the right `grant` on the cluster and is\n" +
			"audited; or, with --etcd-endpoints or --data-dir, straight from etcd, which works\n" +
			"while no node does.",
		Example: "  carillon backup create /var/backups/carillon\n  carillon backup create s3://backups/carillon --s3-endpoint https://s3.example.org\n" +
			"  carillon backup create /var/backups/carillon --etcd-endpoints unix:///var/lib/carillon/scheduler/etcd/client.sock",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.open(bv, args[0]); err != nil {
				return err
			}
			k, end, err := t.take(cmd.Context(), bv)
			if err != nil {
				return err
			}
			bv.note("%d keys, %d jobs; %d keys on leases are left out", end.Keys, end.Jobs, end.Leased)
			return printOne(&bv.printer, k, bv.keptTable())
		},
	}
	t.add(cmd)
	return cmd
}

func (bv backupVerbs) listCommand() *cobra.Command {
	var store storeFlags
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use: "list PLACE", Args: exactlyOne("place"),
		Short: "List the backups in a place, newest first",
		Long: "List the backups in a place, newest first. With --max-age it fails where the newest\n" +
			"one is older, or there is none: that is for monitoring. What only has the name of a\n" +
			"backup, or a time to come in it, is told and does not count.",
		Example: "  carillon backup list /var/backups/carillon\n  carillon backup list s3://backups/carillon --max-age 2h",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := bv.place(args[0], &store)
			if err != nil {
				return err
			}
			all, err := backup.List(cmd.Context(), at, bv.now())
			if err != nil {
				return err
			}
			if err := printList(&bv.printer, all, bv.keptTable()); err != nil {
				return err
			}
			for i := range all {
				if k := &all[i]; k.Damaged != "" {
					bv.note("%s is damaged, and does not count: %s", k.Path, k.Damaged)
				}
			}
			switch sound := backup.Sound(all); {
			case maxAge == 0:
			case len(sound) == 0:
				return fmt.Errorf("there is no backup in %s", args[0])
			case bv.now().Sub(sound[0].TakenAt) > maxAge:
				return fmt.Errorf("the newest backup in %s is of %s, which is more than %s ago", args[0], sound[0].TakenAt.UTC().Format(time.RFC3339), maxAge)
			}
			return nil
		},
	}
	store.add(cmd)
	addDuration(cmd.Flags(), &maxAge, "max-age", 0, "fail where the newest one is older than this `DURATION`")
	return cmd
}

func (bv backupVerbs) keptTable() table[backup.Kept] {
	type kept = backup.Kept
	return table[kept]{none: "no backups", name: func(k kept) string { return k.Path }, columns: []column[kept]{
		{head: "BACKUP", cell: func(k kept) string { return k.Path }},
		{head: "TAKEN", cell: func(k kept) string { return k.TakenAt.UTC().Format(time.RFC3339) }},
		{head: "EPOCH", cell: func(k kept) string { return strconv.FormatInt(k.Epoch, 10) }},
		{head: "REVISION", cell: func(k kept) string { return strconv.FormatInt(k.Revision, 10) }},
		{head: "SIZE", cell: func(k kept) string { return job.Size(k.Bytes).String() }},
		{head: "ENCRYPTED", cell: func(k kept) string { return strconv.FormatBool(k.Encrypted) }},
	}}
}

func (bv backupVerbs) verifyCommand() *cobra.Command {
	var identities string
	var store storeFlags
	cmd := &cobra.Command{
		Use: "verify BACKUP...", Args: someOf("backup"),
		Short:   "Read backups to their ends, and check that nothing is missing or changed",
		Example: "  carillon backup verify /var/backups/carillon/carillon-20270101T000000Z-1-4711.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := readIdentities(identities)
			if err != nil {
				return err
			}
			var failed []error
			for _, path := range args {
				head, end, err := bv.verify(cmd.Context(), path, &store, ids)
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", path, err))
					continue
				}
				_, _ = fmt.Fprintf(bv.out, "%s is whole: cluster %s, epoch %d, revision %d, taken %s, %d keys, %d jobs\n",
					path, head.Cluster, head.Epoch, head.Revision, head.TakenAt.UTC().Format(time.RFC3339), end.Keys, end.Jobs)
			}
			return errors.Join(failed...)
		},
	}
	identityFlag(cmd, &identities)
	store.add(cmd)
	return cmd
}

func (bv backupVerbs) verify(ctx context.Context, path string, store *storeFlags, ids []age.Identity) (backup.Header, backup.Trailer, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return backup.Header{}, backup.Trailer{}, errors.New("it is a directory; give the files in it, as `carillon backup list` prints them")
	}
	f, err := bv.openBackup(ctx, path, store, ids)
	if err != nil {
		return backup.Header{}, backup.Trailer{}, err
	}
	defer func() { _ = f.Close() }()
	return backup.Read(f, nil)
}

func (bv backupVerbs) pruneCommand() *cobra.Command {
	var keep int
	var dry bool
	var store storeFlags
	cmd := &cobra.Command{
		Use: "prune PLACE", Args: exactlyOne("place"),
		Short:   "Remove old backups from a place",
		Example: "  carillon backup prune /var/backups/carillon --keep 48",
		RunE: func(cmd *cobra.Command, args []string) error {
			if keep < 1 {
				return usagef("--keep %d: give how many of the newest stay, 1 or more", keep)
			}
			at, err := bv.place(args[0], &store)
			if err != nil {
				return err
			}
			gone, err := backup.Prune(cmd.Context(), at, keep, dry, bv.now())
			if err != nil {
				return err
			}
			left, err := backup.List(cmd.Context(), at, bv.now())
			if err != nil {
				return err
			}
			left = backup.Sound(left)
			if dry {
				bv.note("%d would be removed, %d would stay", len(gone), len(left)-len(gone))
			} else {
				bv.note("removed %d, %d stay", len(gone), len(left))
			}
			if len(gone) == 0 && !bv.asObject() {
				return nil
			}
			return printList(&bv.printer, gone, bv.keptTable())
		},
	}
	cmd.Flags().IntVar(&keep, "keep", 0, "how many of the newest stay, `N`; must be given")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be removed")
	store.add(cmd)
	return cmd
}

func (bv backupVerbs) restoreCommand() *cobra.Command {
	var at EtcdAccess
	var identities string
	var store storeFlags
	var o backup.Options
	cmd := &cobra.Command{
		Use: "restore BACKUP", GroupID: groupCluster, Args: exactlyOne("backup"),
		Short: "Put a backup into etcd, and leave the cluster held",
		Long: "Put a backup into etcd, while no node runs there. The prefix must be empty; with\n" +
			"--replace what is there is deleted first. What lay on leases is left out, and the epoch\n" +
			"is raised: minions refuse orders from before. No job fires until `carillon recover`\n" +
			"has asked the minions what has run since the backup. See docs/disaster-recovery.md.",
		Example: "  carillon restore /var/backups/carillon/carillon-20270101T000000Z-1-4711.backup --etcd-endpoints https://etcd1:2379",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := at.check(); err != nil {
				return err
			}
			ids, err := readIdentities(identities)
			if err != nil {
				return err
			}
			open := func() (io.ReadCloser, error) { return bv.openBackup(cmd.Context(), args[0], &store, ids) }
			f, err := open() // what is wrong with the file is told before etcd is reached
			if err != nil {
				return err
			}
			_ = f.Close()
			c, done, err := bv.opts.OpenEtcd(cmd.Context(), at)
			if err != nil {
				return err
			}
			defer done()
			o.By, o.Alone = bv.user(), at.DataDir != ""
			r, err := backup.Restore(cmd.Context(), c, etcdkv.NewKeys(at.Prefix), open, o)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(bv.out, "cluster %s is restored as of %s: %d keys, %d jobs, epoch %d\n", r.Cluster, r.TakenAt.UTC().Format(time.RFC3339), r.Keys, r.Jobs, r.NewEpoch)
			bv.note("it is held: start the nodes, wait for the minions, and see `carillon recover --dry-run`")
			return nil
		},
	}
	at.addWithDirectory(cmd)
	store.add(cmd)
	identityFlag(cmd, &identities)
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "delete what is under the prefix first")
	cmd.Flags().Int64Var(&o.Epoch, "epoch", 0, "the `EPOCH` that begins, where nodes have seen a higher one than the backup's (default: the next)")
	return cmd
}
