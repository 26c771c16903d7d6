package shim

import (
	"testing"
)

// TestNone: it starts nothing, says why, and tells of it again until it is forgotten.
func TestNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := ServeNone(dir, "there are no commands here")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	attach := func() (*Client, Hello) {
		t.Helper()
		c, hello, err := Attach(t.Context(), Config{Dir: dir}) // there is no program to start
		if err != nil {
			t.Fatal(err)
		}
		return c, hello
	}
	first, hello := attach()
	if len(hello.Running)+len(hello.Ended) != 0 {
		t.Errorf("at first it knows of %+v", hello)
	}
	if err := first.Start([]Spec{{Key: "a", Path: "/bin/true"}}); err != nil {
		t.Fatal(err)
	}
	if e, err := first.Next(); err != nil || len(e.Ended) != 1 || e.Ended[0].Key != "a" || e.Ended[0].Failure != "there are no commands here" {
		t.Errorf("it tells %+v, %v", e, err)
	}
	_ = first.Close()
	second, again := attach()
	if again.Instance != hello.Instance || len(again.Ended) != 1 || again.Ended[0].Key != "a" {
		t.Errorf("to who comes back it tells %+v", again)
	}
	if err := second.Forget([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	if err := second.Start([]Spec{{Key: "b"}}); err != nil { // it is told after what came before
		t.Fatal(err)
	}
	if _, err := second.Next(); err != nil {
		t.Fatal(err)
	}
	third, last := attach()
	if len(last.Ended) != 1 || last.Ended[0].Key != "b" {
		t.Errorf("after one was forgotten it tells %+v", last)
	}
	n.Close()
	for _, c := range []*Client{second, third} {
		if _, err := c.Next(); err == nil {
			t.Error("a connection outlives it")
		}
	}
}
