package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/carillon-cron/carillon/client/overetcd"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// etcdFlags say that a verb works straight over etcd, which needs no node.
type etcdFlags struct {
	endpoints                       []string
	prefix                          string
	ca, cert, key                   string
	user, passwordFile, sealKeyFile string
}

// overEtcd adds the flags to a verb.
func (ca *call) overEtcd(cmd *cobra.Command) {
	f, flags := &ca.etcd, cmd.Flags()
	flags.StringSliceVar(&f.endpoints, "etcd-endpoints", nil, "ask no node: work straight over the etcd at these `URLS`, as whoever has etcd may (docs/sdk.md)")
	flags.StringVar(&f.prefix, "etcd-prefix", etcdkv.DefaultPrefix, "`PREFIX` of the cluster's keys in etcd, as nodes have it")
	flags.StringVar(&f.ca, "etcd-ca", "", "`FILE` with the authority of https endpoints of etcd")
	flags.StringVar(&f.cert, "etcd-cert", "", "`FILE` with the certificate that is shown to etcd")
	flags.StringVar(&f.key, "etcd-key", "", "`FILE` with the key of --etcd-cert")
	flags.StringVar(&f.user, "etcd-user", "", "`NAME` of the user of etcd")
	flags.StringVar(&f.passwordFile, "etcd-password-file", "", "`FILE` with the password of --etcd-user")
	flags.StringVar(&f.sealKeyFile, "seal-key-file", "", "`FILE` with the nodes' seal key, for what the cluster keeps sealed")
}

// etcdDial bounds the wait for etcd.
const etcdDial = 5 * time.Second

// openEtcd has the verb ask etcd; false: it is to ask a node.
func (ca *call) openEtcd(cmd *cobra.Command) (bool, error) {
	f := &ca.etcd
	if len(f.endpoints) == 0 {
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
	cfg := overetcd.Config{Endpoints: f.endpoints, Prefix: f.prefix, User: f.user, SealKeyFile: f.sealKeyFile, DialTimeout: etcdDial, By: ca.user()}
	if f.ca != "" || f.cert != "" {
		info := transport.TLSInfo{TrustedCAFile: f.ca, CertFile: f.cert, KeyFile: f.key}
		secure, err := info.ClientConfig()
		if err != nil {
			return true, usagef("certificates for etcd: %w", err)
		}
		cfg.TLS = secure
	}
	if (f.user == "") != (f.passwordFile == "") {
		return true, usagef("give --etcd-user and --etcd-password-file together")
	}
	if f.passwordFile != "" {
		text, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return true, usagef("--etcd-password-file: %w", err)
		}
		if cfg.Password = strings.TrimRight(string(text), "\r\n"); cfg.Password == "" {
			return true, usagef("--etcd-password-file %s is empty", f.passwordFile)
		}
	}
	c, err := overetcd.Open(cmd.Context(), cfg)
	switch {
	case errors.Is(err, overetcd.ErrNoCluster):
		return true, &exitError{exitNotFound, err}
	case errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil:
		return true, &exitError{exitUnavailable, fmt.Errorf("etcd at %s does not answer", strings.Join(f.endpoints, ", "))}
	case err != nil:
		return true, &exitError{exitUnavailable, err}
	}
	ca.client, ca.closeEtcd = c.Client, c.Close
	return true, nil
}
