package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/apitoken"
)

// envCA is the variable for --ca.
const envCA = "CARILLON_CA"

// authorities reads the file of --ca.
func (a *app) authorities() ([]byte, error) {
	if a.caFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(a.caFile)
	if err != nil {
		return nil, usagef("--ca (env %s): %w", envCA, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, usagef("--ca (env %s) %s: there is no certificate in it; `carillon minions authority` prints the cluster's", envCA, a.caFile)
	}
	return text, nil
}

// The variables for a token of the API, and for --token-file. CARILLON_TOKEN is another
// thing: the fencing token of a job's process.
const (
	envToken     = "CARILLON_API_TOKEN"
	envTokenFile = "CARILLON_API_TOKEN_FILE"
)

// maxTokenFile bounds what is read of a file with a token.
const maxTokenFile = 4096

// token returns the token that is shown to the API; empty: none.
func (a *app) token() (string, error) {
	text, from := a.env[envToken], envToken
	if a.tokenFile != "" {
		// Which file is read, is for the one who runs the command to say.
		f, err := os.Open(a.tokenFile)
		if err != nil {
			return "", usagef("--token-file (env %s): %w", envTokenFile, err)
		}
		defer f.Close()
		read, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
		if err != nil {
			return "", usagef("--token-file (env %s): %w", envTokenFile, err)
		}
		text, from = string(read), fmt.Sprintf("--token-file (env %s) %s", envTokenFile, a.tokenFile)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		if a.tokenFile != "" {
			return "", usagef("%s: is empty", from)
		}
		return "", nil
	}
	if _, err := apitoken.Parse(text); err != nil {
		return "", usagef("%s: %w", from, err)
	}
	return text, nil
}

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
