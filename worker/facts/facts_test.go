package facts

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// factsDir returns a directory that only its owner can change.
func factsDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "facts.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHost(t *testing.T) {
	t.Parallel()
	f := Host()
	for _, name := range []string{"os", "arch", "cpus", "hostname", "kernel", "memoryBytes", "bootTime", "bootId", "argBytes"} {
		if f[name] == "" {
			t.Errorf("%s is missing in %v", name, f)
		}
	}
	if at, err := time.Parse(time.RFC3339, f["bootTime"]); err != nil || at.After(time.Now()) {
		t.Errorf("boot time = %v, %v", at, err)
	}
}

func TestHostParts(t *testing.T) {
	t.Parallel()
	for stack, want := range map[uint64]uint64{0: 128 << 10, 256 << 10: 128 << 10, 1 << 20: 256 << 10, 8 << 20: 2 << 20, 64 << 20: 6 << 20, 1<<64 - 1: 6 << 20} {
		if got := argBytes(stack); got != want {
			t.Errorf("with a stack of %d: %d, want %d", stack, got, want)
		}
	}
	name, version := distribution("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n")
	if name != "debian" || version != "12" {
		t.Errorf("distribution = %q %q", name, version)
	}
	const hosts = "127.0.0.1 localhost\n# 10.0.0.1 web1.wrong.org\n10.0.0.2 web10.example.org web10\n10.0.0.3 web1 web1.example.org.\n"
	for host, want := range map[string]string{"web1": "web1.example.org", "web1.x.org": "web1.x.org", "db": ""} {
		if got := fqdn(host, hosts); got != want {
			t.Errorf("fqdn of %s = %q, want %q", host, got, want)
		}
	}
	if got := bootTime("cpu 1 2\nbtime 1700000000\nprocesses 5\n"); got != "2023-11-14T22:13:20Z" {
		t.Errorf("boot time = %q", got)
	}
}

func TestReadsFiles(t *testing.T) {
	t.Parallel()
	dir := factsDir(t)
	write(t, dir, "10.yaml", "disk: {type: ssd, count: 2}\nroles: [web, db]\nempty:\nprod: true\n", 0o600)
	write(t, dir, "20.json", "{\n\t\"rack\": \"r1\",\n\t\"height\": 1.50\n}", 0o644)
	write(t, dir, "30.txt", "# rack\n\nrack = r2\nurl=a=b\n", 0o755)
	write(t, dir, ".hidden", "nothing", 0o600)
	write(t, dir, "30.txt~", "nothing", 0o600)
	d := Dir{Path: dir}
	got, err := d.Read(context.Background())
	want := map[string]string{
		"disk.type": "ssd", "disk.count": "2", "roles": "web,db", "prod": "true", "rack": "r2", "height": "1.50", "url": "a=b",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	d.Path = filepath.Join(dir, "none")
	if got, err := d.Read(context.Background()); len(got) != 0 || err != nil {
		t.Errorf("a directory that is not there = %v, %v", got, err)
	}
}

// F1, F2, F3: a bad file is named, and changes nothing.
func TestBadFilesAreTakenNotAtAll(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, text, want string }{
		"yaml":        {"a.yaml", "x: [", "cannot be read"},
		"list":        {"a.yaml", "- x", "not a mapping"},
		"deep list":   {"a.json", `{"good":1,"x":[{"y":1}]}`, "entries that are no words"},
		"alias":       {"a.yaml", "good: &g 1\nx: *g\n", "aliases"},
		"deep":        {"a.yaml", "x: " + strings.Repeat("{x: ", 12) + "1" + strings.Repeat("}", 12), "deep"},
		"line":        {"a.txt", "good=1\nbad", "line 2 is not key=value"},
		"name":        {"a.txt", "good=1\nb d=2", `"b d" contains`},
		"reserved":    {"a.txt", "good=1\nos=plan9", "the fact os is the minion's own"},
		"error fact":  {"a.txt", "facts_error=none", "the minion's own"},
		"long value":  {"a.txt", "good=1\nx=" + strings.Repeat("y", MaxValue+1), "at most 1024"},
		"long file":   {"a.txt", strings.Repeat("#", MaxBytes) + "\ngood=1", "more than 16384 bytes"},
		"no text":     {"a.txt", "good=1\nx=\x00", "no text"},
		"many":        {"a.txt", "good=1\n" + manyLines(), "more than 256 facts"},
		"other files": {"a.conf", "good=1", "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := factsDir(t)
			write(t, dir, tc.file, tc.text, 0o600)
			write(t, dir, "z.txt", "other=1", 0o600)
			d := Dir{Path: dir, Reserved: map[string]string{"os": "linux"}}
			got, err := d.Read(context.Background())
			if err == nil || !strings.Contains(err.Error(), tc.file+": ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
			if diff := cmp.Diff(map[string]string{"other": "1"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func manyLines() string {
	var b strings.Builder
	for i := range MaxFacts {
		b.WriteString("x" + strings.Repeat("y", i%20) + strings.Repeat("z", i/20) + "=1\n")
	}
	return b.String()
}

// The tests of programs do not run beside others: a program that is written
// while another test starts a process is busy.
func TestPrograms(t *testing.T) {
	t.Setenv("SECRET", "in the minion's environment")
	dir := factsDir(t)
	write(t, dir, "a", "#!/bin/sh\necho lines=1; echo noise >&2; cat; echo secret=[$SECRET]\n", 0o700)
	write(t, dir, "b.sh", "#!/bin/sh\necho '  {\"tree\": {\"x\": 2}}'\n", 0o700)
	write(t, dir, "c", "#!/bin/sh\necho lost=1; echo 'no disk' >&2; exit 3\n", 0o700)
	write(t, dir, "e", "#!/bin/sh\nhead -c 20000 /dev/zero\n", 0o700)
	write(t, dir, "f", "#!/bin/sh\necho lost=1\n", 0o722)
	d := Dir{Path: dir, Timeout: time.Minute}
	got, err := d.Read(context.Background())
	want := map[string]string{"lines": "1", "secret": "[]", "tree.x": "2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{
		"c: exit status 3: no disk", "e: ", "f: is not run, because others can write the program",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(context.Background()); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "others can write the directory") {
		t.Errorf("Read = %v, %v", got, err)
	}
}

func TestProgramsEnd(t *testing.T) {
	dir := factsDir(t)
	write(t, dir, "slow", "#!/bin/sh\necho lost=1; sleep 300 & sleep 300\n", 0o700)
	d := Dir{Path: dir, Timeout: 100 * time.Millisecond}
	if got, err := d.Read(context.Background()); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "slow: exceeded its 100ms timeout") {
		t.Errorf("Read = %v, %v", got, err)
	}
}

// Whatever the files say: what is taken is within bounds, and nothing panics.
func TestF3_Bounds(t *testing.T) {
	t.Parallel()
	d := Dir{Reserved: map[string]string{"os": "linux"}}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-z]+(=|: )[{}\[\]a-z&*,"]*\n)+`)).Draw(t, "text"))
		for _, parse := range []func([]byte) (map[string]string, error){parseTree, parseLines} {
			got, err := parse(text)
			if err != nil || d.check(got) != nil {
				continue
			}
			for k, v := range got {
				if k == "os" || k == "" || len(v) > MaxValue || strings.ContainsAny(k+v, "\n\x00") {
					t.Fatalf("took %q = %q", k, v)
				}
			}
		}
	})
}

func TestText(t *testing.T) {
	t.Parallel()
	_, err := os.Open("/nowhere/" + strings.Repeat("é", MaxValue) + "\x01")
	if got := Text(err.Error()); len(got) > MaxValue || !strings.HasSuffix(got, "...") || strings.ContainsAny(got, "\n\x01") {
		t.Errorf("text = %q", got)
	}
}
