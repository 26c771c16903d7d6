package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/browser"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// workshop is `carillon dev` with jobs.
type workshop struct{ url string }

func newWorkshop(t *testing.T, jobs string) *workshop {
	t.Helper()
	reserved, err := ports.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reserved.Release)
	at := fmt.Sprintf("127.0.0.1:%d", reserved.Ports[0])
	w := &workshop{url: "http://" + at}
	dev := exec.Command("carillon", "dev", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", at, "--peer-listen", "127.0.0.1:0", "--no-examples")
	dev.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dev.Process.Kill()
		_ = dev.Wait()
	})
	await.Until(t, "a minion is there, and the jobs are applied", func() bool {
		out, err := w.try("", "minions", "-o", "name")
		return err == nil && strings.TrimSpace(out) != ""
	})
	w.carillon(t, jobs, "apply", "-f", "-")
	return w
}

func (w *workshop) try(stdin string, args ...string) (string, error) {
	cmd := exec.Command("carillon", append(args, "--server", w.url)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *workshop) carillon(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := w.try(stdin, args...)
	if err != nil {
		t.Fatalf("carillon %v: %v\n%s", args, err, out)
	}
	return out
}

// pictures keeps what pages look like, for people, where PICTURES names a directory.
func pictures(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	dir := os.Getenv("PICTURES")
	if dir == "" {
		return
	}
	for _, width := range []int{1280, 400} {
		p.Size(width, 900)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width)), p.Picture(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Size(1280, 900)
}

// TestTheWholeWayOnThePage: a job is found while one types, many are paused and resumed at
// once, one is run, watched, seen to fail, understood and done again; no request leaves the
// host, and nothing is refused by the policy of the pages.
func TestTheWholeWayOnThePage(t *testing.T) {
	t.Parallel()
	var jobs strings.Builder
	job := func(name, spec string) {
		fmt.Fprintf(&jobs, "---\napiVersion: carillon/v1\nkind: Job\nmetadata: {name: %s, labels: {team: t%d}}\nspec: {%s}\n", name, len(name)%3, spec)
	}
	for i := range 120 {
		job(fmt.Sprintf("nightly-%03d", i), "schedules: ['17 3 * * *'], timeZone: Europe/Berlin, command: ['true']")
	}
	job("talker", "command: [sh, -c, 'for i in 1 2 3; do echo line $i; sleep 1; done; echo gone wrong >&2; exit 3'], params: [{name: why, description: what for}]")
	w := newWorkshop(t, jobs.String())

	p := browser.Open(t)
	p.Size(1280, 900)
	p.Go(w.url + "/jobs")
	if rows := p.Eval(`document.querySelectorAll("#list tbody tr").length`); rows != 100.0 {
		t.Errorf("the first page has %v rows", rows)
	}
	p.Eval(`(window.stays = true, window.refused = [], document.addEventListener("securitypolicyviolation", e => refused.push(e.violatedDirective + " " + e.blockedURI)), window.addEventListener("error", e => refused.push(e.message)), 1)`)
	pictures(t, p, "jobs")
	p.Type("#q", "nightly-00*")
	p.Until("the list has those that were typed", `document.querySelectorAll("#list tbody tr").length === 10 && location.search.includes("nightly-00")`)
	if p.Eval("window.stays") != true || p.Eval(`document.activeElement.id`) != "q" {
		t.Error("typing loads the page anew, or takes the focus away")
	}
	p.Type("#q", "last:oops")
	p.Until("what is wrong with the words is said", `document.querySelector("#list").innerText.includes("last:oops want one of")`)
	p.Type("#q", "nightly-00*")
	p.Until("the list is back", `document.querySelectorAll("#list tbody tr").length === 10`)

	p.Eval(`document.querySelector("[data-all]").click()`)
	p.Eval(`(document.querySelector('#act input[name="reason"]').value = "a freeze", 1)`)
	if refused := p.Eval(`refused.join()`); refused != "" {
		t.Errorf("on the list: %v", refused)
	}
	p.Click(`button[value="pause"]`)
	if text := p.Text(); !strings.Contains(text, "10 jobs: pause") || strings.Contains(text, "Not done") {
		t.Errorf("after pausing:\n%s", text)
	}
	if out := w.carillon(t, "", "get", "jobs", "--query", "paused:yes", "-o", "name"); strings.Count(out, "nightly-00") != 10 || strings.Count(out, "\n") != 10 {
		t.Errorf("paused are:\n%s", out)
	}

	p.Go(w.url + "/jobs/default/nightly-000")
	if text := p.Text(); !strings.Contains(text, "a freeze") || !strings.Contains(text, "+01:00") || !strings.Contains(text, "Yours") {
		t.Errorf("the page of a job:\n%s", text)
	}
	pictures(t, p, "job")
	p.Click(`form[action$="/resume"] button`)
	if text := p.Text(); strings.Contains(text, "a freeze") && !strings.Contains(text, "Changes") {
		t.Errorf("after resuming:\n%s", text)
	}

	p.Go(w.url + "/jobs/default/talker")
	p.Eval(`(document.querySelector("details").open = true, document.querySelector('input[name="param.why"]').value = "to see", 1)`)
	p.Click(`form.params button`)
	p.Until("its output comes while it runs, or it has ended", `(document.getElementById("log") || document.body).innerText.includes("line 1")`)
	pictures(t, p, "run-live")
	p.Until("it is seen to fail", `document.body.innerText.includes("exit code 3") && document.body.innerText.includes("gone wrong")`)
	pictures(t, p, "run")
	p.Click(`form[action$="/redo"] button`)
	if text := p.Text(); !strings.Contains(text, "Does") {
		t.Errorf("done again:\n%s", text)
	}

	for _, path := range []string{"/", "/runs", "/audit", "/doctor", "/pauses", "/nodes"} {
		p.Go(w.url + path)
		if status := p.Eval(`performance.getEntriesByType("navigation")[0].responseStatus`); status != 200.0 {
			t.Errorf("%s: %v", path, status)
		}
		if foreign := p.Eval(`performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin)).join()`); foreign != "" {
			t.Errorf("%s asks other hosts: %v", path, foreign)
		}
		pictures(t, p, "page"+strings.ReplaceAll(path, "/", "-"))
	}
}
