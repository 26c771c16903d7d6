package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// imports runs `carillon import` without a server.
func imports(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errout bytes.Buffer
	code = Main(context.Background(), Options{
		Args: append([]string{"import"}, args...), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errout,
	})
	return code, out.String(), errout.String()
}

func TestImportFromStdin(t *testing.T) {
	t.Parallel()
	code, out, report := imports(t, "0 2 * * * /bin/backup\n", "crontab", "--user", "root", "--tz", "Europe/Berlin", "--target", "web1", "-n", "ops", "-")
	for _, want := range []string{"namespace: ops", "name: backup", "timeZone: Europe/Berlin", "match: web1", "user: root"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if want := "stdin:1: kept: job backup: every day at 02:00, Europe/Berlin\njobs written: 1; entries left out: 0; told above: 0 approximated, 0 not possible\n"; code != 0 || report != want {
		t.Errorf("%d, %s", code, report)
	}
	code, out, report = imports(t, "@reboot /bin/a\n", "crontab", "--user", "root", "-")
	if code != 0 || !strings.Contains(out, "import/text: '@reboot /bin/a'") || !strings.Contains(report, "jobs written: 1; entries left out: 0; told above: 2 approximated, 0 not possible") {
		t.Errorf("%d, %s, %s", code, out, report)
	}
}

// TestImportWritesFiles: who imports again gets the same, and edits are not lost.
func TestImportWritesFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tab, out := filepath.Join(dir, "cron.d"), filepath.Join(dir, "jobs")
	if err := os.MkdirAll(tab, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "0 2 * * * root /bin/a\n0 3 * * * root /bin/a\n", "b": "0 4 * * * www-data /bin/b\n", ".placeholder": "#\n"} {
		if err := os.WriteFile(filepath.Join(tab, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(out, "a-2.yaml")
	want := filepath.Join(out, "a.yaml") + " written\n" + path + " written\n" + filepath.Join(out, "b.yaml") + " written\n"
	code, text, report := imports(t, "", "crontab", "--out", out, tab)
	if code != 0 || text != want {
		t.Fatalf("%d, %s, %s", code, text, report)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("%s: %v, %v; there may be passwords in it", path, st.Mode(), err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if code, text, _ = imports(t, "", "crontab", "--out", out, tab); code != 0 || text != strings.ReplaceAll(want, "written", "unchanged") {
		t.Errorf("again: %d, %s", code, text)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, text, report = imports(t, "", "crontab", "--out", out, tab)
	if now, _ := os.ReadFile(path); code != exitConflict || text != "" || string(now) != "mine" || !strings.Contains(report, path+": there already, and different; nothing is written") {
		t.Errorf("an edit is gone: %d, %s, %s, %s", code, text, report, now)
	}
	code, text, _ = imports(t, "", "crontab", "--overwrite", "--out", out, tab)
	if now, _ := os.ReadFile(path); code != 0 || !bytes.Equal(now, first) || !strings.Contains(text, path+" written\n") {
		t.Errorf("--overwrite: %d, %s, %s", code, text, now)
	}
}

func TestImportUsage(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for args, want := range map[string]string{
		"":                            "say in what format the files are: crontab",
		"crontabs":                    `did you mean "crontab"?`,
		"crontab":                     "specify a file, a directory, or - for stdin",
		"crontab /nothing/here":       "/nothing/here: no such file or directory",
		"crontab " + empty:            "no file in this directory",
		"crontab --overwrite -":       "--overwrite has an effect only with --out",
		"crontab --tz Europe/Berln -": `did you mean "Europe/Berlin"?`,
		"crontab --user a;b -":        "is not the name or number of an account",
		"crontab -o json -":           "-o json is not possible",
		"crontab --target (( -":       "target:",
	} {
		code, out, report := imports(t, "", strings.Fields(args)...)
		if code != exitUsage || out != "" || !strings.Contains(report, want) {
			t.Errorf("import %s: %d, %q is not in %s", args, code, want, report)
		}
	}
}

// TestImportOfEachFormat: directories are searched for the files of the format.
func TestImportOfEachFormat(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{
		"systemd/pairs": "name: report-sales", "k8s/cronjobs": "namespace: billing", "dkron/jobs": "name: extract", "rundeck/yaml": "name: Restart-web", "xxl-job/sql": "name: nightly-extract",
	} {
		format, _, _ := strings.Cut(dir, "/")
		_, out, report := imports(t, "", format, "--tz", "Europe/Berlin", filepath.Join("..", "importer", "testdata", dir))
		if !strings.Contains(out, want) {
			t.Errorf("%s: %q is not in\n%s\n%s", dir, want, out, report)
		}
	}
}
