// Package browser has a test use a page as a person does: in Chromium, which it speaks to
// over a pipe (the DevTools protocol), so that nothing but the test reaches it.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// Page is one page of a browser of its own, with no cookies at first. Use Open. It is for
// the test's goroutine.
type Page struct {
	t       testing.TB
	to      *os.File
	session string

	mu sync.Mutex
	// mu guards all below.
	next    int
	waiting map[int]chan reply
	lost    error
	seen    Seen
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
	// Method and Params are of an event, which answers nothing.
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// Open starts a browser with an empty page. It ends with the test. Where there is no
// Chromium, the test fails: make test installs it.
func Open(t testing.TB) *Page {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: install Debian's package chromium, as make test does")
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-quic", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // 3 and 4, as Chromium wants them
	// Its helpers end with it, whatever we die of.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = out.Close()
	p := &Page{t: t, to: to, waiting: map[int]chan reply{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(from)
	}()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		_ = to.Close()
		_ = from.Close()
		<-read
	})
	var target struct {
		ID string `json:"targetId"`
	}
	p.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	p.do("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	p.session = attached.Session
	for _, part := range []string{"Page", "Runtime", "Log", "Network"} {
		p.do(part+".enable", nil, nil)
	}
	return p
}

// read hands answers on until the browser goes.
func (p *Page) read(from *os.File) {
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadBytes(0)
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.lost = err
			for _, c := range p.waiting {
				close(c)
			}
			clear(p.waiting)
			return
		}
		var r reply
		if json.Unmarshal(text[:len(text)-1], &r) != nil {
			continue
		}
		p.mu.Lock()
		if r.ID == 0 {
			p.seen.take(r.Method, r.Params)
			p.mu.Unlock()
			continue
		}
		c := p.waiting[r.ID]
		delete(p.waiting, r.ID)
		p.mu.Unlock()
		if c != nil {
			c <- r
		}
	}
}

// try asks the browser for something.
func (p *Page) try(method string, params any, into any) error {
	p.mu.Lock()
	if p.lost != nil {
		p.mu.Unlock()
		return p.lost
	}
	p.next++
	id, answer := p.next, make(chan reply, 1)
	p.waiting[id] = answer
	p.mu.Unlock()
	ask := map[string]any{"id": id, "method": method}
	if params != nil {
		ask["params"] = params
	}
	if p.session != "" {
		ask["sessionId"] = p.session
	}
	text, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	if _, err := p.to.Write(append(text, 0)); err != nil {
		return err
	}
	r, ok := <-answer
	switch {
	case !ok:
		return errors.New("the browser has gone")
	case r.Error != nil:
		return fmt.Errorf("%s: %s", method, r.Error.Message)
	case into == nil:
		return nil
	}
	return json.Unmarshal(r.Result, into)
}

func (p *Page) do(method string, params any, into any) {
	p.t.Helper()
	if err := p.try(method, params, into); err != nil {
		p.t.Fatal(err)
	}
}

// Go opens an address, and waits until the page is there.
func (p *Page) Go(url string) {
	p.t.Helper()
	// Another page is marked, so that the wait is not for the one before.
	_ = p.try("Runtime.evaluate", map[string]any{"expression": "window.before = true"}, nil)
	p.do("Page.navigate", map[string]any{"url": url}, nil)
	p.settled()
}

// settled waits until another page is there as a whole.
func (p *Page) settled() {
	p.t.Helper()
	await.Until(p.t, "the browser shows the page", func() bool {
		v, err := p.try1(`!window.before && document.readyState === "complete" && location.href !== "about:blank"`)
		return err == nil && v == true
	})
}

// try1 evaluates an expression in the page. A page that is about to go has an error.
func (p *Page) try1(expression string) (any, error) {
	var out struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	err := p.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if err == nil && out.Exception != nil {
		err = errors.New(out.Exception.Text)
	}
	return out.Result.Value, err
}

// Eval evaluates an expression in the page, and returns its value as JSON has it.
func (p *Page) Eval(expression string) any {
	p.t.Helper()
	v, err := p.try1(expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Click clicks on what a selector finds, which leads to another page, and waits for it.
func (p *Page) Click(selector string) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector) // it can be
	found := p.Eval(fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e) return false; window.before = true; e.click(); return true; })()`, quoted))
	if found != true {
		p.t.Fatalf("there is no %s on %v:\n%s", selector, p.Eval("location.href"), p.Text())
	}
	p.settled()
}

// Type writes into a field as a person does, letter by letter for those who listen.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector) // it can be
	if p.Eval(fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e) return false; e.focus(); e.select(); return true; })()`, quoted)) != true {
		p.t.Fatalf("there is no %s on %v:\n%s", selector, p.Eval("location.href"), p.Text())
	}
	p.do("Input.insertText", map[string]any{"text": text}, nil)
}

// Until waits until an expression is true in the page.
func (p *Page) Until(what, expression string) {
	p.t.Helper()
	await.Until(p.t, what, func() bool {
		v, err := p.try1(expression)
		return err == nil && v == true
	})
}

// Size makes the page so many pixels wide and high.
func (p *Page) Size(width, height int) {
	p.t.Helper()
	p.do("Emulation.setScrollbarsHidden", map[string]any{"hidden": true}, nil)
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Dark has the page shown as to people who prefer dark colours, or light ones.
func (p *Page) Dark(on bool) {
	p.t.Helper()
	scheme := "light"
	if on {
		scheme = "dark"
	}
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Key presses a key as a person does, such as Tab or Enter.
func (p *Page) Key(name string, code int) {
	p.t.Helper()
	for _, kind := range []string{"rawKeyDown", "keyUp"} {
		p.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code}, nil)
	}
}

// Picture is what a person sees of the page, as PNG.
func (p *Page) Picture() []byte {
	p.t.Helper()
	var shot struct {
		Data []byte `json:"data"`
	}
	p.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	return shot.Data
}

// Text is what a person reads on the page.
func (p *Page) Text() string {
	p.t.Helper()
	text, _ := p.Eval("document.body.innerText").(string)
	return text
}
