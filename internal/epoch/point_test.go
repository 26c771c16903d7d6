package epoch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestE1_PointsOfOneClusterNeverGoDown(t *testing.T) {
	seen := Point{Cluster: "c", Epoch: 2, Mark: 50, Revision: 100}
	for name, c := range map[string]struct {
		p     Point
		older bool
		want  Point
	}{
		"newer":                 {Point{Cluster: "c", Epoch: 2, Mark: 60, Revision: 110}, false, Point{Cluster: "c", Epoch: 2, Mark: 60, Revision: 110}},
		"the same":              {seen, false, seen},
		"a lower revision":      {Point{Cluster: "c", Epoch: 2, Mark: 50, Revision: 99}, true, seen},
		"bumped, an older mark": {Point{Cluster: "c", Epoch: 2, Mark: 49, Revision: 1_000_000_100}, true, Point{Cluster: "c", Epoch: 2, Mark: 50, Revision: 1_000_000_100}},
		"a lower epoch":         {Point{Cluster: "c", Epoch: 1, Mark: 90, Revision: 900}, true, seen},
		"a higher epoch":        {Point{Cluster: "c", Epoch: 3, Mark: 1, Revision: 2}, false, Point{Cluster: "c", Epoch: 3, Mark: 1, Revision: 2}},
	} {
		if got := c.p.Older(seen); got != c.older {
			t.Errorf("%s: older is %v", name, got)
		}
		if got := c.p.Raise(seen); got != c.want {
			t.Errorf("%s: raised to %v, want %v", name, got, c.want)
		}
	}
}

func TestE1_FileKeepsTheHighestPoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	open := func() *File {
		t.Helper()
		f, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	if f.Seen() != (Point{}) {
		t.Errorf("a new file has seen %v", f.Seen())
	}
	save := func(p Point) {
		t.Helper()
		if err := f.Save(p); err != nil {
			t.Fatal(err)
		}
	}
	save(Point{Cluster: "c", Epoch: 1, Mark: 7, Revision: 9})
	save(Point{Cluster: "c", Epoch: 1, Mark: 5, Revision: 6})
	if got := open().Seen(); got.Mark != 7 || got.Revision != 9 {
		t.Errorf("a lower point was written over a higher one: %v", got)
	}
	save(Point{Cluster: "c", Epoch: 2, Mark: 1, Revision: 2})
	if got := open().Seen(); got.Epoch != 2 || got.Mark != 1 {
		t.Errorf("the next epoch was not written: %v", got)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path); err == nil {
		t.Error("a damaged file was read as if nothing had been seen")
	}
}
