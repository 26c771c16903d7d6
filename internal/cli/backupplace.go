package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/backup/bucket"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// storeFlags say how a store that speaks S3 is reached.
type storeFlags struct{ endpoint, region, ca string }

func (f *storeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "s3-endpoint", "", "`URL` of the store of s3:// (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's own)")
	flags.StringVar(&f.region, "s3-region", "", "`REGION` of the bucket (default: AWS_REGION, or us-east-1)")
	flags.StringVar(&f.ca, "s3-ca", "", "`FILE` with the authority of the store's certificate (default: those of the host)")
}

func (bv backupVerbs) bucketConfig(f *storeFlags) bucket.Config {
	return bucket.Config{Endpoint: f.endpoint, Region: f.region, CA: f.ca, Env: bv.env}
}

// place is where backups are kept that a path names.
func (bv backupVerbs) place(path string, f *storeFlags) (backup.Place, error) {
	switch {
	case bucket.Is(path):
		b, err := bucket.Open(path, bv.bucketConfig(f))
		if err != nil {
			return nil, usagef("%w", err)
		}
		return b, nil
	case strings.Contains(path, "://"):
		return nil, usagef("%s is no place for backups; give a directory, or s3://BUCKET/PREFIX", path)
	}
	return backup.Directory(path), nil
}

// openBackup opens a backup that a path names.
func (bv backupVerbs) openBackup(ctx context.Context, path string, f *storeFlags, ids []age.Identity) (io.ReadCloser, error) {
	if !bucket.Is(path) {
		return backup.Open(path, ids)
	}
	in, err := bucket.Read(ctx, path, bv.bucketConfig(f))
	if err != nil {
		return nil, err
	}
	return backup.Unseal(in, path, ids)
}

// taking is how backups are taken: the flags, and what they say.
type taking struct {
	etcd       EtcdAccess
	store      storeFlags
	recipients []string
	own        bool

	to     backup.Place
	sealed []age.Recipient
}

func (t *taking) add(cmd *cobra.Command) {
	t.etcd.addWithDirectory(cmd)
	t.store.add(cmd)
	cmd.Flags().StringArrayVar(&t.recipients, "age-recipient", nil, "encrypt it to this `RECIPIENT` of age (age1...; may be given several times)")
	cmd.Flags().BoolVar(&t.own, "etcd-snapshot", false, "put etcd's own snapshot beside it, of all that etcd holds; it is not encrypted, and is taken from etcd only")
}

// open finds out what is wrong with the flags before anything is asked.
func (t *taking) open(bv backupVerbs, place string) (err error) {
	switch {
	case t.etcd.given():
		if err := t.etcd.check(); err != nil {
			return err
		}
	case t.own:
		return usagef("--etcd-snapshot: nodes do not give it; say where etcd is: --etcd-endpoints")
	}
	if t.sealed, err = readRecipients(t.recipients); err != nil {
		return err
	}
	t.to, err = bv.place(place, &t.store)
	return err
}

// take takes a backup.
func (t *taking) take(ctx context.Context, bv backupVerbs) (backup.Kept, backup.Trailer, error) {
	wish := backup.Wish{To: t.to, Recipients: t.sealed}
	if !t.etcd.given() {
		return backup.Create(ctx, backup.FromStream(bv.client.Cluster.Backup), wish)
	}
	t.etcd.Copied = true
	c, done, err := bv.opts.OpenEtcd(ctx, t.etcd)
	if err != nil {
		return backup.Kept{}, backup.Trailer{}, err
	}
	defer done()
	if t.own {
		wish.EtcdSnapshot = c.Snapshot
	}
	return backup.Create(ctx, backup.FromEtcd(c, etcdkv.NewKeys(t.etcd.Prefix), bv.opts.Version), wish)
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
