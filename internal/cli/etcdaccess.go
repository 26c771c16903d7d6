package cli

import (
	"context"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// EtcdAccess says how etcd is reached without a node.
type EtcdAccess struct {
	Endpoints []string
	Prefix    string
	// DataDir is that of a node with an embedded etcd, which is stopped: its etcd runs
	// inside this process then. Empty: Endpoints.
	DataDir string
	// Copied: it is only read, so that it may be of a member of several; a copy runs then.
	Copied             bool
	CA, Cert, Key      string
	User, PasswordFile string
}

// OpenEtcd connects to etcd, and returns what ends that.
type OpenEtcd func(ctx context.Context, a EtcdAccess) (*clientv3.Client, func(), error)

// add adds the flags to a verb, with what it uses the endpoints for.
func (a *EtcdAccess) add(cmd *cobra.Command, use string) {
	flags := cmd.Flags()
	flags.StringSliceVar(&a.Endpoints, "etcd-endpoints", nil, use)
	flags.StringVar(&a.Prefix, "etcd-prefix", etcdkv.DefaultPrefix, "`PREFIX` of the cluster's keys in etcd, as nodes have it")
	flags.StringVar(&a.CA, "etcd-ca", "", "`FILE` with the authority of etcd's certificates")
	flags.StringVar(&a.Cert, "etcd-cert", "", "`FILE` with the certificate to show to etcd")
	flags.StringVar(&a.Key, "etcd-key", "", "`FILE` with the key of --etcd-cert")
	flags.StringVar(&a.User, "etcd-user", "", "`USER` in etcd")
	flags.StringVar(&a.PasswordFile, "etcd-password-file", "", "`FILE` with the password of --etcd-user")
}

// addWithDirectory adds the flags to a verb that may also run the etcd of a stopped node.
func (a *EtcdAccess) addWithDirectory(cmd *cobra.Command) {
	a.add(cmd, "`URLS` of etcd; unix:///PATH for a socket on this host")
	cmd.Flags().StringVar(&a.DataDir, "data-dir", "", "data directory `DIR` of a node with an embedded etcd, which is stopped, in the place of --etcd-endpoints")
}

// given reports whether etcd is reached, and not a node.
func (a *EtcdAccess) given() bool { return len(a.Endpoints) > 0 || a.DataDir != "" }

// check finds what does not go together.
func (a *EtcdAccess) check() error {
	switch {
	case !a.given():
		return usagef("say where etcd is: --etcd-endpoints, as nodes have it; or --data-dir of a node with an embedded etcd")
	case len(a.Endpoints) > 0 && a.DataDir != "":
		return usagef("--etcd-endpoints and --data-dir: give one of them")
	case (a.Cert == "") != (a.Key == ""):
		return usagef("--etcd-cert and --etcd-key go together")
	case (a.User == "") != (a.PasswordFile == ""):
		return usagef("--etcd-user and --etcd-password-file go together")
	}
	return nil
}
