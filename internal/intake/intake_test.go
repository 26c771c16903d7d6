package intake

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// fake is an API that takes plans.
type fake struct {
	mu sync.Mutex
	// down: it does not answer; sent counts the plans of each name.
	down  bool
	sent  map[string]int
	ended bool
	// tried counts what came while it was down.
	tried int
	// reading, unless nil, is called before a plan is read.
	reading func()
}

func (f *fake) Send(_ context.Context, ns string, format plan.Format, text io.Reader) (api.PlanReceipt, error) {
	if f.reading != nil {
		f.reading()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		f.tried++
		return api.PlanReceipt{}, &client.UnreachableError{Server: "there", Err: errors.New("refused")}
	}
	sum, err := plan.Read(text, format, plan.Options{}, func(plan.Task, plan.Place) error { return nil })
	var invalid *job.InvalidError
	if errors.As(err, &invalid) {
		return api.PlanReceipt{}, &client.Error{Status: 422, Problems: invalid.Problems}
	}
	if err != nil {
		return api.PlanReceipt{}, err
	}
	f.sent[sum.ID]++
	return api.PlanReceipt{Plan: api.Plan{Namespace: ns, Upstream: sum.Upstream, ID: sum.ID, UID: "u", Tasks: sum.Tasks}, Recognised: f.sent[sum.ID] > 1}, nil
}

func (f *fake) Report(_ context.Context, ns string, format plan.Format, query []byte) (io.ReadCloser, error) {
	q, err := plan.ReadQuery(strings.NewReader(string(query)), format)
	if err != nil {
		return nil, &client.Error{Status: 422, Detail: err.Error()}
	}
	p, err := f.Get(context.Background(), ns, q.Upstream, q.Plan)
	if err != nil {
		return nil, &client.Error{Status: 404, Detail: "there is no such plan"}
	}
	r := plan.Report{Namespace: ns, Upstream: q.Upstream, Plan: q.Plan, State: "open", Counts: p.Counts}
	if !p.EndedAt.IsZero() {
		r.State = "succeeded"
	}
	var b strings.Builder
	if err := r.Write(&b, format, nil); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(b.String())), nil
}

func (f *fake) Get(_ context.Context, ns, upstream, id string) (api.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent[id] == 0 {
		return api.Plan{}, job.ErrNotFound
	}
	p := api.Plan{Namespace: ns, Upstream: upstream, ID: id, Counts: map[string]int{"pending": 1}}
	if f.ended {
		p.EndedAt, p.Counts = time.Now(), map[string]int{"succeeded": 1}
	}
	return p, nil
}

func (f *fake) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// begin runs an intake, and returns what ends it.
func begin(t *testing.T, f *fake, cfg Config) (stop func()) {
	t.Helper()
	cfg.Namespace, cfg.Every, cfg.ReportEvery = "team", 5*time.Millisecond, 5*time.Millisecond
	in, err := New(cfg, Deps{Plans: f, Log: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func text(id string) string {
	return fmt.Sprintf(`<plan id=%q upstream="erp"><task id="a" type="q"/></plan>`, id)
}

// drop puts a file into a directory as an upstream does.
func drop(t *testing.T, dir, name, content string) {
	t.Helper()
	tmp := filepath.Join(dir, "."+name)
	if err := errors.Join(os.WriteFile(tmp, []byte(content), 0o600), os.Rename(tmp, filepath.Join(dir, name))); err != nil {
		t.Fatal(err)
	}
}

func there(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// I2, I3: a file gets its receipt and its name; what is wrong is told by line; reports go on
// after a restart; what cannot be sent now is sent later.
func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fake{sent: map[string]int{}}
	stop := begin(t, f, Config{Dir: dir, Reports: true})
	drop(t, dir, "close.xml", text("close"))
	drop(t, dir, "bad.json", `{"id": "bad", "upstream": "erp", "tasks": [{"id": "a"}]}`)
	drop(t, dir, "ask.xml", `<query upstream="erp" plan="close"/>`)
	drop(t, dir, "ask-none.xml", `<query upstream="erp" plan="nosuch"/>`)
	drop(t, dir, "notes.txt", "not a plan")
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link.xml")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"close.xml.receipt.xml", "close.xml.accepted", "close.xml.report.xml", "bad.json.receipt.json", "bad.json.refused", "ask-none.xml.receipt.xml", "ask-none.xml.refused"} {
		await.Until(t, name, func() bool { return there(dir, name) })
	}
	read, err := os.ReadFile(filepath.Join(dir, "close.xml.receipt.xml"))
	var receipt plan.Receipt
	if err := errors.Join(err, xml.Unmarshal(read, &receipt)); err != nil || !receipt.Accepted || receipt.Plan != "close" || receipt.Count != 1 {
		t.Errorf("%+v, %v", receipt, err)
	}
	read, err = os.ReadFile(filepath.Join(dir, "bad.json.receipt.json"))
	receipt = plan.Receipt{}
	if err := errors.Join(err, json.Unmarshal(read, &receipt)); err != nil || receipt.Accepted || len(receipt.Errors) != 1 || receipt.Errors[0].Line != 1 || receipt.Errors[0].Path != "tasks[0].type" {
		t.Errorf("%+v, %v", receipt, err)
	}
	if !there(dir, "notes.txt") || !there(dir, "link.xml") || there(dir, "link.xml.receipt.xml") {
		t.Error("what is no plan was touched")
	}
	stop()

	f.set(func() { f.ended = true })
	stop = begin(t, f, Config{Dir: dir, Reports: true})
	await.Until(t, "the last report", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "close.xml.report.xml"))
		return err == nil && strings.Contains(string(text), `state="succeeded"`)
	})
	f.set(func() { f.down = true })
	drop(t, dir, "later.json", `{"id": "later", "upstream": "erp", "tasks": [{"id": "a", "type": "q"}]}`)
	await.Until(t, "that it is tried", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.tried > 0 })
	if there(dir, "later.json.receipt.json") {
		t.Error("a receipt of what could not be sent")
	}
	f.set(func() { f.down = false })
	await.Until(t, "the receipt", func() bool { return there(dir, "later.json.accepted") })
	stop()
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// I4: a directory that anybody may write to is refused, and so is an address of other hosts
// without TLS.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // it is to be refused
		t.Fatal(err)
	}
	if err := CheckDir(dir); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("got %v", err)
	}
	if err := CheckDir(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there was taken")
	}
	if l, err := Listen(t.Context(), "0.0.0.0:0", TLS{}); err == nil {
		_ = l.Close()
		t.Error("an address of other hosts was taken")
	}
	if _, err := Listen(t.Context(), "127.0.0.1:0", TLS{Cert: "x"}); err == nil {
		t.Error("a certificate without a key was taken")
	}
}

// A document over TCP gets its receipt or report in its format.
func TestTCP(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "127.0.0.1:0", TLS{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{sent: map[string]int{}}
	begin(t, f, Config{Listener: l})
	say := func(text string) string {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	for _, one := range []struct{ text, want string }{
		{"\n<!-- ours -->\n" + text("tcp"), `<receipt accepted="true" upstream="erp" plan="tcp" uid="u" count="1">`},
		{text("tcp"), `recognised="true"`},
		{`{"id": "tcp2", "upstream": "erp", "tasks": []}`, `"accepted": false`},
		{`<query upstream="erp" plan="tcp"/>`, `<count state="pending" tasks="1">`},
		{`{"query": {"upstream": "erp", "plan": "tcp"}}`, `"counts":{"pending":1}`},
		{`<query upstream="erp" plan="nosuch"/>`, `<error>there is no such plan</error>`},
		{`hello`, `neither XML nor JSON`},
		{``, `neither XML nor JSON`},
	} {
		if got := say(one.text); !strings.Contains(got, one.want) {
			t.Errorf("%s\ngot %s\nwant %s", one.text, got, one.want)
		}
	}
	f.set(func() { f.down = true })
	if got := say(text("tcp3")); !strings.Contains(got, `again="true"`) {
		t.Errorf("while the API is down: %s", got)
	}
}
