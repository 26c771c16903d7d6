package minion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
)

// credentialsDir holds the minion's key and certificates, in its data directory.
const credentialsDir = "credentials"

// join opens the minion's credentials, and joins the cluster where there is no
// good certificate yet. It returns when the minion has one.
func join(ctx context.Context, cfg *Config, log *zap.Logger) (*auth.Credentials, error) {
	w := &cfg.Worker
	if w.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--id is not given, and this host's name cannot be read: %w", err)
		}
		w.ID = job.MinionID(host)
	}
	if err := job.CheckName(string(w.ID)); err != nil {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "--id", Message: err.Error()}}}
	}
	// First, so that its mode is right: what follows makes directories below it.
	if err := datadir.MakeMinion(w.DataDir, log); err != nil {
		return nil, err
	}
	token, missing := cfg.Token, error(nil)
	if cfg.TokenFile != "" {
		var err error
		if token, err = readToken(cfg.TokenFile, os.Stdin, log); errors.Is(err, fs.ErrNotExist) {
			missing = err // a minion that has joined needs none
		} else if err != nil {
			return nil, err
		}
	}
	if cfg.TokenShown {
		log.Warn("the join token is on the command line, where every account of this host can read it; give it by --join-token-file, or CARILLON_JOIN_TOKEN")
	}
	_ = os.Unsetenv(tokenVariable) // it is for no process that we start
	creds, err := auth.Open(auth.CredentialsConfig{
		Dir: filepath.Join(w.DataDir, credentialsDir), ID: w.ID, Servers: w.Servers,
		Token: token, CAFile: cfg.CAFile, TrustOnFirstUse: cfg.TrustFirst,
	}, auth.CredentialsDeps{Logger: log})
	if err != nil {
		return nil, err
	}
	if missing != nil && creds.Standing().Expires.IsZero() {
		return nil, fmt.Errorf("minion %s has not joined yet: %w", w.ID, missing)
	}
	if err := creds.Join(ctx); err != nil {
		return nil, fmt.Errorf("minion %s: %w", w.ID, err)
	}
	return creds, nil
}

const (
	// stdinName is the name of standard input among files.
	stdinName = "-"
	// tokenVariable may hold the token.
	tokenVariable = envPrefix + "JOIN_TOKEN"
	// maxTokenFile bounds a file with a token.
	maxTokenFile = 4 << 10
)

// readToken reads a token from a file, or from stdin.
func readToken(path string, stdin io.Reader, log *zap.Logger) (string, error) {
	from := stdin
	if path != stdinName {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("--join-token-file: %w", err)
		}
		defer func() { _ = f.Close() }()
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
			log.Warn("the file with the join token is open to other accounts; give it mode 0600",
				zap.String("path", path), zap.String("mode", fmt.Sprintf("%#o", st.Mode().Perm())))
		}
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxTokenFile+1))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("--join-token-file: %w", err)
	case len(text) > maxTokenFile || token == "":
		return "", &job.InvalidError{Problems: []job.Problem{{Path: "--join-token-file", Message: fmt.Sprintf("%s holds no token; write there what carillon minions token prints", path)}}}
	}
	return token, nil
}

func transport(creds *auth.Credentials) (credentials.TransportCredentials, error) {
	conf, err := creds.TLS()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}
