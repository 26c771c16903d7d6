package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/client/overetcd"
)

// etcdFlags say that a verb works straight over etcd, which needs no node.
type etcdFlags struct {
	EtcdAccess

	sealKeyFile string
}

// overEtcd adds the flags to a verb.
func (ca *call) overEtcd(cmd *cobra.Command) {
	ca.etcd.add(cmd, "ask no node: work straight over the etcd at these `URLS`, as whoever has etcd may (docs/sdk.md)")
	cmd.Flags().StringVar(&ca.etcd.sealKeyFile, "seal-key-file", "", "`FILE` with the nodes' seal key, for what the cluster keeps sealed")
}

// openEtcd has the verb ask etcd; false: it is to ask a node.
func (ca *call) openEtcd(cmd *cobra.Command) (bool, error) {
	f, ctx := &ca.etcd, cmd.Context()
	if len(f.Endpoints) == 0 {
		for _, name := range []string{"etcd-prefix", "etcd-ca", "etcd-cert", "etcd-key", "etcd-user", "etcd-password-file", "seal-key-file"} {
			if g := cmd.Flags().Lookup(name); g != nil && g.Changed && cmd.Flags().Lookup("etcd-endpoints") != nil {
				return false, usagef("--%s is for --etcd-endpoints", name)
			}
		}
		return false, nil
	}
	for _, name := range []string{"server", "context", "ca", "token-file"} {
		if cmd.Flags().Changed(name) {
			return true, usagef("--%s is for a node, and --etcd-endpoints asks none; give one of the two", name)
		}
	}
	if err := f.check(); err != nil {
		return true, err
	}
	kv, done, err := ca.opts.OpenEtcd(ctx, f.EtcdAccess)
	if err != nil {
		return true, &exitError{exitUnavailable, err}
	}
	c, err := overetcd.Use(ctx, kv, overetcd.Config{Prefix: f.Prefix, SealKeyFile: f.sealKeyFile, By: ca.user()})
	if err != nil {
		done()
		if errors.Is(err, overetcd.ErrNoCluster) {
			return true, &exitError{exitNotFound, err}
		}
		return true, &exitError{exitUnavailable, err}
	}
	ca.client, ca.closeEtcd = c.Client, func() { c.Close(); done() }
	return true, nil
}
