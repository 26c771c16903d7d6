package minion

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

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
	creds, err := auth.Open(auth.CredentialsConfig{
		Dir: filepath.Join(w.DataDir, credentialsDir), ID: w.ID, Servers: w.Servers,
		Token: cfg.Token, CAFile: cfg.CAFile, TrustOnFirstUse: cfg.TrustFirst,
	}, auth.CredentialsDeps{Logger: log})
	if err != nil {
		return nil, err
	}
	if err := creds.Join(ctx); err != nil {
		return nil, fmt.Errorf("minion %s: %w", w.ID, err)
	}
	return creds, nil
}

func transport(creds *auth.Credentials) (credentials.TransportCredentials, error) {
	conf, err := creds.TLS()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}
