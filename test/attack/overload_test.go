package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/webhook"
)

// from returns a client whose connections come from an address of the loopback network.
func from(t testing.TB, address string) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// by sends a request by a client, with headers in pairs.
func (n *node) by(t testing.TB, client *http.Client, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.url()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// overSocket asks the node over its local socket.
func (n *node) overSocket(t testing.TB) {
	t.Helper()
	p := program{name: "carillon", args: []string{"nodes", "--server", "unix://" + n.dir + "/carillon.sock"}}
	if got := run(t, p).must(t); !strings.Contains(got, "n1") {
		t.Errorf("over the socket: %q", got)
	}
}

// Documents that are nested as deeply as their size allows, and bodies without an end,
// are refused; the node's memory does not grow by what is sent.
func TestDeepAndHugeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	n.resetPeak(t)
	before := n.sizes(t)
	client := from(t, "127.0.0.1")
	deep := func(open, end string, size int) string {
		times := size / (len(open) + len(end))
		return strings.Repeat(open, times) + strings.Repeat(end, times)
	}
	const small, large = 60 << 10, 4<<20 - 100
	head := "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: deep}\nspec:\n  command: "
	for name, c := range map[string]struct {
		path, kind, body string
	}{
		"lists of JSON":          {"/v1/namespaces/default/jobs/x/run", "application/json", deep("[", "]", small)},
		"objects of JSON":        {"/v1/namespaces/default/jobs/x/run", "application/json", deep(`{"params":`, "}", small)},
		"a webhook's":            {"/v1/hooks/default/x", "application/json", deep("[", "]", small)},
		"JSON as a manifest":     {"/v1/apply", "application/yaml", deep(`{"a":`, "}", large)},
		"lists of YAML":          {"/v1/apply", "application/yaml", head + deep("[", "]", large)},
		"lists that do not end":  {"/v1/apply", "application/yaml", head + strings.Repeat("[", large)},
		"maps of YAML":           {"/v1/apply", "application/yaml", head + deep("{a: ", "}", large)},
		"lines of dashes":        {"/v1/apply", "application/yaml", head + "\n  " + strings.Repeat("- ", large/2)},
		"keys without an end":    {"/v1/apply", "application/yaml", strings.Repeat("? ", large/2)},
		"aliases of aliases":     {"/v1/apply", "application/yaml", aliases()},
		"many documents":         {"/v1/apply", "application/yaml", strings.Repeat("---\na: 1\n", large/9)},
		"a command that is deep": {"/v1/exec", "application/yaml", head + deep("[", "]", large)},
	} {
		if res := n.by(t, client, http.MethodPost, c.path, strings.NewReader(c.body), "Content-Type", c.kind); res.code < 400 || res.code >= 500 {
			t.Errorf("%s: %d %.300s", name, res.code, res.body)
		}
	}
	for _, path := range []string{"/v1/apply", "/v1/exec", "/v1/hooks/default/x", "/v1/namespaces/default/jobs/x/run", "/v1/pause"} {
		endless := io.LimitReader(zeros{}, 256<<20)
		res := n.by(t, client, http.MethodPost, path, endless, "Content-Type", "application/json")
		// The node may have closed the connection before all was sent.
		if res.code != http.StatusRequestEntityTooLarge && (res.code != 0 || !strings.Contains(res.body, "broken pipe") && !strings.Contains(res.body, "reset")) {
			t.Errorf("%s: a body of 256 MB: %d %.300s", path, res.code, res.body)
		}
	}
	const mb = 1 << 20
	if grown := n.sizes(t).peak - before.memory; grown > 256*mb {
		t.Errorf("memory has grown by %d MB", grown/mb)
	}
	if !n.ready() {
		t.Error("the node is not ready")
	}
}

// aliases is a document of 1 KB that would be 10^9 values.
func aliases() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Who opens a thousand streams gets so many as one may have; other addresses, and the
// local socket, are answered and get theirs.
func TestThousandStreamsOfOneCaller(t *testing.T) {
	t.Parallel()
	const most, streams = 20, 1000
	n := startNode(t, newCluster(t), "n1", "--max-streams", fmt.Sprint(most))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var open, refused, lost atomic.Int64
	var all sync.WaitGroup
	hold := func(client *http.Client, told func(int)) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url()+"/v1/events", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := client.Do(req)
		if err != nil {
			lost.Add(1)
			told(0)
			return
		}
		defer res.Body.Close()
		told(res.StatusCode)
		if res.StatusCode == http.StatusOK {
			_, _ = io.Copy(io.Discard, res.Body)
		}
	}
	attacker := from(t, "127.0.0.2")
	for range streams {
		all.Go(func() {
			hold(attacker, func(code int) {
				switch code {
				case http.StatusOK:
					open.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				}
			})
		})
	}
	await.Until(t, "all have been tried", func() bool { return open.Load()+refused.Load()+lost.Load() == streams })
	if open.Load() != most || refused.Load() == 0 {
		t.Errorf("%d of %d streams are open, %d were refused, %d connections were", open.Load(), streams, refused.Load(), lost.Load())
	}
	got := make(chan int, 1)
	all.Go(func() { hold(from(t, "127.0.0.3"), func(code int) { got <- code }) })
	if code := <-got; code != http.StatusOK {
		t.Errorf("another address: %d", code)
	}
	n.overSocket(t)
	end()
	all.Wait()
}

// Who asks without a pause gets as much as one may ask, and is told to wait; others are
// answered as before.
func TestFloodOfRequestsIsOneCallers(t *testing.T) {
	t.Parallel()
	const rate = 20
	n := startNode(t, newCluster(t), "n1", "--max-requests-per-second", fmt.Sprint(rate))
	attacker := from(t, "127.0.0.2")
	begin, let := time.Now(), 0
	for range 500 {
		res := n.by(t, attacker, http.MethodGet, "/v1/version", http.NoBody)
		switch {
		case res.code == http.StatusOK:
			let++
		case res.code != http.StatusTooManyRequests || res.header.Get("Retry-After") == "":
			t.Fatalf("%d %v %s", res.code, res.header, res.body)
		}
	}
	if most := 2*rate + int(time.Since(begin).Seconds()*rate) + 1; let > most {
		t.Errorf("%d requests were answered, %d are allowed", let, most)
	}
	if res := n.by(t, from(t, "127.0.0.3"), http.MethodGet, "/v1/version", http.NoBody); res.code != http.StatusOK {
		t.Errorf("another address: %d %s", res.code, res.body)
	}
	n.overSocket(t)
}

const hookedJobs = `apiVersion: carillon/v1
kind: Job
metadata: {name: plain}
spec: {command: ["true"], webhook: {tokenSha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: signed}
spec: {command: ["true"], webhook: {signed: true}}
`

// Who guesses tokens of webhooks gets a few guesses; who has one starts no more than the
// job takes; and all that is on record.
func TestFloodOfWebhooks(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	n.apply(t, hookedJobs).must(t)
	count := func(client *http.Client, token string) map[int]int {
		codes := map[int]int{}
		for range 300 {
			codes[n.by(t, client, http.MethodPost, "/v1/hooks/default/plain", http.NoBody, "Authorization", "Bearer "+token).code]++
		}
		return codes
	}
	guesses := count(from(t, "127.0.0.2"), "guess")
	if guesses[http.StatusForbidden] != 10 || guesses[http.StatusTooManyRequests] != 290 {
		t.Errorf("guesses were answered by %v", guesses)
	}
	good := count(from(t, "127.0.0.3"), "test")
	// 60 at once, and one a second.
	if good[http.StatusAccepted] < 60 || good[http.StatusAccepted]+good[http.StatusTooManyRequests] != 300 || good[http.StatusTooManyRequests] == 0 {
		t.Errorf("good calls were answered by %v", good)
	}
	await.Until(t, "the guesses are on record", func() bool {
		var records []struct {
			From, Action, Object string
			Count                int
		}
		text := n.carillon(t, "audit", "--action", "refused", "-o", "json").must(t)
		if err := json.Unmarshal([]byte(text), &records); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, r := range records {
			if r.From == "127.0.0.2" && r.Object == "call the webhook of job default/plain" {
				return true
			}
		}
		return false
	})
}

// A call that was overheard starts nothing: not when it comes again, not with another
// body, not when it is old.
func TestReplayedWebhooks(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	n.apply(t, hookedJobs).must(t)
	secret, err := webhook.ParseSecret(n.carillon(t, "webhook", "secret", "signed").must(t))
	if err != nil {
		t.Fatal(err)
	}
	last := 1
	call := func(v webhook.Signed, body string, more ...string) (int, string) {
		last++ // wrong calls count by address
		headers := append([]string{"Content-Type", "application/json", "webhook-id", v.ID, "webhook-timestamp", v.Timestamp, "webhook-signature", v.Signature}, more...)
		res := n.by(t, from(t, fmt.Sprint("127.0.0.", last)), http.MethodPost, "/v1/hooks/default/signed", strings.NewReader(body), headers...)
		var started struct{ RunID string }
		_ = json.Unmarshal([]byte(res.body), &started) // of a refusal it is empty
		return res.code, started.RunID
	}
	const body = `{"type":"push"}`
	good := secret.Sign("msg_1", time.Now(), []byte(body))
	code, first := call(good, body)
	if code != http.StatusAccepted || first == "" {
		t.Fatalf("a good call: %d", code)
	}
	for name, headers := range map[string][]string{"again": nil, "again, by another name": {"Idempotency-Key", "other"}} {
		if code, run := call(good, body, headers...); code != http.StatusAccepted || run != first {
			t.Errorf("%s: %d, run %q, want %q", name, code, run, first)
		}
	}
	for name, v := range map[string]webhook.Signed{
		"another id":   {ID: "msg_2", Timestamp: good.Timestamp, Signature: good.Signature},
		"an old call":  secret.Sign("msg_3", time.Now().Add(-10*time.Minute), []byte(body)),
		"of tomorrow":  secret.Sign("msg_4", time.Now().Add(24*time.Hour), []byte(body)),
		"not signed":   {},
		"another body": secret.Sign("msg_5", time.Now(), []byte(`{}`)),
	} {
		if code, _ := call(v, body); code != http.StatusForbidden {
			t.Errorf("%s: %d", name, code)
		}
	}
	await.Until(t, "the run has a record", func() bool { return len(n.runsOf(t, "signed")) > 0 })
	if all := n.runsOf(t, "signed"); len(all) != 1 {
		t.Errorf("%d runs", len(all))
	}
}
