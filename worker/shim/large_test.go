package shim

import (
	"strings"
	"testing"
)

// TestTooLargeForTheKernel: a start that the kernel refuses for its arguments and
// environment says how large they are.
func TestTooLargeForTheKernel(t *testing.T) {
	t.Chdir(t.TempDir())
	starts, err := newStartLog("A", func() []string { return nil })
	if err != nil {
		t.Fatal(err)
	}
	n, err := newSpawner(starts)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Key: "k", Path: "/bin/true", Args: []string{"true"}, Output: t.TempDir() + "/out"}
	for range 70 { // 7 MB: more than with any limit of the stack
		spec.Env = append(spec.Env, "V="+strings.Repeat("x", 100_000))
	}
	const want = "start /bin/true: its arguments and environment come to 7000215 bytes, more than Linux takes with this limit of the stack: argument list too long"
	if _, err := n.start(spec); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
