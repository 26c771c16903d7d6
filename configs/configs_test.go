package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func load(t *testing.T, env []string, args ...string) (Scheduler, error) {
	t.Helper()
	flags := pflag.NewFlagSet("t", pflag.ContinueOnError)
	SchedulerFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return LoadScheduler(flags, env)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(DefaultScheduler(), got); d != "" {
		t.Error(d)
	}
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "leaseTTL: 11s\nsite: file\nnode: file\netcd:\n  endpoints: [http://a:1, http://b:1]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, []string{"CARILLON_SITE=env", "CARILLON_NODE=env", "CARILLON_LEASE_TTL=7s"}, "--config", file, "--node", "flag")
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != "flag" || got.Site != "env" || got.LeaseTTL != 7*time.Second || len(got.Etcd.Endpoints) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, nil, "--listen", "0.0.0.0:8420", "--lease-ttl", "1s", "--node", "a b", "--capacity", "0")
	for _, want := range []string{"--insecure", "etcd's floor", "node:", "capacity:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if _, err := load(t, nil, "--listen", "0.0.0.0:8420", "--insecure"); err != nil {
		t.Errorf("--insecure does not allow it: %v", err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("lesaeTTL: 9s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, nil, "--config", file); err == nil || !strings.Contains(err.Error(), "lesaettl") {
		t.Errorf("a setting that is not known was taken: %v", err)
	}
}
