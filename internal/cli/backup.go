package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// backupVerbs take backups, and put them back. They speak to etcd, and to no node.
type backupVerbs struct{ *call }

func (bv backupVerbs) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", GroupID: groupCluster, Args: noOrder,
		Short: "Take and keep backups of what etcd holds of the cluster",
		Long: "Take and keep backups of what etcd holds of the cluster: jobs, history, rights, the\n" +
			"authority, how far each job has run. A backup is of one revision, and is put back by\n" +
			"`carillon restore` into any etcd. It holds secrets: keep it as you keep etcd's disk,\n" +
			"or encrypt it with --age-recipient. It does not hold the seal key (docs/security.md).",
		Example: "  carillon backup create /var/backups/carillon --etcd-endpoints https://etcd1:2379\n  carillon backup verify /var/backups/carillon/carillon-20270101T000000Z-1-4711.backup",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(bv.createCommand(), bv.listCommand(), bv.verifyCommand(), bv.pruneCommand())
	return cmd
}

func (bv backupVerbs) createCommand() *cobra.Command {
	var at EtcdAccess
	var recipients []string
	var own bool
	cmd := &cobra.Command{
		Use: "create DIR", Args: exactlyOne("directory"),
		Short:   "Take a backup into a directory",
		Example: "  carillon backup create /var/backups/carillon --etcd-endpoints unix:///var/lib/carillon/scheduler/etcd/client.sock",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := at.check(); err != nil {
				return err
			}
			to, err := readRecipients(recipients)
			if err != nil {
				return err
			}
			c, done, err := bv.opts.OpenEtcd(cmd.Context(), at)
			if err != nil {
				return err
			}
			defer done()
			k, end, err := backup.Create(cmd.Context(), c, etcdkv.NewKeys(at.Prefix), backup.Wish{Dir: args[0], Version: bv.opts.Version, Recipients: to, EtcdSnapshot: own})
			if err != nil {
				return err
			}
			bv.note("%d keys, %d jobs; %d keys on leases are left out", end.Keys, end.Jobs, end.Leased)
			return printOne(&bv.printer, k, bv.keptTable())
		},
	}
	at.addWithDirectory(cmd)
	cmd.Flags().StringArrayVar(&recipients, "age-recipient", nil, "encrypt it to this `RECIPIENT` of age (age1...; may be given several times)")
	cmd.Flags().BoolVar(&own, "etcd-snapshot", false, "put etcd's own snapshot beside it, of all that etcd holds; it is not encrypted")
	return cmd
}

func (bv backupVerbs) listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list DIR", Args: exactlyOne("directory"),
		Short:   "List the backups in a directory, newest first",
		Example: "  carillon backup list /var/backups/carillon",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := backup.List(args[0])
			if err != nil {
				return err
			}
			return printList(&bv.printer, all, bv.keptTable())
		},
	}
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
	cmd := &cobra.Command{
		Use: "verify FILE...", Args: someOf("backup"),
		Short:   "Read backups to their ends, and check that nothing is missing or changed",
		Example: "  carillon backup verify /var/backups/carillon/carillon-20270101T000000Z-1-4711.backup",
		RunE: func(_ *cobra.Command, args []string) error {
			ids, err := readIdentities(identities)
			if err != nil {
				return err
			}
			var failed []error
			for _, path := range args {
				head, end, err := verify(path, ids)
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
	return cmd
}

func verify(path string, ids []age.Identity) (backup.Header, backup.Trailer, error) {
	f, err := backup.Open(path, ids)
	if err != nil {
		return backup.Header{}, backup.Trailer{}, err
	}
	defer func() { _ = f.Close() }()
	return backup.Read(f, nil)
}

func (bv backupVerbs) pruneCommand() *cobra.Command {
	var keep int
	var dry bool
	cmd := &cobra.Command{
		Use: "prune DIR", Args: exactlyOne("directory"),
		Short:   "Remove old backups from a directory",
		Example: "  carillon backup prune /var/backups/carillon --keep 48",
		RunE: func(_ *cobra.Command, args []string) error {
			if keep < 1 {
				return usagef("--keep %d: give how many of the newest stay, 1 or more", keep)
			}
			gone, err := backup.Prune(args[0], keep, dry)
			if err != nil {
				return err
			}
			if dry {
				bv.note("these would be removed:")
			}
			return printList(&bv.printer, gone, bv.keptTable())
		},
	}
	cmd.Flags().IntVar(&keep, "keep", 0, "how many of the newest stay, `N`; must be given")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be removed")
	return cmd
}

func (bv backupVerbs) restoreCommand() *cobra.Command {
	var at EtcdAccess
	var identities string
	var o backup.Options
	cmd := &cobra.Command{
		Use: "restore FILE", GroupID: groupCluster, Args: exactlyOne("backup"),
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
			open := func() (io.ReadCloser, error) { return backup.Open(args[0], ids) }
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
			o.By = bv.user()
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
	identityFlag(cmd, &identities)
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "delete what is under the prefix first")
	cmd.Flags().Int64Var(&o.Epoch, "epoch", 0, "the `EPOCH` that begins, where nodes have seen a higher one than the backup's (default: the next)")
	return cmd
}

func identityFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "age-identity", "", "`FILE` with identities of age, for a backup that is encrypted")
}

func readRecipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	to, err := age.ParseRecipients(strings.NewReader(strings.Join(texts, "\n")))
	if err != nil {
		return nil, usagef("--age-recipient: %w", err)
	}
	return to, nil
}

func readIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--age-identity: %w", err)
	}
	defer func() { _ = f.Close() }()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("--age-identity %s: %w", path, err)
	}
	return ids, nil
}
