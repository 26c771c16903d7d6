package script

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// TestDocs walks through README and every page of docs: each block of commands is
// run and its output compared, each file applied, and each command that stands in
// the text has to exist with its flags.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	helps := &helpTexts{texts: map[string]string{}}
	for _, page := range append(pages, "../../README.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			p, err := readPage(page)
			if err != nil {
				t.Fatal(err)
			}
			w := &walker{t: t, page: filepath.Base(page), dir: t.TempDir(), helps: helps}
			for _, s := range p.spoken {
				w.exist(s.line, s.text)
			}
			for i := range p.blocks {
				w.block(&p.blocks[i], p.minions)
			}
		})
	}
}

// walker walks through one page.
type walker struct {
	t     *testing.T
	page  string
	dir   string
	env   []string
	helps *helpTexts
	// started: the cluster that the page's commands are for runs.
	started bool
}

func (w *walker) fail(line int, format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("%s:%d: "+format, append([]any{w.page, line}, args...)...)
}

func (w *walker) block(b *textBlock, minions []string) {
	w.t.Helper()
	if why, skipped := strings.CutPrefix(b.say, "skip: "); skipped {
		w.t.Logf("%s:%d: not run: %s", w.page, b.line, why)
		if b.lang == "sh" || b.lang == "console" {
			w.exist(b.line, strings.ReplaceAll(b.text, "\n$ ", "\n"))
		}
		return
	}
	if name, is := strings.CutPrefix(b.say, "file "); is {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(b.text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		if b.lang != "yaml" {
			return
		}
	}
	switch b.lang {
	case "sh":
		w.start(minions)
		w.exist(b.line, b.text)
		if out, err := w.run(b.text); (err != nil) != (b.say == "fails") {
			w.fail(b.line, "%v\n%s", err, out)
		}
	case "console":
		w.start(minions)
		w.console(b)
	case "yaml":
		w.start(minions)
		w.manifest(b)
	case "target", "text", "mermaid":
		// Targets are parsed by the tests of agentpush/target; text is no command.
	default:
		w.fail(b.line, "a block in %q: say sh, console, yaml, target, text or mermaid", b.lang)
	}
}

// mostLooks is how often a command is asked that shows what is so.
const mostLooks = 300

// console runs commands and compares what they print.
func (w *walker) console(b *textBlock) {
	w.t.Helper()
	steps, err := b.steps()
	if err != nil {
		w.t.Fatalf("%s: %v", w.page, err)
	}
	for i, s := range steps {
		w.exist(s.line, s.command)
		toFail := b.say == "fails" && i == len(steps)-1
		var out string
		var err error
		// What a command shows may take a moment to be so: it is asked again, if that
		// does no harm. A page that is wrong must not wait for the end of the run.
		looks := 1
		if regexp.MustCompile(`^carillon (get|describe|runs|logs|nodes|minions|shards|doctor|audit)\b`).MatchString(s.command) {
			looks = mostLooks
		}
		look := func() string {
			out, err = w.run(s.command)
			switch {
			case (err != nil) != toFail:
				return fmt.Sprintf("%s:%d: %s: %v\n%s", w.page, s.line, s.command, err, out)
			case !printed(s.want, out):
				return fmt.Sprintf("%s:%d: %s printed\n%sand is to print\n%s", w.page, s.line, s.command, out, strings.Join(s.want, "\n"))
			}
			return ""
		}
		missing := look()
		for n := 1; missing != "" && n < looks; n++ {
			time.Sleep(pause)
			missing = look()
		}
		if missing != "" {
			w.t.Fatal(missing)
		}
	}
}

// manifest applies a block in YAML with --dry-run. A part of a spec is put into a
// job.
func (w *walker) manifest(b *textBlock) {
	w.t.Helper()
	text := b.text
	if !strings.Contains(text, "apiVersion:") {
		head := "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: part}\n"
		switch {
		case strings.HasPrefix(text, "rules:"):
			return // a minion's list, which worker/allow reads in its tests
		case strings.HasPrefix(text, "spec:"):
			text = head + text
		case b.say == "spec":
			text = head + "spec:\n  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
		default:
			w.fail(b.line, "a block in yaml that is no whole document; say what it is in a comment before it")
			return
		}
		if !regexp.MustCompile(`(?m)^  (command|script|steps):`).MatchString(text) {
			text += "  command: [\"true\"]\n"
		}
	}
	file := filepath.Join(w.dir, fmt.Sprintf("block-%d.yaml", b.line))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if out, err := w.run("carillon apply --dry-run -f " + file); (err != nil) != (b.say == "fails") {
		w.fail(b.line, "%v\n%s\n%s", err, out, text)
	}
}

// run runs a shell text where the page is, and returns what it printed. What it
// leaves running ends with the test.
func (w *walker) run(text string) (string, error) {
	w.t.Helper()
	cmd := exec.Command("bash", "-eu", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), w.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of its group
	}
	return out.String(), err
}

// start starts the cluster that the page's commands are for, once.
func (w *walker) start(minions []string) {
	w.t.Helper()
	if w.started {
		return
	}
	w.started = true
	r, err := ports.Reserve(2)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Release)
	api, peer := fmt.Sprintf("127.0.0.1:%d", r.Ports[0]), fmt.Sprintf("127.0.0.1:%d", r.Ports[1])
	w.env = []string{"CARILLON_SERVER=http://" + api, "API=" + api, "PEERS=" + peer, "HOME=" + w.dir, "USER=ada", "TZ=UTC"}
	node := w.background("carillon", "dev", "--data-dir", filepath.Join(w.t.TempDir(), "data"), "--listen", api, "--peer-listen", peer)
	client := http.Client{Timeout: time.Second}
	w.t.Cleanup(client.CloseIdleConnections)
	await.Missing(w.t, func() string {
		node.mustRun(w.t)
		res, err := client.Get("http://" + api + "/readyz")
		if err != nil {
			time.Sleep(pause)
			return err.Error()
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			time.Sleep(pause)
			return res.Status
		}
		return ""
	})
	started := []*program{node}
	for _, name := range minions {
		token := filepath.Join(w.dir, "token-"+name)
		label := "role=" + strings.TrimRight(name, "0123456789")
		if out, err := w.run("carillon minions token --label " + label + " > " + token); err != nil {
			w.t.Fatal(err, out)
		}
		started = append(started, w.background("worker", "--id", name, "--data-dir", filepath.Join(w.t.TempDir(), name), "--servers", peer, "--join-token-file", token))
	}
	await.Missing(w.t, func() string {
		for _, p := range started {
			p.mustRun(w.t)
		}
		out, err := w.run("carillon minions -o name")
		if n := strings.Count(out, "\n"); err != nil || n != len(minions)+1 {
			time.Sleep(pause)
			return fmt.Sprintf("%d minions, %v", n, err)
		}
		return ""
	})
}

// program is one that runs beside a page's commands.
type program struct {
	name  string
	ended chan struct{} // closed: out and err may be read
	out   bytes.Buffer
	err   error
}

// background runs a program until the test ends.
func (w *walker) background(name string, args ...string) *program {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), w.env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	p := &program{name: name, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		stop()
		w.t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		stop()
		<-p.ended
		if p.err != nil && w.t.Failed() {
			w.t.Logf("%s: %v\n%s", name, p.err, p.out.String())
		}
	})
	return p
}

// mustRun fails the test when the program has ended: what is waited for never comes
// then.
func (p *program) mustRun(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("%s ended before its time: %v\n%s", p.name, p.err, p.out.String())
	default:
	}
}

// helpTexts are the help texts of commands, by their words.
type helpTexts struct {
	mu    sync.Mutex
	texts map[string]string // mu guards it
}

// of returns the help text of a command; false: there is none.
func (h *helpTexts) of(words ...string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := strings.Join(words, " ")
	text, known := h.texts[key]
	if !known {
		out, err := exec.Command(words[0], append(slices.Clone(words[1:]), "--help")...).CombinedOutput()
		if text = string(out); err != nil {
			text = ""
		}
		h.texts[key] = text
	}
	return text, text != ""
}

var (
	longFlag   = regexp.MustCompile(`^\[?(--[a-z][a-z0-9-]*)`)
	subCommand = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// exist checks that the commands in a text are there, with their flags.
func (w *walker) exist(line int, text string) {
	w.t.Helper()
	for _, words := range commandsOf(text) {
		path := words[:1]
		help, ok := w.helps.of(path...)
		if !ok {
			w.t.Fatalf("%s --help fails", words[0])
		}
		for _, word := range words[1:] {
			if subCommand.MatchString(word) && regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(word)+`\s`).MatchString(commandList(help)) {
				path = append(path[:len(path):len(path)], word)
				if help, ok = w.helps.of(path...); !ok {
					w.fail(line, "%s --help fails", strings.Join(path, " "))
				}
				continue
			}
			break
		}
		if words[0] == "carillon" && len(path) == 1 && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
			w.fail(line, "there is no command %q, in %q", words[1], text)
			continue
		}
		for _, word := range words[len(path):] {
			m := longFlag.FindStringSubmatch(word)
			if m != nil && !regexp.MustCompile(regexp.QuoteMeta(m[1])+`\b`).MatchString(help) {
				w.fail(line, "%s has no flag %s, in %q", strings.Join(path, " "), m[1], text)
			}
		}
	}
}

// commandList returns the part of a help text that lists commands.
func commandList(help string) string {
	if _, list, ok := strings.Cut(help, "\nWhat:\n"); ok {
		list, _, _ = strings.Cut(list, "\n\n")
		return list
	}
	if _, list, ok := strings.Cut(help, "VERB [flags]\n"); ok {
		return list
	}
	return ""
}
