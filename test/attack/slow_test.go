package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// dribble opens connections to the API, sends the begin of a request on each, and
// then a byte now and then; it comes again with each connection that it loses,
// until the test ends. It returns when all have been tried.
func dribble(t *testing.T, n *node, connections int, begin, piece string) {
	t.Helper()
	tried := make(chan struct{}, connections)
	hold := func() {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.api)
		if err != nil {
			return
		}
		defer conn.Close()
		defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })() //nolint:errcheck // it is closed either way
		if _, err := io.WriteString(conn, begin); err != nil {
			return
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		for {
			time.Sleep(300 * time.Millisecond)
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
	}
	for range connections {
		go func() {
			for t.Context().Err() == nil {
				hold()
			}
		}()
	}
	for range connections {
		<-tried
	}
}

// Who sends requests byte by byte, on more connections than the API has places,
// keeps nobody out: neither others of its own address, nor the local socket.
func TestSlowRequestsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ begin, piece string }{
		"heads":  {"GET /v1/minions HTTP/1.1\r\nHost: localhost\r\nX-A: a", "a"},
		"bodies": {"POST /v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/yaml\r\nContent-Length: 100000\r\n\r\n#", "#"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNodeWith(t, newCluster(t), "n1", 1024)
			const places = 64 // at so many files
			dribble(t, n, 2*places, c.begin, c.piece)
			for range 3 {
				await.Until(t, "the API answers", func() bool {
					res, err := n.get("/v1/nodes")
					return err == nil && res.code == http.StatusOK
				})
			}
			p := program{name: "carillon", args: []string{"nodes", "--server", "unix://" + n.dir + "/carillon.sock"}}
			if got := run(t, p).must(t); !strings.Contains(got, "n1") {
				t.Errorf("over the socket: %q", got)
			}
		})
	}
}

// A head that nobody needs is refused before it fills the memory, on the API and
// on the port of minions.
func TestLargeHeadsAreRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	req, err := http.NewRequest(http.MethodGet, n.url()+"/v1/nodes", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		req.Header.Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 8<<10))
	}
	if res, err := ask(req); err == nil && res.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of 128 KB: status %d", res.code)
	}
}
