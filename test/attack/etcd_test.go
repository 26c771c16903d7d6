package attack

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// The socket of the embedded etcd, in a node's data directory.
const etcdSocket = "etcd/client.sock"

// tcpListeners returns the ports on which a process listens.
func tcpListeners(t testing.TB, pid int) []int {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil { // it may be closed by now
			own[to] = true
		}
	}
	var ports []int
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, "net", table))
		if os.IsNotExist(err) {
			continue // a host without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			const address, state, inode, listens = 1, 3, 9, "0A"
			words := strings.Fields(lines.Text())
			if len(words) <= inode || words[state] != listens || !own["socket:["+words[inode]+"]"] {
				continue
			}
			_, port, _ := strings.Cut(words[address], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, int(n))
		}
	}
	return ports
}

// enter has an account start a node of its own on somebody's etcd, and reports
// whether it gets in. Who does can read the authority's key, and order what it
// likes.
func enter(t testing.TB, as *account, name, endpoint string) bool {
	t.Helper()
	home := openDir(t)
	if as != nil {
		home = as.home
	}
	n := &node{name: name}
	n.process = start(t, program{name: "scheduler", as: as, args: []string{
		"--node", n.name, "--data-dir", filepath.Join(home, n.name), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
		"--log-format", "json", "--etcd-endpoints", endpoint,
	}})
	in := false
	await.Until(t, "the intruder is in, or has given up", func() bool {
		in = n.opened() && n.ready()
		return in || !n.runs()
	})
	n.kill()
	// Who is told that the store is sealed by another key has read it.
	return in || strings.Contains(n.output(), "this node has not the seal key")
}

// startDev starts `carillon dev`, and returns when it is ready.
func startDev(t testing.TB, args ...string) *node {
	t.Helper()
	n := &node{name: "dev", dir: filepath.Join(openDir(t), "dev")}
	usual := []string{
		"dev", "--data-dir", n.dir, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--no-examples", "--log-level", "info",
	}
	n.process = start(t, program{name: "carillon", args: append(usual, args...)})
	await.Until(t, "carillon dev is ready", func() bool {
		if !n.runs() {
			t.Fatalf("carillon dev ended by itself:\n%s", n.output())
		}
		_, after, said := strings.Cut(n.output(), "Carillon is ready: http://")
		n.api, _, _ = strings.Cut(after, "\n")
		return said && n.ready()
	})
	return n
}

// The embedded etcd is there for root and the node's account, and for nobody
// else: not on a port, not on its socket.
func TestEmbeddedEtcdIsClosedToOtherAccounts(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(testing.TB) (n *node, data string, open int){
		"scheduler": func(t testing.TB) (*node, string, int) {
			n := startNode(t, nil, "n1")
			return n, n.dir, 2 // the API, and minions and peers
		},
		"scheduler of an account": func(t testing.TB) (*node, string, int) {
			n := startNodeAs(t, service(t), nil, "n1")
			return n, n.dir, 2
		},
		"carillon dev": func(t testing.TB) (*node, string, int) {
			n := startDev(t)
			return n, filepath.Join(n.dir, "node"), 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := stranger(t)
			n, data, open := begin(t)
			ports := tcpListeners(t, n.cmd.Process.Pid)
			endpoints := []string{"unix://" + filepath.Join(data, etcdSocket)}
			if len(ports) != open {
				t.Errorf("it listens on ports %v, want %d of them", ports, open)
				for _, port := range ports {
					endpoints = append(endpoints, fmt.Sprintf("http://127.0.0.1:%d", port))
				}
			}
			for i, endpoint := range endpoints {
				t.Run(endpoint, func(t *testing.T) {
					t.Parallel()
					if enter(t, as, fmt.Sprintf("intruder%d", i), endpoint) {
						t.Errorf("another account is a node by %s", endpoint)
					}
				})
			}
			if r := run(t, program{name: "carillon", as: as, args: []string{"nodes", "--server", "unix://" + filepath.Join(data, "carillon.sock")}}); r.code == 0 {
				t.Errorf("another account asks at the local socket: %s", r.stdout)
			}
			for _, dir := range []string{data, filepath.Join(data, "etcd")} {
				if r := run(t, program{name: "/bin/ls", as: as, args: []string{dir}}); r.code == 0 {
					t.Errorf("another account lists %s: %s", dir, r.stdout)
				}
			}
		})
	}
}

// Who may look into the store finds it where the documentation says.
func TestEmbeddedEtcdIsOpenToRootAndItsAccount(t *testing.T) {
	t.Parallel()
	as := service(t)
	n := startNodeAs(t, as, nil, "n1")
	for name, who := range map[string]*account{"root": nil, "account": as} {
		if !enter(t, who, name, "unix://"+filepath.Join(n.dir, etcdSocket)) {
			t.Errorf("the node's %s does not get into the store", name)
		}
	}
	n.carillonAs(t, as, "lock", "deploy", "--", "/bin/true").must(t)
}

// A node that was killed has left its socket, and starts again.
func TestEmbeddedEtcdStartsAfterAKill(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	n.kill()
	socket := filepath.Join(n.dir, etcdSocket)
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("no socket is left over: %v", err)
	}
	again := &node{name: n.name, dir: n.dir}
	again.process = start(t, program{name: "scheduler", args: slices.Clone(n.cmd.Args[1:])})
	await.Until(t, "the node is ready again", func() bool { return again.opened() && again.ready() })
}
