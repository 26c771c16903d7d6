package importer

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

var update = flag.Bool("update", false, "write what is wanted of the corpora anew")

// corpus returns the inputs of a case, and its options. Their names are their paths in
// the case.
func corpus(t testing.TB, dir string) ([]Source, Options) {
	t.Helper()
	var (
		sources []Source
		o       Options
	)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch name {
		case "want.yaml", "want.txt":
		case "options.json":
			return json.Unmarshal(text, &o)
		default:
			sources = append(sources, Source{Name: filepath.ToSlash(name), Data: text})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources, o
}

// report is what the notes of a result say.
func report(r Result) string {
	var b strings.Builder
	for _, n := range r.Notes {
		b.WriteString(n.String() + "\n")
	}
	return b.String()
}

// TestCorpora compares what becomes of each case with what is wanted: IM1, IM2.
func TestCorpora(t *testing.T) {
	t.Parallel()
	for _, format := range Formats() {
		cases, err := filepath.Glob(filepath.Join("testdata", string(format), "*"))
		if err != nil || len(cases) == 0 {
			t.Fatalf("%s: no cases: %v", format, err)
		}
		for _, dir := range cases {
			t.Run(string(format)+"/"+filepath.Base(dir), func(t *testing.T) {
				t.Parallel()
				sources, o := corpus(t, dir)
				got, err := Import(format, sources, o)
				if err != nil {
					t.Fatal(err)
				}
				text := check(t, got)
				again, err := Import(format, sources, o)
				if err != nil || check(t, again) != text || report(again) != report(got) {
					t.Errorf("IM2: the second time is different: %v", err)
				}
				for name, have := range map[string]string{"want.yaml": text, "want.txt": report(got)} {
					path := filepath.Join(dir, name)
					if *update {
						if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
							t.Fatal(err)
						}
						continue
					}
					want, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if have != string(want) {
						t.Errorf("%s is\n%s\nand has to be\n%s", name, have, want)
					}
				}
			})
		}
	}
}

// check holds IM1, and returns the objects as they are written.
func check(t testing.TB, r Result) string {
	t.Helper()
	text, err := manifest.Encode(r.Objects...)
	if err != nil {
		t.Fatal(err)
	}
	read, err := manifest.Decode("f", text)
	if err != nil {
		t.Fatalf("IM1: %v\n%s", err, text)
	}
	if len(read) != len(r.Objects) {
		t.Fatalf("IM1: %d objects are %d when they are read again", len(r.Objects), len(read))
	}
	return string(text)
}

// fuzz runs an importer on any text: IM1 to IM4.
func fuzz(f *testing.F, format Format, name string) {
	f.Helper()
	dirs, err := filepath.Glob(filepath.Join("testdata", string(format), "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, dir := range dirs {
		sources, _ := corpus(f, dir)
		for _, s := range sources {
			f.Add(s.Data)
		}
	}
	fuzzed.Run(f, func(t *testing.T, data []byte) {
		sources := []Source{{Name: name, Data: data}}
		got, err := Import(format, sources, Options{Zone: "Europe/Berlin"})
		if err != nil {
			t.Fatal(err)
		}
		text := check(t, got)
		again, err := Import(format, sources, Options{Zone: "Europe/Berlin"})
		if err != nil || check(t, again) != text || report(again) != report(got) {
			t.Errorf("IM2: the second time is different: %v", err)
		}
		for _, n := range got.Notes {
			if n.File == "" || n.Line < 1 || n.Text == "" || strings.Contains(n.Text, "\n") {
				t.Errorf("the note %+v has no place, no text, or several lines", n)
			}
		}
	})
}

func FuzzCrontab(f *testing.F)    { fuzz(f, Crontab, "stdin") }
func FuzzSystemd(f *testing.F)    { fuzz(f, Systemd, "stdin") }
func FuzzKubernetes(f *testing.F) { fuzz(f, Kubernetes, "stdin") }
func FuzzDkron(f *testing.F)      { fuzz(f, Dkron, "stdin") }
func FuzzRundeck(f *testing.F)    { fuzz(f, Rundeck, "stdin") }
func FuzzXXLJob(f *testing.F)     { fuzz(f, XXLJob, "stdin") }

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for text, o := range map[string]Options{
		"namespace": {Namespace: "a b"}, "time zone": {Zone: "Europe/Berln"}, "user": {User: "a b"}, "target": {Target: "(("},
	} {
		if _, err := Import(Crontab, nil, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Import("fcron", nil, Options{}); err == nil {
		t.Error("a format that there is not was taken")
	}
}

func TestNamesOfCommands(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"/usr/local/bin/backup.sh --full":                                              "backup",
		"cd / && run-parts --report /etc/cron.hourly":                                  "cron.hourly",
		"test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }": "cron.daily",
		"[ -x /usr/lib/php/sessionclean ] && /usr/lib/php/sessionclean":                "sessionclean",
		"certbot -q renew": "certbot",
		"certbot renew -q": "certbot-renew",
		"nice -n 19 ionice -c3 /opt/report.py daily > /dev/null 2>&1":                               "report-daily",
		"/usr/bin/flock -n /run/lock/sync /usr/bin/rsync -a /a /b":                                  "rsync",
		"LANG=C TZ=UTC sudo -u www-data php /srv/app/artisan schedule:run >> /dev/null":             "artisan-schedule-run",
		"/bin/bash -c 'cd /srv && ./clean.sh'":                                                      "clean",
		"timeout 30 curl -fsS https://example.org/ping":                                             "curl",
		"command -v debian-sa1 > /dev/null && debian-sa1 1 1":                                       "debian-sa1",
		"test -e /run/systemd/system || SERVICE_MODE=1 /usr/lib/x86_64-linux-gnu/e2fsprogs/e2scrub": "e2scrub",
		"":      "job",
		"'%§$'": "job",
	} {
		if got := slug(nameOfCommand(command)); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	t.Parallel()
	b := &book{names: map[string]int{}}
	var got []string
	for _, wanted := range []string{"a", "a-2", "a", "a", "b c", "b-c", strings.Repeat("x", 200)} {
		got = append(got, b.name(wanted))
	}
	want := []string{"a", "a-2", "a-3", "a-4", "b-c", "b-c-2", strings.Repeat("x", longestName)}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLargeSourcesAreLeftOut(t *testing.T) {
	t.Parallel()
	got, err := Import(Crontab, []Source{{Name: "f", Data: make([]byte, MaxBytes+1)}}, Options{})
	if err != nil || len(got.Objects) > 0 || !strings.Contains(report(got), "f:1: not possible: left out: the file has 16777217 bytes") {
		t.Errorf("%v, %s", err, report(got))
	}
}
