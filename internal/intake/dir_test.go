package intake

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// I6: a file that is replaced while it is sent is not what was sent, and is sent as well.
func TestReplacedWhileItIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fake{sent: map[string]int{}}
	f.reading = sync.OnceFunc(func() { drop(t, dir, "orders.xml", text("second")) })
	drop(t, dir, "orders.xml", text("first"))
	stop := begin(t, f, Config{Dir: dir})
	await.Until(t, "that both are sent", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sent["first"] == 1 && f.sent["second"] == 1
	})
	await.Until(t, "that the name is free", func() bool { return !there(dir, "orders.xml") && !there(dir, ".orders.xml.sending") })
	stop()
	accepted, err := os.ReadFile(filepath.Join(dir, "orders.xml.accepted"))
	if err != nil || !strings.Contains(string(accepted), "second") {
		t.Errorf("accepted as the last: %s, %v", accepted, err)
	}
}

// I6: what was claimed before a crash is sent, and before what has come under its name since.
func TestSentAfterACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	drop(t, dir, ".orders.xml.sending", text("first"))
	drop(t, dir, "orders.xml", text("second"))
	f := &fake{sent: map[string]int{}}
	begin(t, f, Config{Dir: dir})
	await.Until(t, "that both are sent", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sent["first"] == 1 && f.sent["second"] == 1
	})
}

// Files that differ in their ending only have answers of their own.
func TestAnswersHaveTheWholeName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begin(t, &fake{sent: map[string]int{}}, Config{Dir: dir, Reports: true})
	drop(t, dir, "c.json", `{"id": "one", "upstream": "erp", "tasks": [{"id": "a", "type": "q"}]}`)
	drop(t, dir, "c.yaml", `{"id": "two", "upstream": "erp", "tasks": [{"id": "a", "type": "q"}]}`)
	drop(t, dir, "c.xml", text("three"))
	for name, want := range map[string]string{
		"c.json.receipt.json": `"one"`, "c.yaml.receipt.json": `"two"`, "c.xml.receipt.xml": `"three"`,
		"c.json.report.json": `"one"`, "c.yaml.report.json": `"two"`, "c.xml.report.xml": `"three"`,
	} {
		await.Until(t, name, func() bool {
			text, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && strings.Contains(string(text), want)
		})
	}
}

// A name adds no line to the log, and one whose receipt could not be written is refused once.
func TestNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	var lines []string
	in, err := New(Config{Namespace: "team", Dir: dir}, Deps{Plans: &fake{sent: map[string]int{}}, Log: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", maxName) + ".xml"
	drop(t, dir, "a\nb.xml", text("close"))
	if err := os.WriteFile(filepath.Join(dir, long), []byte(text("long")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	await.Until(t, "both", func() bool { return there(dir, "a\nb.xml.accepted") && !there(dir, long) })
	// I4: from when on anybody may write to it, nothing is taken.
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // it is to be refused
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("open to all: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(lines, "\n")
	if strings.Count(all, "\n") != len(lines)-1 || !strings.Contains(all, `"a\nb.xml": accepted`) {
		t.Errorf("the log is %q", lines)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "nnn*.refused")); err != nil || len(left) != 1 || strings.Count(all, "its name has") != 1 {
		t.Errorf("refused are %q, %v; the log is %q", left, err, lines)
	}
}
