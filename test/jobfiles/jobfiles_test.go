// Package jobfiles runs carillon against generated job files.
package jobfiles

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/cli"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/jobgen"
	"github.com/carillon-cron/carillon/job"
)

var generateFor = flag.Duration("generate-for", 0, "how long job files are generated; 0: a few")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// idle is a cluster in which nothing runs.
type idle struct{}

func (idle) LiveRuns(context.Context, string, string) ([]job.Run, error) { return nil, nil }
func (idle) Append(context.Context, []job.Run) error                     { return nil }
func (idle) Minions() []job.Minion                                       { return nil }
func (idle) Get(_ context.Context, id job.RunID) (job.Run, error) {
	return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
}
func (idle) List(_ context.Context, q history.Query) (history.Page, error) {
	return history.Page{}, q.Check()
}
func (idle) Output(context.Context, job.TaskID, bool, func(int, []byte, int64) error) error {
	return nil
}

// api serves the API of a node over an etcd of its own.
func api(t *testing.T) string {
	t.Helper()
	ctl, err := control.New(
		control.Config{Node: "n1", Version: "1.2.3", Keys: etcdkv.NewKeys(""), Meta: etcdkv.Meta{ClusterID: "c1", Shards: 4}},
		control.Deps{Client: etcdtest.Start(t).Client(t), History: idle{}, Live: idle{}, Outputs: idle{}, Minions: idle{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctl.ReadState(t.Context()); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	a, err := httpapi.New(httpapi.Config{}, httpapi.Deps{Control: ctl, Gatherer: reg, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s.URL
}

// problem is how a problem of a file is told: with its place, its field and what is
// wrong.
var problem = regexp.MustCompile(`^(carillon: )?\S+\.json:\d+:(\d+:)? [A-Za-z]\S*: \S.*\S$`)

// TestGeneratedJobFiles: carillon takes a job file, and then each field of it is kept
// and nothing is left to do; or it refuses it as a whole, each problem with its place
// and field. It never fails otherwise.
func TestGeneratedJobFiles(t *testing.T) {
	t.Parallel()
	server := api(t)
	file := filepath.Join(t.TempDir(), "x.json")
	carillon := func(args ...string) (code int, stdout, stderr string) {
		var out, errs strings.Builder
		code = cli.Main(t.Context(), cli.Options{Args: append([]string{"--server", server}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
		return code, out.String(), errs.String()
	}
	taken, refused := 0, 0
	property := func(rt *rapid.T) {
		var d jobgen.Doc
		if rapid.Bool().Draw(rt, "near") {
			d, _ = jobgen.Near(rt)
		} else {
			d = jobgen.Silly(rt, manifest.Kinds())
		}
		if err := os.WriteFile(file, d.JSON(), 0o600); err != nil {
			rt.Fatal(err)
		}
		code, stdout, stderr := carillon("apply", "-f", file)
		switch code {
		case 0:
			taken++
			if strings.Contains(stdout, " unchanged") {
				return // as it was drawn before
			}
			if code, stdout, stderr := carillon("apply", "-f", file); code != 0 || !strings.Contains(stdout, " unchanged") {
				rt.Fatalf("applied again: %d %s%s\n%s", code, stdout, stderr, d.JSON())
			}
		case 2:
			refused++
			for line := range strings.Lines(stderr) {
				if line = strings.TrimSuffix(line, "\n"); !problem.MatchString(line) {
					rt.Fatalf("%q names no field\n%s", line, d.JSON())
				}
			}
			if stdout != "" {
				rt.Fatalf("is refused, and says %q", stdout)
			}
		default:
			rt.Fatalf("exit code %d: %s%s\n%s", code, stdout, stderr, d.JSON())
		}
	}
	for start := time.Now(); ; {
		rapid.Check(t, property)
		if t.Failed() || time.Since(start) >= *generateFor {
			break
		}
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d were taken, %d refused", taken, refused)
	}
}
