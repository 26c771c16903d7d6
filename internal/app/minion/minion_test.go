package minion

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

func TestParse(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"CARILLON_SERVERS": "a:1,b:2", "CARILLON_LABEL": "role=web,site=x", "CARILLON_MAX_RUNNING": "7", "CARILLON_ID": "from-env",
	}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	o, err := Parse([]string{"--id", "given", "--insecure"}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		Servers: []string{"a:1", "b:2"}, ID: "given", Labels: map[string]string{"role": "web", "site": "x"},
		DataDir: DefaultDataDir(), Insecure: true, MaxRunning: 7, LogLevel: "info", LogFormat: "console",
		UpdateThreshold: 1, UpdateGate: time.Minute,
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Error(diff)
	}
	env["CARILLON_MAX_RUNNING"], env["CARILLON_INSECURE"] = "many", "perhaps"
	var invalid *job.InvalidError
	if _, err := Parse(nil, lookup); !errors.As(err, &invalid) || len(invalid.Problems) != 2 {
		t.Errorf("Parse = %v, want two problems", err)
	}
	if _, err := Parse([]string{"stray"}, lookup); !errors.As(err, &invalid) || !strings.Contains(err.Error(), `"stray"`) {
		t.Errorf("Parse = %v", err)
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := worker.New(worker.Config{
		ID: "m1", DataDir: t.TempDir(), Servers: []string{"127.0.0.1:1"}, ShimCommand: []string{"x"},
	}, worker.Deps{Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(m, reg)
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/livez":   {http.StatusOK, "ok"},
		"/readyz":  {http.StatusServiceUnavailable, "not connected to a node\nnot attached to the shim"},
		"/metrics": {http.StatusOK, "carillon_minion_tasks_running 0"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:7421"+path, nil))
		if w.Code != want.code || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s = %d %q", path, w.Code, w.Body)
		}
		// A page whose name was pointed at this address gets nothing.
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://evil.test:7421"+path, nil))
		if w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%s by a foreign name = %d %q", path, w.Code, w.Body)
		}
	}
}

func TestMetricsOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	if _, err := listen("0.0.0.0:0"); !errors.Is(err, worker.ErrInsecure) {
		t.Errorf("listen = %v", err)
	}
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// The worker links neither the etcd client nor what belongs to other binaries.
func TestWorkerLinksLittle(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-deps", "github.com/carillon-cron/carillon/cmd/worker")
	cmd.Env = os.Environ()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		for _, bad := range []string{"go.etcd.io/", "spf13/viper", "spf13/cobra", "/internal/webui", "/internal/httpapi", "/internal/etcdkv"} {
			if strings.Contains(line, bad) {
				t.Errorf("worker links %s", strings.TrimSpace(line))
			}
		}
	}
}

// An empty text is never taken for the default: without a list, say, anything may be
// started.
func TestEmptySettingsAreRefused(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	for args, want := range map[string]string{
		"--allow=":           "--allow: is empty; leave it out if anything may be started here",
		"--id=":              "--id: is empty; leave it out for the host name",
		"--ca=":              "--ca: is empty; leave it out with a token",
		"--cgroup=":          "--cgroup: is empty; leave it out for the minion's group, or give none for no groups",
		"--facts-dir=":       "--facts-dir: is empty; leave it out for facts.d in the data directory",
		"--data-dir=":        "--data-dir: is empty; leave it out for ",
		"--join-token-file=": "--join-token-file: is empty; leave it out if the minion has joined",
		"--update-dir=":      "--update-dir: is empty; leave it out for update in the data directory",
		"--metrics-addr=":    "", // none, which it means
	} {
		_, err := Parse([]string{args}, none)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	// So is an empty variable, unless the flag is given.
	var o Options
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.AddFlags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		name := "CARILLON_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		empty := func(n string) (string, bool) { return "", n == name }
		_, err := Parse(nil, empty)
		if taken := f.Name == "metrics-addr" || f.Name == "version"; taken != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), name+": is empty; ") {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range []string{
			"CARILLON_ALLOW: is empty; leave it out if anything may be started here", "CARILLON_ID: is empty; leave it out for the host name",
			"CARILLON_MAX_RUNNING: is empty; leave it out for 256", "CARILLON_SERVERS: is empty; leave it out for 127.0.0.1:7420",
			"CARILLON_LABEL: is empty; leave it out for no labels", "CARILLON_INSECURE: is empty; leave it out for false",
		} {
			if strings.HasPrefix(want, name+":") && (err == nil || err.Error() != want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		if value := f.DefValue; f.Name != "version" {
			if f.Name == "label" && value != "" {
				t.Errorf("the help shows the default %q of labels", value)
			}
			if value == "" || value == "[]" {
				value = "x=y"
			}
			if _, err := Parse([]string{"--" + f.Name + "=" + strings.Trim(value, "[]")}, empty); err != nil {
				t.Errorf("%s beside its flag: %v", name, err)
			}
		}
	})
	for _, arg := range []string{"--servers=", "--log-level="} {
		if _, err := Parse([]string{arg}, none); err == nil || !strings.HasPrefix(err.Error(), strings.TrimSuffix(arg, "=")+": is empty; leave it out for ") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
