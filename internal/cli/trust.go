package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/client"
)

// remedy says what helps against a server that cannot be asked.
func (a *app) remedy(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		bad     *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, client.ErrSpeaksTLS), errors.Is(err, client.ErrSpeaksHTTP):
		return " with --server or " + envServer
	case errors.As(err, &unknown) && a.caFile == "":
		return fmt.Sprintf("; give the cluster's authority with --ca FILE or %s: on a host of a node, `carillon minions authority --server unix://SOCKET > FILE` prints it", envCA)
	case errors.As(err, &unknown):
		return fmt.Sprintf("; the authority in %s is not the one of this server", a.caFile)
	case errors.As(err, &name):
		return "; ask by one of these names, or start the node with --api-host and the other one"
	case errors.As(err, &bad):
		return ""
	}
	return "; start a server with `carillon dev`, or say where one is with --server or " + envServer
}
