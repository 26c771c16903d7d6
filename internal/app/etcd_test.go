package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// A node that has a user in etcd waits for an etcd that does not answer yet, as one
// without a user does.
func TestAUserIsAskedForPatiently(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	server.Stop()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reach := configs.Etcd{Endpoints: server.Endpoints, User: "carillon", PasswordFile: file, DialTimeout: 50 * time.Millisecond}
	core, logs := observer.New(zap.WarnLevel)
	answered := make(chan error, 1)
	go func() {
		c, err := dialEtcd(t.Context(), reach.Endpoints, reach, time.Hour, zap.New(core))
		if err == nil {
			err = c.Close()
		}
		answered <- err
	}()
	await.Until(t, "etcd is asked again", func() bool { return logs.FilterMessageSnippet("it is asked again").Len() > 1 })
	server.Restart(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	server.Stop()
	if _, err := dialEtcd(t.Context(), reach.Endpoints, reach, 0, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without patience: %v, want an error that says why", err)
	}
}
