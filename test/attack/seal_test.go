package attack

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// own has a node make one of each secret that a cluster keeps of its own, and returns
// texts of them as they are in the clear. Settings are those of the node.
func (n *node) own(t testing.TB, settings ...string) []string {
	t.Helper()
	n.apply(t, `
apiVersion: carillon/v1
kind: Job
metadata: {name: hooked}
spec: {command: ["true"], webhook: {signed: true}}
`).must(t)
	hook := strings.TrimSpace(n.carillon(t, "webhook", "secret", "hooked").must(t))
	upstream := strings.TrimSpace(n.carillon(t, "plan", "secret", "erp").must(t))
	join := strings.Split(strings.TrimSpace(n.carillon(t, "minions", "token").must(t)), ".")
	if len(join) != 3 || !strings.HasPrefix(hook, "whsec_") || !strings.HasPrefix(upstream, "whsec_") {
		t.Fatalf("the secrets are %q and %q, the token %q", hook, upstream, join)
	}
	sum := sha256.Sum256([]byte(join[1]))
	run(t, program{name: "scheduler", args: append([]string{"--reset-bootstrap", "--node", n.name, "--data-dir", n.dir}, settings...)}).must(t)
	text, err := os.ReadFile(filepath.Join(n.dir, "bootstrap-token"))
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := sha256.Sum256([]byte(strings.TrimSpace(string(text))))
	return []string{"PRIVATE KEY", hook, upstream, hex.EncodeToString(sum[:]), `"keys":[{"key":"`, hex.EncodeToString(bootstrap[:])}
}

// foundIn returns which of the words the cluster's keys in etcd have.
func (c *cluster) foundIn(t testing.TB, words []string) []string {
	t.Helper()
	got, err := c.etcd.Get(t.Context(), c.prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, kv := range got.Kvs {
		all.Write(kv.Value)
	}
	return found(all.String(), words)
}

func found(text string, words []string) []string {
	var out []string
	for _, w := range words {
		if strings.Contains(text, w) {
			out = append(out, w)
		}
	}
	return out
}

// Who reads etcd, its files, or a backup of it finds neither the authority's key nor any
// other secret of the cluster's own, where nodes have a seal key: not with an embedded etcd,
// which has never had them in the clear, and not in one that was in the clear before.
func TestEtcdHasNoSecretsOfTheCluster(t *testing.T) {
	t.Parallel()
	// An etcd of one's own: in the clear at first.
	c := newCluster(t)
	key := filepath.Join(t.TempDir(), "seal.key")
	clear := []string{"--etcd-endpoints", c.endpoint, "--etcd-prefix", c.prefix}
	sealed := append(slices.Clone(clear), "--seal-key-file", key)
	n := startNode(t, c, "n1")
	words := n.own(t, clear...)
	if got := c.foundIn(t, words); len(got) != len(words) {
		t.Fatalf("in the clear are %q of %q", got, words)
	}
	if out := n.carillon(t, "doctor").stdout; !strings.Contains(out, "is in the clear") {
		t.Errorf("doctor does not say so:\n%s", out)
	}
	authority := n.carillon(t, "minions", "authority").must(t)
	n.kill()
	dir := n.dir
	n = startNode(t, c, "n1", "--data-dir", dir, "--seal-key-file", key)
	n.dir = dir
	await.Until(t, "all is sealed", func() bool {
		return strings.Contains(n.carillon(t, "doctor").stdout, "secrets are sealed with the key")
	})
	if got := c.foundIn(t, words); len(got) > 0 {
		t.Errorf("sealed, and etcd has %q", got)
	}
	if again := n.carillon(t, "minions", "authority").must(t); again != authority {
		t.Error("the cluster has another authority")
	}
	if got := c.foundIn(t, n.own(t, sealed...)); len(got) > 0 {
		t.Errorf("what is made anew is not sealed: %q", got)
	}
	startMinion(t, n, "m1")
	if out := n.carillon(t, "audit").must(t); !strings.Contains(out, "seal.key") {
		t.Errorf("the audit has no record of it:\n%s", out)
	}
	// Another host, without the file: it says at once what is missing.
	other := run(t, program{name: "scheduler", args: append([]string{
		"--node", "n2", "--data-dir", filepath.Join(openDir(t), "n2"), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
	}, clear...)})
	if other.code != 1 || !strings.Contains(other.stderr, key+" on node n1") {
		t.Errorf("without the file: exit code %d\n%s", other.code, other.stderr)
	}

	// An embedded etcd: nothing of it is in its files.
	e := startNode(t, nil, "e1")
	words = e.own(t, "--embedded-etcd")
	e.kill()
	files := 0
	err := filepath.WalkDir(filepath.Join(e.dir, "etcd"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if got := found(string(text), words); len(got) > 0 {
			t.Errorf("%s has %q", path, got)
		}
		if strings.Contains(path, "/wal/") && strings.HasSuffix(path, ".wal") && strings.Count(string(text), "sealed:1:") < len(words) {
			t.Errorf("%s has not what is sealed", path)
		}
		return nil
	})
	if err != nil || files < 2 {
		t.Errorf("%d files of etcd, %v", files, err)
	}
}
