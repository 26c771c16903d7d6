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
	jobs.WriteString("---\napiVersion: carillon/v1\nkind: Queue\nmetadata: {name: report}\nspec: {command: ['true']}\n" +
		"---\napiVersion: carillon/v1\nkind: Notifier\nmetadata: {name: ops}\nspec: {on: [failed], webhook: {url: 'https://receiver.invalid/x'}}\n")
	w := newWorkshop(t, jobs.String())
	w.carillon(t, `{"id": "close", "upstream": "erp", "tasks": [{"id": "totals", "type": "report"}]}`, "plan", "send", "-", "--format", "json")

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

	// The keyboard's place, and what is opened, outlast a refresh.
	p.Eval(`(document.querySelector("details.version, details.more").open = true, document.querySelector('a[href="/runs?namespace=default&job=nightly-000"]').focus(), window.anew = 0, document.addEventListener("refreshed", () => window.anew++), 1)`)
	w.carillon(t, "---\napiVersion: carillon/v1\nkind: Job\nmetadata: {name: nightly-000}\nspec: {schedules: ['18 3 * * *'], command: ['true']}\n", "apply", "-f", "-")
	p.Until("the page shows the edit", `window.anew > 0 && document.body.innerText.includes("03:18")`)
	if at := p.Eval(`document.activeElement.getAttribute("href")`); at != "/runs?namespace=default&job=nightly-000" {
		t.Errorf("after the refresh the focus is at %v", at)
	}
	p.Eval(`(document.querySelector("details.version").open = true, 1)`)
	p.Click(`details.version form button`)
	if text := p.Text(); !strings.Contains(text, "03:17") || !strings.Contains(text, "job.rollback") {
		t.Errorf("after rolling back:\n%s", text)
	}

	createOnThePage(t, p, w)
	p.Eval(`(document.querySelector("main details").open = true, document.querySelector('input[name="param.why"]').value = "to see", 1)`)
	p.Click(`form.params button`)
	p.Until("its output comes while it runs, or it has ended", `(document.getElementById("log") || document.body).innerText.includes("line 1")`)
	pictures(t, p, "run-live")
	p.Until("it is seen to fail", `document.body.innerText.includes("exit code 3") && document.body.innerText.includes("gone wrong")`)
	pictures(t, p, "run")
	p.Click(`form[action$="/redo"] button`)
	if text := p.Text(); !strings.Contains(text, "Does") {
		t.Errorf("done again:\n%s", text)
	}

	p.Go(w.url + "/jobs/default/talker")
	p.Eval(`(document.querySelector("details.delete").open = true, 1)`)
	p.Click(`details.delete form button`)
	if at := p.Eval("location.pathname"); at != "/jobs" {
		t.Errorf("after the deletion the page is %v", at)
	}
	if out, err := w.try("", "get", "jobs", "talker"); err == nil {
		t.Errorf("it is still there:\n%s", out)
	}
	execOnThePage(t, p, w)
	look(t, p, w)
}

// createOnThePage writes a job, is told what is wrong while typing, and what would come of
// it, and applies it.
func createOnThePage(t *testing.T, p *browser.Page, w *workshop) {
	t.Helper()
	const talker = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: talker}\nspec:\n  schedules: ['0 0 1 1 *']\n  params: [{name: why, description: what for}]\n" +
		"  command: [sh, -c, 'for i in 1 2 3; do echo line $i; sleep 1; done; echo gone wrong >&2; exit 3']\n"
	p.Go(w.url + "/jobs")
	p.Click(`a[href="/edit"]`)
	p.Type("#text", strings.Replace(talker, "schedules", "shedules", 1))
	p.Until("what is wrong is said while one types", `document.getElementById("checked").innerText.includes("shedules")`)
	p.Type("#text", talker)
	p.Until("what would come of it is said", `document.getElementById("checked").innerText.includes("Job default/talker: created") && document.getElementById("checked").innerText.includes("These fires change")`)
	if out, err := w.try("", "get", "jobs", "talker"); err == nil {
		t.Errorf("a check has created it:\n%s", out)
	}
	pictures(t, p, "edit")
	p.Click(`button[value="save"]`)
	if at := p.Eval("location.pathname"); at != "/jobs/default/talker" {
		t.Errorf("after applying the page is %v:\n%s", at, p.Text())
	}
}

// execOnThePage sees where a command would run, and runs it.
func execOnThePage(t *testing.T, p *browser.Page, w *workshop) {
	t.Helper()
	p.Go(w.url + "/exec")
	p.Type("#target", "nosuch*")
	p.Until("nothing matches", `document.getElementById("preview").innerText.includes("0 of 1 minions would run it")`)
	p.Type("#target", "*")
	p.Until("all match", `document.getElementById("preview").innerText.includes("1 of 1 minions would run it")`)
	p.Type("#shell", "echo it is me")
	p.Click("button.go")
	p.Until("its output is shown", `location.pathname.startsWith("/runs/") && document.body.innerText.includes("it is me")`)
}

// TestTheWholeWayOnThePage's pages beside those that the navigation leads to.
var others = []string{"/jobs/default/nightly-000", "/queues/default/report", "/plans/default/erp/close", "/notifiers/default/ops", "/edit?job=default/nightly-000", "/exec?target=*", "/instant?job=default/nightly-000&at=2026-01-02+03:04", "/jobs/default/nosuch", "/jobs?q=last:oops", "/login"}

// look opens every page, narrow and wide, light and dark: axe-core finds nothing that is
// serious or critical, nothing is cut off, no script has an error, and nothing is asked of
// another host.
func look(t *testing.T, p *browser.Page, w *workshop) {
	t.Helper()
	p.Go(w.url + "/minions")
	paths := append(links(p), others...)
	for _, rows := range []string{"/minions", "/runs"} {
		p.Go(w.url + rows)
		paths = append(paths, p.Eval(`document.querySelector("main tbody a").getAttribute("href")`).(string))
	}
	for _, path := range paths {
		p.Go(w.url + path)
		if over := p.Eval(`document.documentElement.scrollWidth - innerWidth`); over.(float64) > 0 {
			t.Errorf("%s is %v pixels wider than the window", path, over)
		}
		found := p.Barriers()
		p.Dark(true)
		found = append(found, p.Barriers("color-contrast", "link-in-text-block")...)
		p.Dark(false)
		p.Size(400, 900)
		if over := p.Eval(`document.documentElement.scrollWidth - innerWidth`); over.(float64) > 0 {
			t.Errorf("%s is %v pixels wider than a telephone", path, over)
		}
		found = append(found, p.Barriers("scrollable-region-focusable", "label", "button-name", "link-name")...)
		p.Size(1280, 900)
		for _, f := range found {
			t.Errorf("%s: %s", path, f)
		}
		pictures(t, p, "page"+strings.ReplaceAll(path, "/", "-"))
	}
	seen := p.Seen()
	for _, e := range seen.Errors {
		if !strings.Contains(e, "status of 404") && !strings.Contains(e, "status of 422") { // asked for above
			t.Errorf("the console has %s", e)
		}
	}
	if len(seen.Hosts) != 1 || seen.Hosts[0] != w.url {
		t.Errorf("requests go to %v", seen.Hosts)
	}
}
