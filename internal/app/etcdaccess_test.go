package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/configs"
)

// Nothing is put into the data directory of a node that keeps none of the cluster's data: no
// etcd is begun there, and why is told.
func TestOpenEtcdOfAClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "member", "state.json")
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte(`{"schema": 1, "node": "n6", "cluster": "c", "prefix": "/carillon", "endpoints": ["https://n1:7479"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, done, err := OpenEtcd(t.Context(), Directory{Path: dir}, configs.Etcd{})
	if err == nil {
		done()
	}
	if err == nil || !strings.Contains(err.Error(), "is of a client of the cluster c") || !strings.Contains(err.Error(), "https://n1:7479") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "etcd")); err == nil {
		t.Error("an etcd was begun")
	}
}
