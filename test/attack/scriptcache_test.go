package attack

import (
	"strings"
	"testing"
)

// A job that runs as another account changes nothing of the scripts that other
// jobs of that account run after it, or with it, however it knows their names.
func TestScriptsAreNotTheirReaders(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	m := startMinion(t, n, "m1")
	stranger(t) // needs root
	// Larger than what goes along with an order, so that the minion keeps it.
	n.apply(t, `
apiVersion: carillon/v1
kind: Script
metadata: {name: shared}
spec:
  user: nobody
  source: |
    echo "clean $0"
    : `+strings.Repeat("x", 5000)+`
`).must(t)
	first := n.carillon(t, "exec", "-t", "m1", "--script-name", "shared").must(t)
	_, path, ok := strings.Cut(first, "clean ")
	if path = strings.TrimSpace(path); !ok || !strings.HasPrefix(path, m.dir) {
		t.Fatalf("the script said %q", first)
	}
	sum := n.carillon(t, "get", "script", "shared", "-o", "json").must(t)
	_, sum, _ = strings.Cut(sum, `"sha256": "`)
	sum, _, _ = strings.Cut(sum, `"`)
	if len(sum) != 64 {
		t.Fatalf("the hash is %q", sum)
	}
	// As the account of the shared script: every place where a copy is, or was.
	attack := `
for f in "$0" "$1" ` + m.dir + `/scripts/$(id -u)-` + sum + ` ` + m.dir + `/scripts/0-` + sum + ` ` + m.dir + `/steps/* ` + m.dir + `/scripts/*; do
  chmod u+w "$f"; printf 'echo stolen\n' > "$f"; mv "$f" "$f.old"; rm -f "$f"; ln -s /bin/true "$f"
done 2>/dev/null
for d in ` + m.dir + `/steps ` + m.dir + `/scripts ` + m.dir + `; do chmod 777 "$d"; ls "$d" && echo "$d can be listed"; touch "$d/x" && echo "$d can be written"; done 2>/dev/null
id -un
`
	if out := n.carillon(t, "exec", "-t", "m1", "--user", "nobody", "--", "/bin/sh", "-c", attack, path, path).must(t); !strings.HasSuffix(out, "nobody") || strings.Contains(out, "can be") {
		t.Errorf("the attack said %q", out)
	}
	for range 2 {
		if out := n.carillon(t, "exec", "-t", "m1", "--script-name", "shared").must(t); !strings.Contains(out, "clean ") || strings.Contains(out, "stolen") {
			t.Errorf("the shared script says %q", out)
		}
	}
}
