package attack

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// evil is the name of the site whose pages attack.
const evil = "evil.test"

// attempt is one request that a page makes.
type attempt struct {
	// URL is relative to the page where that is to be of the page's own origin.
	URL    string `json:"url"`
	Method string `json:"method"`
	// Mode is fetch's: "cors", "no-cors" or "same-origin".
	Mode   string            `json:"mode"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
}

// seen is what a page learned from an attempt. Status 0 and no error: the browser
// hides the answer from the page.
type seen struct {
	Status int    `json:"status"`
	Text   string `json:"text"`
	Error  string `json:"error"`
}

// site is a web server of an intruder, on this host. To a browser that asks it for
// anything but its own page it is whatever it was pointed at since: that is what
// rebinding a name does, without waiting for the browser to look the name up.
type site struct {
	addr string // host:port
}

const pagePath = "/page.html"

// attackPage makes its attempts one after the other, and then shows what it saw.
// The text is encoded, as a document would change some of its characters.
const attackPage = `<!doctype html><link rel="icon" href="data:,"><pre id="out"></pre><script>
(async () => {
  const seen = [];
  for (const a of %s) {
    try {
      const r = await fetch(a.url, {method: a.method, mode: a.mode, headers: a.header, body: a.body || undefined});
      seen.push({status: r.status, text: a.url.endsWith("/events") ? "" : (await r.text()).slice(0, 400)});
    } catch (e) {
      seen.push({error: String(e)});
    }
  }
  document.getElementById("out").textContent = "<<" + btoa(unescape(encodeURIComponent(JSON.stringify(seen)))) + ">>";
})();
</script>`

// newSite starts a site that serves a page with attempts, and is the server at
// target otherwise.
func newSite(t testing.TB, target string, attempts []attempt) *site {
	t.Helper()
	list, err := json.Marshal(attempts)
	if err != nil {
		t.Fatal(err)
	}
	page := fmt.Sprintf(attackPage, list)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSite(conn, target, page)
		}
	}()
	return &site{addr: l.Addr().String()}
}

func serveSite(conn net.Conn, target, page string) {
	defer conn.Close()
	begin := bufio.NewReader(conn)
	want := "GET " + pagePath + " "
	if got, err := begin.Peek(len(want)); err != nil {
		return
	} else if string(got) == want {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)
		return
	}
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, begin)
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, to)
}

// shown finds what a page saw in the document that the browser prints.
var shown = regexp.MustCompile(`&lt;&lt;([A-Za-z0-9+/=]+)&gt;&gt;`)

// browse has a browser open the site's page by a name, and returns what came of
// each attempt.
func (s *site) browse(t testing.TB, host string) []seen {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium")
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	await.Until(t, "the page has made its attempts", func() bool {
		r := run(t, program{name: browser, args: []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
			"--disable-sync", "--disable-quic", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--host-resolver-rules=MAP " + evil + " 127.0.0.1",
			"--virtual-time-budget=60000", "--dump-dom", "http://" + net.JoinHostPort(host, port) + pagePath,
		}})
		found := shown.FindStringSubmatch(r.stdout)
		if found == nil {
			t.Logf("the browser ended with code %d, and printed %s\n%s", r.code, tail(r.stdout, 1<<10), tail(r.stderr, 1<<10))
			return false
		}
		text, err := base64.StdEncoding.DecodeString(found[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return out
}

// readable reports whether the page got to see a server's answer, of whatever
// kind, other than a refusal to deal with the page.
func (s seen) readable() bool {
	return s.Error == "" && s.Status != 0 && s.Status != 403 && s.Status != 421
}

func (s seen) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", s.Status, s.Text, s.Error))
}
