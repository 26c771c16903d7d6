package attack

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// shards is how many shards a cluster has.
const shards = 8

// cluster is what the nodes of one cluster have in common: an etcd, and a prefix
// in it. Other tests use the same etcd.
type cluster struct {
	endpoint, prefix string
	etcd             *clientv3.Client
	keys             etcdkv.Keys
}

// newCluster returns a cluster without nodes.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	server := shared.Server(t)
	prefix := strings.TrimSuffix(etcdtest.Prefix(t), "/")
	return &cluster{endpoint: server.Endpoints[0], prefix: prefix, etcd: server.Client(t), keys: etcdkv.NewKeys(prefix)}
}

// node is a scheduler process that is ready.
type node struct {
	*process
	name string
	// dir is the data directory; api and peer are host:port.
	dir, api, peer string
	// secure: the API speaks TLS.
	secure bool
	// cluster is nil where the node has an etcd of its own.
	cluster *cluster
}

// startNode starts a node of the cluster, nil: one with an embedded etcd. It
// returns when the node is ready. Further arguments win over the usual ones.
func startNode(t testing.TB, c *cluster, name string, args ...string) *node {
	t.Helper()
	return startNodeWith(t, c, name, 0, args...)
}

// startNodeWith is startNode for a node that may have so many files open; 0: as
// many as we.
func startNodeWith(t testing.TB, c *cluster, name string, files int, args ...string) *node {
	t.Helper()
	return startLimitedNode(t, nil, c, name, files, args...)
}

// startNodeAs starts a node as another account; nil: ours.
func startNodeAs(t testing.TB, as *account, c *cluster, name string, args ...string) *node {
	t.Helper()
	return startLimitedNode(t, as, c, name, 0, args...)
}

func startLimitedNode(t testing.TB, as *account, c *cluster, name string, files int, args ...string) *node {
	t.Helper()
	n := &node{name: name, cluster: c}
	if as == nil {
		n.dir = filepath.Join(openDir(t), name)
	} else {
		n.dir = filepath.Join(as.home, name)
	}
	usual := []string{
		"--node", name, "--data-dir", n.dir, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--shards", strconv.Itoa(shards), "--log-format", "json", "--access", "open", "--api-plain",
	}
	if c == nil {
		usual = append(usual, "--embedded-etcd")
	} else {
		usual = append(usual, "--etcd-endpoints", c.endpoint, "--etcd-prefix", c.prefix, "--lease-ttl", "15s")
	}
	n.process = start(t, program{name: "scheduler", args: append(usual, args...), as: as, files: files})
	await.Until(t, "node "+name+" is ready", func() bool {
		if !n.runs() {
			t.Fatalf("node %s ended by itself:\n%s", name, n.output())
		}
		return n.opened() && n.ready()
	})
	return n
}

// opened reads the node's addresses from its log, and reports whether they are
// there.
func (n *node) opened() bool {
	for line := range strings.Lines(n.output()) {
		var entry struct {
			Msg, API, Peers string
			TLS             bool
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "node opened" {
			n.api, n.peer = strings.Replace(entry.API, "[::]:", "127.0.0.1:", 1), entry.Peers // of all addresses, this one
			n.secure = entry.TLS
			return true
		}
	}
	return false
}

func (n *node) ready() bool {
	res, err := n.get("/readyz")
	return err == nil && res.code == http.StatusOK
}

// url is the address of the API.
func (n *node) url() string {
	if n.secure {
		return "https://" + n.api
	}
	return "http://" + n.api
}

// answer is what a server answered.
type answer struct {
	code   int
	header http.Header
	body   string
}

// get asks the node's API.
func (n *node) get(path string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, n.url()+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	return ask(req)
}

// post sends JSON to the node's API.
func (n *node) post(path, body string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, n.url()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	return ask(req)
}

// ask sends a request on a connection of its own. It does not look at who answers.
func ask(req *http.Request) (answer, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // intruders do not care
	}}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// carillon runs the command line against the node's API.
func (n *node) carillon(t testing.TB, args ...string) result {
	t.Helper()
	return n.carillonAs(t, nil, args...)
}

// carillonAs runs the command line as another account; nil: ours.
func (n *node) carillonAs(t testing.TB, as *account, args ...string) result {
	t.Helper()
	return run(t, program{name: "carillon", args: args, env: []string{"CARILLON_SERVER=" + n.url()}, as: as})
}

// apply applies a job file.
func (n *node) apply(t testing.TB, manifest string) result {
	t.Helper()
	return run(t, program{name: "carillon", args: []string{"apply", "-f", "-"}, env: []string{"CARILLON_SERVER=" + n.url()}, stdin: manifest})
}
